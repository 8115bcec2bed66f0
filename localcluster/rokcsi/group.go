package main

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// groupService makes snapshots of several volumes in one moment. A group is what its snapshots say
// they belong to; nothing else is kept of it.
type groupService struct {
	csi.UnimplementedGroupControllerServer
	store *store
}

func (g *groupService) GroupControllerGetCapabilities(
	context.Context, *csi.GroupControllerGetCapabilitiesRequest,
) (*csi.GroupControllerGetCapabilitiesResponse, error) {
	known := csi.GroupControllerServiceCapability_RPC_CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT
	return &csi.GroupControllerGetCapabilitiesResponse{
		Capabilities: []*csi.GroupControllerServiceCapability{{
			Type: &csi.GroupControllerServiceCapability_Rpc{
				Rpc: &csi.GroupControllerServiceCapability_RPC{Type: known},
			},
		}},
	}, nil
}

func (g *groupService) CreateVolumeGroupSnapshot(
	ctx context.Context, request *csi.CreateVolumeGroupSnapshotRequest,
) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	delay, err := delayIn(request.Parameters)
	if err != nil {
		return nil, err
	}
	var wanted []record
	for _, volume := range request.SourceVolumeIds {
		wanted = append(wanted, record{
			ID:     request.Name + "-" + volume,
			From:   volumeKind,
			Source: volume,
			Group:  request.Name,
		})
	}
	known, err := g.members(request.Name)
	if err != nil {
		return nil, err
	}
	for _, one := range known {
		if !slices.Contains(request.SourceVolumeIds, one.Source) {
			return nil, status.Errorf(codes.AlreadyExists, "group %s is there and differs", request.Name)
		}
	}
	made, err := g.store.create(snapshotKind, wanted...)
	if err != nil {
		return nil, err
	}
	if len(made) == 0 {
		return nil, status.Error(codes.InvalidArgument, "a group without volumes")
	}
	if err := slowly(ctx, made[0], delay); err != nil {
		return nil, err
	}
	return &csi.CreateVolumeGroupSnapshotResponse{GroupSnapshot: groupOf(request.Name, made)}, nil
}

func (g *groupService) GetVolumeGroupSnapshot(
	_ context.Context, request *csi.GetVolumeGroupSnapshotRequest,
) (*csi.GetVolumeGroupSnapshotResponse, error) {
	made, err := g.members(request.GroupSnapshotId)
	if err != nil {
		return nil, err
	}
	if len(made) == 0 {
		return nil, status.Errorf(codes.NotFound, "no group %q", request.GroupSnapshotId)
	}
	return &csi.GetVolumeGroupSnapshotResponse{
		GroupSnapshot: groupOf(request.GroupSnapshotId, made),
	}, nil
}

func (g *groupService) DeleteVolumeGroupSnapshot(
	_ context.Context, request *csi.DeleteVolumeGroupSnapshotRequest,
) (*csi.DeleteVolumeGroupSnapshotResponse, error) {
	made, err := g.members(request.GroupSnapshotId)
	if err != nil {
		return nil, err
	}
	for _, one := range made {
		if err := g.store.remove(snapshotKind, one.ID); err != nil {
			return nil, err
		}
	}
	return &csi.DeleteVolumeGroupSnapshotResponse{}, nil
}

func (g *groupService) members(group string) ([]record, error) {
	known, err := g.store.list(snapshotKind)
	return slices.DeleteFunc(known, func(one record) bool { return one.Group != group }), err
}

func groupOf(id string, made []record) *csi.VolumeGroupSnapshot {
	group := &csi.VolumeGroupSnapshot{
		GroupSnapshotId: id,
		CreationTime:    timestamppb.New(made[0].Created),
		ReadyToUse:      true,
	}
	for _, one := range made {
		group.Snapshots = append(group.Snapshots, snapshotOf(one))
	}
	return group
}
