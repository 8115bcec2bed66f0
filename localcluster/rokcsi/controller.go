package main

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// leaveTime is how long a volume that is deleted may still be in use.
const leaveTime = 15 * time.Second

type controllerService struct {
	csi.UnimplementedControllerServer
	store *store
}

func (c *controllerService) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	answer := &csi.ControllerGetCapabilitiesResponse{}
	for _, known := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		answer.Capabilities = append(answer.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{
				Rpc: &csi.ControllerServiceCapability_RPC{Type: known},
			},
		})
	}
	return answer, nil
}

func (c *controllerService) CreateVolume(
	ctx context.Context, request *csi.CreateVolumeRequest,
) (*csi.CreateVolumeResponse, error) {
	delay, err := delayIn(request.Parameters)
	if err != nil {
		return nil, err
	}
	wanted := record{
		ID:    request.Name,
		Bytes: wholeSize(request.GetCapacityRange().GetRequiredBytes()),
	}
	if content := request.VolumeContentSource; content.GetSnapshot() != nil {
		wanted.From, wanted.Source = snapshotKind, content.GetSnapshot().GetSnapshotId()
	} else if content.GetVolume() != nil {
		wanted.From, wanted.Source = volumeKind, content.GetVolume().GetVolumeId()
	}
	made, err := c.store.create(volumeKind, wanted)
	if err != nil {
		return nil, err
	}
	volume := made[0]
	if err := slowly(ctx, volume, delay); err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:      volume.ID,
		CapacityBytes: volume.Bytes,
		ContentSource: request.VolumeContentSource,
	}}, nil
}

// DeleteVolume waits for the node: it lets go a moment after the last pod is gone.
func (c *controllerService) DeleteVolume(
	ctx context.Context, request *csi.DeleteVolumeRequest,
) (*csi.DeleteVolumeResponse, error) {
	if _, err := c.store.get(volumeKind, request.VolumeId); err == nil {
		ctx, done := context.WithTimeout(ctx, leaveTime)
		defer done()
		for ctx.Err() == nil {
			if inUse, err := isMount(c.store.mounted(request.VolumeId)); err != nil || !inUse {
				break
			}
			_ = pause(ctx, 50*time.Millisecond)
		}
	}
	return &csi.DeleteVolumeResponse{}, c.store.remove(volumeKind, request.VolumeId)
}

func (c *controllerService) ValidateVolumeCapabilities(
	_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, err := c.store.get(volumeKind, request.VolumeId); err != nil {
		return nil, err
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
			VolumeCapabilities: request.VolumeCapabilities,
		},
	}, nil
}

func (c *controllerService) ControllerExpandVolume(
	_ context.Context, request *csi.ControllerExpandVolumeRequest,
) (*csi.ControllerExpandVolumeResponse, error) {
	bytes, err := c.store.grow(request.VolumeId, request.GetCapacityRange().GetRequiredBytes())
	if err != nil {
		return nil, err
	}
	// The file system in it is grown by the node: now, or with the next mount.
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: bytes, NodeExpansionRequired: true}, nil
}

func (c *controllerService) CreateSnapshot(
	ctx context.Context, request *csi.CreateSnapshotRequest,
) (*csi.CreateSnapshotResponse, error) {
	delay, err := delayIn(request.Parameters)
	if err != nil {
		return nil, err
	}
	wanted := record{ID: request.Name, From: volumeKind, Source: request.SourceVolumeId}
	made, err := c.store.create(snapshotKind, wanted)
	if err != nil {
		return nil, err
	}
	if err := slowly(ctx, made[0], delay); err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: snapshotOf(made[0])}, nil
}

func (c *controllerService) DeleteSnapshot(
	_ context.Context, request *csi.DeleteSnapshotRequest,
) (*csi.DeleteSnapshotResponse, error) {
	return &csi.DeleteSnapshotResponse{}, c.store.remove(snapshotKind, request.SnapshotId)
}

func (c *controllerService) ListSnapshots(
	_ context.Context, request *csi.ListSnapshotsRequest,
) (*csi.ListSnapshotsResponse, error) {
	known, err := c.store.list(snapshotKind)
	if err != nil {
		return nil, err
	}
	answer := &csi.ListSnapshotsResponse{}
	for _, one := range known {
		if (request.SnapshotId == "" || request.SnapshotId == one.ID) &&
			(request.SourceVolumeId == "" || request.SourceVolumeId == one.Source) {
			entry := &csi.ListSnapshotsResponse_Entry{Snapshot: snapshotOf(one)}
			answer.Entries = append(answer.Entries, entry)
		}
	}
	return answer, nil
}

func snapshotOf(made record) *csi.Snapshot {
	return &csi.Snapshot{
		SnapshotId:      made.ID,
		SourceVolumeId:  made.Source,
		GroupSnapshotId: made.Group,
		SizeBytes:       made.Bytes,
		CreationTime:    timestamppb.New(made.Created),
		ReadyToUse:      true,
	}
}
