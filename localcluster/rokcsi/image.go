package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	mebi = 1 << 20

	// Of linux/fs.h.
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878

	// logBytes is what XFS keeps for its log, beside what df calls the size.
	logBytes = 8 * mebi
	// smallestVolume makes, with the log, the 16 MiB that XFS needs at least.
	smallestVolume = 8 * mebi
)

// wholeSize is the size of the volume that is made when so many bytes are asked for.
func wholeSize(bytes int64) int64 {
	return max((bytes+mebi-1)/mebi*mebi, smallestVolume)
}

// makeImage makes a sparse file with a file system of so many bytes: an empty one, or a copy of the
// image origin, which is grown when it is mounted.
//
// It is XFS, since ext4 grows while mounted only for one who has CAP_SYS_RESOURCE, which root in a
// container may lack. Without reflinks and reverse maps less is set aside, and the log may be small.
func makeImage(path, origin string, bytes int64) error {
	if origin != "" {
		if err := execute("cp", "--sparse=auto", "--reflink=auto", origin, path); err != nil {
			return err
		}
		return resize(path, bytes)
	}
	if err := resize(path, bytes); err != nil {
		return err
	}
	// "unsupported" are those of less than 300 MB.
	return execute("mkfs.xfs", "-q", "--unsupported", "-K", "-m", "reflink=0,rmapbt=0",
		"-l", fmt.Sprintf("size=%d", logBytes), path)
}

// resize makes the file as large as a file system of so many bytes needs, and never smaller.
func resize(path string, bytes int64) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	known, err := file.Stat()
	if err != nil || known.Size() >= bytes+logBytes {
		return err
	}
	return file.Truncate(bytes + logBytes)
}

// mountImage mounts the file system in the file. When it is unmounted, by us or by the end of the
// mount namespace, the kernel gives the loop device back.
func mountImage(image, target string, options []string) error {
	if err := os.MkdirAll(target, 0o711); err != nil {
		return err
	}
	device, err := attach(image)
	if err != nil {
		return fmt.Errorf("no loop device for %s: %w", image, err)
	}
	// The mount holds the device from here on; without one, it goes when it is closed.
	defer device.Close()
	// nouuid: a copy may be mounted beside its origin. discard: what is deleted takes no room.
	all := "nouuid,discard"
	for _, option := range options {
		all += "," + option
	}
	return execute("mount", "-t", "xfs", "-o", all, device.Name(), target)
}

// growMounted gives the file system mounted there its new size, while it is in use; done already
// when it has it.
func growMounted(mounted string, bytes int64) error {
	var here unix.Statfs_t
	if err := unix.Statfs(mounted, &here); err != nil || int64(here.Blocks)*here.Bsize >= bytes {
		return err
	}
	device, err := loopUnder(mounted)
	if err != nil {
		return err
	}
	defer device.Close()
	if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return os.NewSyscallError("new size of "+device.Name(), err)
	}
	return execute("xfs_growfs", "-d", mounted)
}

// loopUnder opens the device that is mounted there.
func loopUnder(mounted string) (*os.File, error) {
	var about unix.Stat_t
	if err := unix.Stat(mounted, &about); err != nil {
		return nil, err
	}
	return openLoop(int(unix.Minor(about.Dev)))
}

// attach gives an open loop device that is backed by the file.
func attach(image string) (*os.File, error) {
	backing, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		// A device is made where none is free.
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := openLoop(number)
		if err != nil {
			return nil, err
		}
		configuration := unix.LoopConfig{Fd: uint32(backing.Fd())}
		configuration.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		copy(configuration.Info.File_name[:63], filepath.Base(filepath.Dir(image)))
		err = unix.IoctlLoopConfigure(int(device.Fd()), &configuration)
		if err == nil {
			return device, nil
		}
		device.Close()
		// EBUSY: another was faster.
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
}

// openLoop makes the device's file where /dev is a plain folder, as in a container.
func openLoop(number int) (*os.File, error) {
	path := fmt.Sprintf("/dev/loop%d", number)
	err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(number))))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// whileFrozen does it while nothing is written to the file systems mounted at these places, and all
// that was written is in their images. They are thawed whatever happens.
func whileFrozen(mounted []string, do func() error) (err error) {
	slices.Sort(mounted)
	for _, path := range slices.Compact(mounted) {
		if err := freeze(path); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, thaw(path)) }()
	}
	return do()
}

func freeze(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	// Most is written before the pods must wait for it.
	if err := unix.Syncfs(int(folder.Fd())); err != nil {
		return err
	}
	return os.NewSyscallError("freeze", unix.IoctlSetInt(int(folder.Fd()), fiFreeze, 0))
}

// thaw is done already when the file system is not frozen.
func thaw(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	err = unix.IoctlSetInt(int(folder.Fd()), fiThaw, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return os.NewSyscallError("thaw", err)
}

// isMount tells a mount from a plain folder, also within one file system; false where nothing is.
func isMount(path string) (bool, error) {
	var here unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &here)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return here.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, err
}

// unmount is done already when nothing is mounted.
func unmount(path string) error {
	err := unix.Unmount(path, 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func execute(program string, arguments ...string) error {
	if said, err := exec.Command(program, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, said)
	}
	return nil
}
