"""What runs in a cluster: each program with its arguments, as process 1 starts it."""

from __future__ import annotations

from dataclasses import dataclass

from localcluster import programs
from localcluster.configuration import CONTAINERD_SOCKET, CSI_SOCKET
from localcluster.folders import INSIDE, PROGRAMS_INSIDE, cache
from localcluster.network import PORT, Network
from localcluster.objects import GROUP_CLASS

_ETCD = "http://127.0.0.1:2379"
_ADMIN = f"--kubeconfig={INSIDE}/kubeconfig"
_PKI = INSIDE / "pki"


@dataclass(frozen=True)
class Service:
    """`waits_for`: the start is put off until the API server has what is at this path."""

    name: str
    command: list[str]
    waits_for: str = "/readyz"


def control_plane(network: Network, alone: bool) -> list[Service]:
    """etcd and the API server; `alone` says that no controller will stand beside them."""
    etcd = [
        f"--data-dir={INSIDE}/etcd",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    apiserver = [
        f"--etcd-servers={_ETCD}",
        f"--advertise-address={network.node_ip}",
        f"--secure-port={PORT}",
        f"--service-cluster-ip-range={network.services}",
        "--allow-privileged",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--cert-dir={INSIDE}/run",
        f"--client-ca-file={_PKI}/ca.crt",
        f"--tls-cert-file={_PKI}/apiserver.crt",
        f"--tls-private-key-file={_PKI}/apiserver.key",
        f"--kubelet-client-certificate={_PKI}/admin.crt",
        f"--kubelet-client-key={_PKI}/admin.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={_PKI}/accounts.pub",
        f"--service-account-signing-key-file={_PKI}/accounts.key",
        "--endpoint-reconciler-type=none" if alone else "--endpoint-reconciler-type=lease",
        "--shutdown-delay-duration=0s",
    ]
    if alone:
        # No controller makes the account that this would wait for.
        apiserver.append("--disable-admission-plugins=ServiceAccount")
    return [_built("etcd", etcd, waits_for=""), _built("kube-apiserver", apiserver, waits_for="")]


def node(network: Network, name: str) -> list[Service]:
    """Everything else: controllers, the node, its storage."""
    controllers = [
        _ADMIN,
        f"--authentication-kubeconfig={INSIDE}/kubeconfig",
        f"--authorization-kubeconfig={INSIDE}/kubeconfig",
        f"--cert-dir={INSIDE}/run",
        f"--root-ca-file={_PKI}/ca.crt",
        f"--service-account-private-key-file={_PKI}/accounts.key",
        f"--cluster-signing-cert-file={_PKI}/ca.crt",
        f"--cluster-signing-key-file={_PKI}/ca.key",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        f"--flex-volume-plugin-dir={INSIDE}/kubelet/volume-plugins",
    ]
    scheduler = [
        _ADMIN,
        f"--authentication-kubeconfig={INSIDE}/kubeconfig",
        f"--authorization-kubeconfig={INSIDE}/kubeconfig",
        f"--cert-dir={INSIDE}/run",
        "--leader-elect=false",
    ]
    kubelet = [
        f"--config={INSIDE}/kubelet.json",
        f"--kubeconfig={INSIDE}/kubelet.kubeconfig",
        f"--root-dir={INSIDE}/kubelet",
        f"--cert-dir={INSIDE}/kubelet/pki",
        f"--hostname-override={name}",
        f"--node-ip={network.node_ip}",
    ]
    return [
        Service("containerd", ["containerd", f"--config={INSIDE}/containerd.toml"], waits_for=""),
        _built("kube-controller-manager", controllers),
        _built("kube-scheduler", scheduler),
        _built("kubelet", kubelet),
        _built("kube-proxy", [f"--config={INSIDE}/kube-proxy.json", f"--hostname-override={name}"]),
        *_storage(name),
    ]


def _storage(node: str) -> list[Service]:
    driver = [
        f"--socket={CSI_SOCKET}",
        f"--registration-socket={INSIDE}/kubelet/plugins_registry/rok.arrikto.com-reg.sock",
        f"--folder={INSIDE}/volumes",
        f"--node={node}",
    ]
    beside_it = [_ADMIN, f"--csi-address={CSI_SOCKET}", "--kube-api-qps=50", "--kube-api-burst=100"]
    return [
        _built("rokcsi", [_ADMIN, *driver]),
        _built("csi-resizer", beside_it),
        # Where it does not find the API of groups when it starts, it never looks again.
        _built("csi-snapshotter", beside_it, GROUP_CLASS),
        _built("snapshot-controller", [_ADMIN], GROUP_CLASS),
    ]


def containerd_client(*arguments: str) -> list[str]:
    """`ctr`, to be run inside."""
    return ["ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", *arguments]


def _built(name: str, arguments: list[str], waits_for: str = "/readyz") -> Service:
    """A program of ours, at the path where it is seen inside."""
    path = programs.named(name).path.relative_to(cache() / "go")
    return Service(name, [str(PROGRAMS_INSIDE / path), *arguments], waits_for)
