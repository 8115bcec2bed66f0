package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type nodeService struct {
	csi.UnimplementedNodeServer
	store *store
	node  string
}

func (n *nodeService) NodeGetInfo(
	context.Context, *csi.NodeGetInfoRequest,
) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.node}, nil
}

func (n *nodeService) NodeGetCapabilities(
	context.Context, *csi.NodeGetCapabilitiesRequest,
) (*csi.NodeGetCapabilitiesResponse, error) {
	answer := &csi.NodeGetCapabilitiesResponse{}
	for _, known := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		answer.Capabilities = append(answer.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{
				Rpc: &csi.NodeServiceCapability_RPC{Type: known},
			},
		})
	}
	return answer, nil
}

func (n *nodeService) NodePublishVolume(
	_ context.Context, request *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	if request.GetVolumeCapability().GetBlock() != nil {
		return nil, status.Error(codes.InvalidArgument, "block volumes are not supported")
	}
	if _, err := n.store.get(volumeKind, request.VolumeId); err != nil {
		return nil, err
	}
	target := request.TargetPath
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, err
	}
	if mounted, err := isMount(target); err != nil || mounted {
		return &csi.NodePublishVolumeResponse{}, err
	}
	data := n.store.data(volumeKind, request.VolumeId)
	if err := unix.Mount(data, target, "", unix.MS_BIND, ""); err != nil {
		return nil, err
	}
	if request.Readonly {
		// A bind mount takes its flags only when it is mounted once more.
		flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
		if err := unix.Mount("", target, "", flags, ""); err != nil {
			return nil, errors.Join(err, unix.Unmount(target, unix.MNT_DETACH))
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (n *nodeService) NodeUnpublishVolume(
	_ context.Context, request *csi.NodeUnpublishVolumeRequest,
) (*csi.NodeUnpublishVolumeResponse, error) {
	// EINVAL: not mounted (any more).
	err := unix.Unmount(request.TargetPath, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	// Remove, not RemoveAll: what is mounted is never deleted by mistake.
	if err := os.Remove(request.TargetPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (n *nodeService) NodeExpandVolume(
	_ context.Context, request *csi.NodeExpandVolumeRequest,
) (*csi.NodeExpandVolumeResponse, error) {
	volume, err := n.store.get(volumeKind, request.VolumeId)
	return &csi.NodeExpandVolumeResponse{CapacityBytes: volume.Bytes}, err
}

func (n *nodeService) NodeGetVolumeStats(
	_ context.Context, request *csi.NodeGetVolumeStatsRequest,
) (*csi.NodeGetVolumeStatsResponse, error) {
	volume, err := n.store.get(volumeKind, request.VolumeId)
	if err != nil {
		return nil, err
	}
	used, err := used(n.store.data(volumeKind, request.VolumeId))
	if err != nil {
		return nil, err
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{
		Unit:      csi.VolumeUsage_BYTES,
		Total:     volume.Bytes,
		Used:      used,
		Available: max(volume.Bytes-used, 0),
	}}}, nil
}

// used is what the folder takes on the disk; files that vanish meanwhile do not count.
func used(folder string) (int64, error) {
	var total int64
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if info, err := entry.Info(); err == nil {
			if known, ok := info.Sys().(*syscall.Stat_t); ok {
				total += known.Blocks * 512
			}
		}
		return nil
	})
	return total, err
}

// isMount tells a bind mount from a plain folder, also within one file system.
func isMount(path string) (bool, error) {
	var here unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &here)
	return here.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, err
}
