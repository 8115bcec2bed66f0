package main

import (
	"context"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const smallestVolume = 1 << 20

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
	_ context.Context, request *csi.CreateVolumeRequest,
) (*csi.CreateVolumeResponse, error) {
	if request.Name == "" || request.Name != filepath.Base(request.Name) {
		return nil, status.Error(codes.InvalidArgument, "the name is missing or no plain name")
	}
	bytes := max(request.GetCapacityRange().GetRequiredBytes(), smallestVolume)
	wanted := record{ID: request.Name, Bytes: bytes}
	origin := ""
	if content := request.VolumeContentSource; content != nil {
		from, id := volumeKind, content.GetVolume().GetVolumeId()
		if content.GetSnapshot() != nil {
			from, id = snapshotKind, content.GetSnapshot().GetSnapshotId()
		}
		source, err := c.store.get(from, id)
		if err != nil {
			return nil, err
		}
		if bytes < source.Bytes {
			return nil, status.Errorf(codes.OutOfRange,
				"a copy of %s needs at least %d bytes, %d were asked for", id, source.Bytes, bytes)
		}
		wanted.Source, origin = id, c.store.data(from, id)
	}
	volume, err := c.store.create(volumeKind, wanted, origin)
	if err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:      volume.ID,
		CapacityBytes: volume.Bytes,
		ContentSource: request.VolumeContentSource,
	}}, nil
}

func (c *controllerService) DeleteVolume(
	_ context.Context, request *csi.DeleteVolumeRequest,
) (*csi.DeleteVolumeResponse, error) {
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
	// As with a real disk, the file system in it is grown by the node, at the next mount at last.
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: bytes, NodeExpansionRequired: true}, nil
}

func (c *controllerService) CreateSnapshot(
	_ context.Context, request *csi.CreateSnapshotRequest,
) (*csi.CreateSnapshotResponse, error) {
	volume, err := c.store.get(volumeKind, request.SourceVolumeId)
	if err != nil {
		return nil, err
	}
	wanted := record{ID: request.Name, Source: volume.ID, Bytes: volume.Bytes}
	made, err := c.store.create(snapshotKind, wanted, c.store.data(volumeKind, volume.ID))
	if err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: snapshotOf(made)}, nil
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
		SnapshotId:     made.ID,
		SourceVolumeId: made.Source,
		SizeBytes:      made.Bytes,
		CreationTime:   timestamppb.New(made.Created),
		ReadyToUse:     true,
	}
}
