// Command rokcsi stands in for Rok's CSI driver in the local cluster: for the demo and the tests,
// never for data that matters. It answers to the same name (rok.arrikto.com) and to the same calls;
// behind them a volume is a file with a file system of the size that was asked for, mounted by a
// loop device, and snapshots and clones are copies of the file.
//
// One process is the identity, controller, group controller and node service of the CSI, the provisioner of claims,
// and registers itself with the kubelet. The real csi-snapshotter and csi-resizer run beside it.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"k8s.io/client-go/tools/clientcmd"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const driverName = "rok.arrikto.com"
const driverVersion = "0.1.0-stand-in"

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	socket := flag.String("socket", "", "where the CSI is served")
	registry := flag.String("registration-socket", "", "where the kubelet asks what is served")
	folder := flag.String("folder", "", "where volumes and snapshots are kept")
	kubeconfig := flag.String("kubeconfig", "", "how the API server is reached")
	node := flag.String("node", "", "name of this node")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log.Print("stand-in for Rok's CSI driver, for the demo and the tests")
	if err := run(ctx, *socket, *registry, *folder, *kubeconfig, *node); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, socket, registry, folder, kubeconfig, node string) error {
	volumes, err := openStore(folder)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	driver := grpc.NewServer()
	csi.RegisterIdentityServer(driver, identity{})
	csi.RegisterControllerServer(driver, &controllerService{store: volumes})
	csi.RegisterGroupControllerServer(driver, &groupService{store: volumes})
	csi.RegisterNodeServer(driver, &nodeService{store: volumes, node: node})
	plugin := grpc.NewServer()
	failed := make(chan error, 3)
	registration.RegisterRegistrationServer(plugin, &kubeletRegistration{socket: socket, failed: failed})
	go func() { failed <- serve(driver, socket) }()
	go func() { failed <- serve(plugin, registry) }()
	go func() { failed <- provision(ctx, config, volumes) }()
	select {
	case err = <-failed:
		return err
	case <-ctx.Done():
		driver.Stop()
		plugin.Stop()
		return nil
	}
}

func serve(server *grpc.Server, socket string) error {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return server.Serve(listener)
}

type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) GetPluginInfo(
	context.Context, *csi.GetPluginInfoRequest,
) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: driverVersion}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func (identity) GetPluginCapabilities(
	context.Context, *csi.GetPluginCapabilitiesRequest,
) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{
			Type: csi.PluginCapability_Service_CONTROLLER_SERVICE,
		}}},
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{
			Type: csi.PluginCapability_Service_GROUP_CONTROLLER_SERVICE,
		}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{
			VolumeExpansion: &csi.PluginCapability_VolumeExpansion{
				Type: csi.PluginCapability_VolumeExpansion_ONLINE,
			},
		}},
	}}, nil
}

// kubeletRegistration is what the kubelet asks a socket in its plugins_registry folder.
type kubeletRegistration struct {
	registration.UnimplementedRegistrationServer
	socket string
	failed chan<- error
}

func (k *kubeletRegistration) GetInfo(
	context.Context, *registration.InfoRequest,
) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              driverName,
		Endpoint:          k.socket,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (k *kubeletRegistration) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		// The process is started again, and its new socket makes the kubelet ask again.
		k.failed <- registrationRefused(status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

type registrationRefused string

func (r registrationRefused) Error() string { return "the kubelet refused the driver: " + string(r) }
