package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// record is what is known of a volume or a snapshot; it stands beside the image.
type record struct {
	ID      string    `json:"id"`
	From    kind      `json:"from,omitempty"`   // what kind of thing the source is
	Source  string    `json:"source,omitempty"` // the volume of a snapshot, the origin of a copy
	Bytes   int64     `json:"bytes"`            // what df calls the size
	Group   string    `json:"group,omitempty"`  // of a snapshot that was made with others
	Created time.Time `json:"created"`
}

// store keeps volumes and snapshots as FOLDER/KIND/ID/{record.json,image}, and mounts the image of
// a volume that is in use at "mounted" beside it. What is there is whole: it is made under another
// name and moved into place.
type store struct {
	folder string
	locks  sync.Map // of a thing's path to its *sync.Mutex
}

// maxBytes is what every file system that may be below holds in one file.
const maxBytes = 16<<40 - 1<<30

var errTooLarge = status.Error(codes.OutOfRange, "a volume has at most 16 TiB")

type kind string

const (
	volumeKind   kind = "volumes"
	snapshotKind kind = "snapshots"
)

// openStore also thaws what was frozen when the driver before this one ended.
func openStore(folder string) (*store, error) {
	made := &store{folder: folder}
	for _, kind := range []kind{volumeKind, snapshotKind} {
		if err := os.MkdirAll(made.path(kind, ""), 0o711); err != nil {
			return nil, err
		}
	}
	volumes, err := made.list(volumeKind)
	if err != nil {
		return nil, err
	}
	for _, volume := range volumes {
		if inUse, err := isMount(made.mounted(volume.ID)); err != nil || !inUse {
			continue
		}
		if err := thaw(made.mounted(volume.ID)); err != nil {
			return nil, err
		}
	}
	return made, nil
}

func (s *store) path(kind kind, id string, parts ...string) string {
	return filepath.Join(append([]string{s.folder, string(kind), id}, parts...)...)
}

// image is the file that holds the file system.
func (s *store) image(kind kind, id string) string { return s.path(kind, id, "image") }

// mounted is where the volume's file system is mounted, once for all its pods.
func (s *store) mounted(id string) string { return s.path(volumeKind, id, "mounted") }

// making is where a thing is while it is not whole.
func (s *store) making(kind kind, id string) string { return s.path(kind, ".making-"+id) }

// hold keeps everyone else from the things at these paths, until what it gives is called.
func (s *store) hold(paths ...string) (release func()) {
	var held []*sync.Mutex
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		lock, _ := s.locks.LoadOrStore(path, &sync.Mutex{})
		held = append(held, lock.(*sync.Mutex))
		held[len(held)-1].Lock()
	}
	return func() {
		for _, lock := range held {
			lock.Unlock()
		}
	}
}

// get answers codes.NotFound for an id that is unknown or could lead out of the store's folder.
func (s *store) get(kind kind, id string) (record, error) {
	var found record
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return found, status.Errorf(codes.NotFound, "no %q in %s", id, kind)
	}
	text, err := os.ReadFile(s.path(kind, id, "record.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return found, status.Errorf(codes.NotFound, "no %q in %s", id, kind)
	}
	if err != nil {
		return found, err
	}
	return found, json.Unmarshal(text, &found)
}

