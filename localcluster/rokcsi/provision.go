package main

import (
	"context"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	snapshots "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provisioner makes a volume for each claim of a class of ours, as csi-provisioner does for the
// real driver.
type provisioner struct {
	kubernetes kubernetes.Interface
	snapshots  snapshots.Interface
	volumes    *controllerService
}

// provision runs until ctx ends.
func provision(ctx context.Context, config *rest.Config, volumes *store) error {
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	snapshotClient, err := snapshots.NewForConfig(config)
	if err != nil {
		return err
	}
	loop := controller.NewProvisionController(
		ctx, client, driverName,
		&provisioner{client, snapshotClient, &controllerService{store: volumes}},
		controller.LeaderElection(false),
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
		controller.AddFinalizer(true),
		controller.Threadiness(16),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](
			time.Second, 10*time.Second,
		)),
	)
	loop.Run(ctx)
	return ctx.Err()
}

func (p *provisioner) Provision(
	ctx context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	claim := options.PVC
	wanted := claim.Spec.Resources.Requests[core.ResourceStorage]
	source, err := p.source(ctx, claim)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	made, err := p.volumes.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name:                options.PVName,
		CapacityRange:       &csi.CapacityRange{RequiredBytes: wanted.Value()},
		VolumeContentSource: source,
		Parameters:          options.StorageClass.Parameters,
	})
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	capacity := *resource.NewQuantity(made.Volume.CapacityBytes, resource.BinarySI)
	filesystem := core.PersistentVolumeFilesystem
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: capacity},
			MountOptions:                  options.StorageClass.MountOptions,
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			VolumeMode:                    &filesystem,
			PersistentVolumeSource: core.PersistentVolumeSource{
				CSI: &core.CSIPersistentVolumeSource{
					Driver:       driverName,
					VolumeHandle: made.Volume.VolumeId,
				},
			},
		},
	}, controller.ProvisioningFinished, nil
}

func (p *provisioner) Delete(ctx context.Context, volume *core.PersistentVolume) error {
	if volume.Spec.CSI == nil || volume.Spec.CSI.Driver != driverName {
		return &controller.IgnoredError{Reason: "the volume is of another driver"}
	}
	request := &csi.DeleteVolumeRequest{VolumeId: volume.Spec.CSI.VolumeHandle}
	_, err := p.volumes.DeleteVolume(ctx, request)
	return err
}

// source says what a new volume is filled from: nothing, a snapshot or a claim beside it.
func (p *provisioner) source(
	ctx context.Context, claim *core.PersistentVolumeClaim,
) (*csi.VolumeContentSource, error) {
	from := claim.Spec.DataSource
	if from == nil {
		if reference := claim.Spec.DataSourceRef; reference != nil {
			return nil, fmt.Errorf("data source of kind %s is not supported", reference.Kind)
		}
		return nil, nil
	}
	switch from.Kind {
	case "VolumeSnapshot":
		handle, err := p.snapshotHandle(ctx, claim.Namespace, from.Name)
		return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle},
		}}, err
	case "PersistentVolumeClaim":
		handle, err := p.volumeHandle(ctx, claim.Namespace, from.Name)
		return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: handle},
		}}, err
	}
	return nil, fmt.Errorf("data source of kind %s is not supported", from.Kind)
}

func (p *provisioner) snapshotHandle(ctx context.Context, namespace, name string) (string, error) {
	client := p.snapshots.SnapshotV1()
	snapshot, err := client.VolumeSnapshots(namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return "", err
	}
	status := snapshot.Status
	if status == nil || status.ReadyToUse == nil || !*status.ReadyToUse ||
		status.BoundVolumeSnapshotContentName == nil {
		return "", fmt.Errorf("snapshot %s is not ready to use", name)
	}
	bound := *status.BoundVolumeSnapshotContentName
	content, err := client.VolumeSnapshotContents().Get(ctx, bound, meta.GetOptions{})
	if err != nil {
		return "", err
	}
	reference := content.Spec.VolumeSnapshotRef
	if reference.UID != snapshot.UID || content.Spec.Driver != driverName {
		return "", fmt.Errorf("snapshot %s is bound to a content of another's", name)
	}
	if content.Status == nil || content.Status.SnapshotHandle == nil {
		return "", fmt.Errorf("snapshot %s has no handle yet", name)
	}
	return *content.Status.SnapshotHandle, nil
}

func (p *provisioner) volumeHandle(ctx context.Context, namespace, name string) (string, error) {
	client := p.kubernetes.CoreV1()
	claim, err := client.PersistentVolumeClaims(namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return "", err
	}
	if claim.Status.Phase != core.ClaimBound {
		return "", fmt.Errorf("claim %s, the source, is not bound", name)
	}
	volume, err := client.PersistentVolumes().Get(ctx, claim.Spec.VolumeName, meta.GetOptions{})
	if err != nil {
		return "", err
	}
	if volume.Spec.CSI == nil || volume.Spec.CSI.Driver != driverName {
		return "", fmt.Errorf("claim %s, the source, is of another driver", name)
	}
	return volume.Spec.CSI.VolumeHandle, nil
}
