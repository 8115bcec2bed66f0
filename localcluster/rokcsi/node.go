package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

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
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
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

// NodeStageVolume mounts the volume beside its image, not at the staging path: where it is mounted
// is then known without remembering it.
func (n *nodeService) NodeStageVolume(
	_ context.Context, request *csi.NodeStageVolumeRequest,
) (*csi.NodeStageVolumeResponse, error) {
	if request.GetVolumeCapability().GetBlock() != nil {
		return nil, status.Error(codes.InvalidArgument, "block volumes are not supported")
	}
	options := request.GetVolumeCapability().GetMount().GetMountFlags()
	return &csi.NodeStageVolumeResponse{}, n.store.mount(request.VolumeId, options)
}

func (n *nodeService) NodeUnstageVolume(
	_ context.Context, request *csi.NodeUnstageVolumeRequest,
) (*csi.NodeUnstageVolumeResponse, error) {
	return &csi.NodeUnstageVolumeResponse{}, n.store.unmount(request.VolumeId)
}

func (n *nodeService) NodePublishVolume(
	_ context.Context, request *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	if _, err := n.store.get(volumeKind, request.VolumeId); err != nil {
		return nil, err
	}
	data, target := n.store.mounted(request.VolumeId), request.TargetPath
	if staged, err := isMount(data); err != nil || !staged {
		return nil, errors.Join(err, status.Error(codes.FailedPrecondition, "not staged"))
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, err
	}
	if mounted, err := isMount(target); err != nil || mounted {
		return &csi.NodePublishVolumeResponse{}, err
	}
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
	if err := unmount(request.TargetPath); err != nil {
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
	bytes, err := n.store.growMounted(request.VolumeId)
	return &csi.NodeExpandVolumeResponse{CapacityBytes: bytes}, err
}

func (n *nodeService) NodeGetVolumeStats(
	_ context.Context, request *csi.NodeGetVolumeStatsRequest,
) (*csi.NodeGetVolumeStatsResponse, error) {
	if _, err := n.store.get(volumeKind, request.VolumeId); err != nil {
		return nil, err
	}
	if mounted, err := isMount(request.VolumePath); err != nil || !mounted {
		return nil, errors.Join(err, status.Errorf(codes.NotFound, "nothing at %s", request.VolumePath))
	}
	var here unix.Statfs_t
	if err := unix.Statfs(request.VolumePath, &here); err != nil {
		return nil, err
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{
			Unit:      csi.VolumeUsage_BYTES,
			Total:     int64(here.Blocks) * here.Bsize,
			Used:      int64(here.Blocks-here.Bfree) * here.Bsize,
			Available: int64(here.Bavail) * here.Bsize,
		},
		{
			Unit:      csi.VolumeUsage_INODES,
			Total:     int64(here.Files),
			Used:      int64(here.Files - here.Ffree),
			Available: int64(here.Ffree),
		},
	}}, nil
}