func (s *store) list(kind kind) ([]record, error) {
	entries, err := os.ReadDir(s.path(kind, ""))
	if err != nil {
		return nil, err
	}
	var found []record
	for _, entry := range entries {
		one, err := s.get(kind, entry.Name())
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

// create makes the things that wanted describes, all or none of them. Those that have a source are
// copies of it, all of the same moment; a size of 0 is the source's.
//
// A second call for the same ids gives what the first one made; with another source or a larger
// size it is refused.
func (s *store) create(kind kind, wanted ...record) ([]record, error) {
	var touched []string
	for _, one := range wanted {
		if one.ID == "" || one.ID != filepath.Base(one.ID) || strings.HasPrefix(one.ID, ".") {
			return nil, status.Errorf(codes.InvalidArgument, "%q is no plain name", one.ID)
		}
		touched = append(touched, s.path(kind, one.ID))
		if one.Source != "" {
			touched = append(touched, s.path(one.From, one.Source))
		}
	}
	defer s.hold(touched...)()
	if made, err := s.made(kind, wanted); err != nil || made != nil {
		return made, err
	}
	for i, one := range wanted {
		if one.Bytes > maxBytes {
			return nil, errTooLarge
		}
		if one.Source == "" {
			continue
		}
		source, err := s.get(one.From, one.Source)
		if err != nil {
			return nil, err
		}
		if one.Bytes != 0 && one.Bytes < source.Bytes {
			return nil, status.Errorf(codes.OutOfRange,
				"a copy of %s needs at least %d bytes, %d were asked for",
				source.ID, source.Bytes, one.Bytes)
		}
		wanted[i].Bytes = max(one.Bytes, source.Bytes)
	}
	if err := s.fill(kind, wanted); err != nil {
		return nil, err
	}
	for _, one := range wanted {
		if err := os.Rename(s.making(kind, one.ID), s.path(kind, one.ID)); err != nil {
			return nil, err
		}
	}
	return wanted, nil
}

// made gives what an earlier call for the same made: all of it or nothing.
func (s *store) made(kind kind, wanted []record) ([]record, error) {
	var found []record
	for _, one := range wanted {
		known, err := s.get(kind, one.ID)
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if known.From != one.From || known.Source != one.Source || known.Group != one.Group ||
			known.Bytes < one.Bytes {
			return nil, status.Errorf(codes.AlreadyExists, "%s is there and differs", one.ID)
		}
		found = append(found, known)
	}
	if len(found) == len(wanted) {
		return found, nil
	}
	// Of what an earlier call did not end, nobody knows yet.
	for _, one := range found {
		if err := s.discard(kind, one.ID); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// fill makes the things under their other names. Volumes that are copied stand still meanwhile.
func (s *store) fill(kind kind, wanted []record) error {
	var inUse []string
	for _, one := range wanted {
		if one.From != volumeKind {
			continue
		}
		mounted, err := isMount(s.mounted(one.Source))
		if err != nil {
			return err
		}
		if mounted {
			inUse = append(inUse, s.mounted(one.Source))
		}
	}
	return whileFrozen(inUse, func() error {
		now := time.Now().UTC()
		for i, one := range wanted {
			wanted[i].Created = now
			making := s.making(kind, one.ID)
			if err := os.RemoveAll(making); err != nil {
				return err
			}
			if err := os.Mkdir(making, 0o711); err != nil {
				return err
			}
			origin, image := s.image(one.From, one.Source), filepath.Join(making, "image")
			if one.Source == "" {
				origin = ""
			}
			if err := makeImage(image, origin, one.Bytes); err != nil {
				return err
			}
			if err := writeRecord(making, wanted[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeRecord(folder string, what record) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	fresh := filepath.Join(folder, "record.json.new")
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(folder, "record.json"))
}

// grow gives the size after it: never smaller than before. The file system follows when it is
// mounted, or with growMounted.
func (s *store) grow(id string, bytes int64) (int64, error) {
	defer s.hold(s.path(volumeKind, id))()
	volume, err := s.get(volumeKind, id)
	if err != nil || bytes <= volume.Bytes {
		return volume.Bytes, err
	}
	if bytes > maxBytes {
		return 0, errTooLarge
	}
	volume.Bytes = wholeSize(bytes)
	if err := resize(s.image(volumeKind, id), volume.Bytes); err != nil {
		return 0, err
	}
	return volume.Bytes, writeRecord(s.path(volumeKind, id), volume)
}

// remove is done already when the thing is not there. What is mounted is in use.
func (s *store) remove(kind kind, id string) error {
	defer s.hold(s.path(kind, id))()
	if _, err := s.get(kind, id); err != nil {
		if status.Code(err) == codes.NotFound {
			return nil
		}
		return err
	}
	if inUse, err := isMount(s.path(kind, id, "mounted")); err != nil || inUse {
		return errors.Join(err, status.Errorf(codes.FailedPrecondition, "%s is in use", id))
	}
	return s.discard(kind, id)
}

func (s *store) discard(kind kind, id string) error {
	leaving := s.making(kind, id)
	if err := os.RemoveAll(leaving); err != nil {
		return err
	}
	if err := os.Rename(s.path(kind, id), leaving); err != nil {
		return err
	}
	return os.RemoveAll(leaving)
}

// mount gives the volume's file system to the pods to come, in the size that it has by now.
func (s *store) mount(id string, options []string) error {
	defer s.hold(s.path(volumeKind, id))()
	volume, err := s.get(volumeKind, id)
	if err != nil {
		return err
	}
	done, err := isMount(s.mounted(id))
	if err != nil {
		return err
	}
	if !done {
		if err := mountImage(s.image(volumeKind, id), s.mounted(id), options); err != nil {
			return err
		}
	}
	return growMounted(s.mounted(id), volume.Bytes)
}

// growMounted gives the size that the pods see after it.
func (s *store) growMounted(id string) (int64, error) {
	defer s.hold(s.path(volumeKind, id))()
	volume, err := s.get(volumeKind, id)
	if err != nil {
		return 0, err
	}
	if inUse, err := isMount(s.mounted(id)); err != nil || !inUse {
		return 0, errors.Join(err, status.Errorf(codes.FailedPrecondition, "%s is not mounted", id))
	}
	return volume.Bytes, growMounted(s.mounted(id), volume.Bytes)
}

// unmount is done already when the volume is not mounted, or not there.
func (s *store) unmount(id string) error {
	defer s.hold(s.path(volumeKind, id))()
	if _, err := s.get(volumeKind, id); err != nil {
		if status.Code(err) == codes.NotFound {
			return nil
		}
		return err
	}
	return unmount(s.mounted(id))
}
