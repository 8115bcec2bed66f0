"""The files that the cluster's programs read, all in the cluster's folder.

Paths in them are as the programs see them (`INSIDE`). Nothing here writes anywhere else.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from localcluster.folders import INSIDE, Place
from localcluster.images import PAUSE
from localcluster.network import Network

CONTAINERD_SOCKET = INSIDE / "run/containerd.sock"
CSI_SOCKET = INSIDE / "run/rokcsi.sock"

_CONTAINERD = f"""\
version = 2
root = "{INSIDE}/containerd/root"
state = "{INSIDE}/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{INSIDE}/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Without CAP_SYS_RESOURCE a lower score is refused, and with it every sandbox.
  restrict_oom_score_adj = true
  # A profile would be loaded into the machine's kernel and stay there.
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{INSIDE}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""


def write(place: Place, network: Network) -> None:
    """Write all of them; the certificates are there already."""
    pki = place.folder / "pki"
    for user in ("admin", "kubelet"):
        target = place.kubeconfig if user == "admin" else place.folder / f"{user}.kubeconfig"
        _json(target, _kubeconfig(place.name, network, pki, user))
        target.chmod(0o600)
    (place.folder / "containerd.toml").write_text(_CONTAINERD)
    _json(place.folder / "cni/kale.conflist", _cni(network))
    _json(place.folder / "kubelet.json", _kubelet(place))
    _json(place.folder / "kube-proxy.json", _proxy(network))


def _json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _kubeconfig(name: str, network: Network, pki: Path, user: str) -> dict[str, Any]:
    def data(file: str) -> str:
        return base64.b64encode((pki / file).read_bytes()).decode()

    authority = {"server": network.api, "certificate-authority-data": data("ca.crt")}
    credentials = {
        "client-certificate-data": data(f"{user}.crt"),
        "client-key-data": data(f"{user}.key"),
    }
    context = f"kale-{name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": authority}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
        "current-context": context,
    }


def _cni(network: Network) -> dict[str, Any]:
    # ptp, not bridge: pods talk by routes alone, and services need no br_netfilter.
    point_to_point = {
        "type": "ptp",
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{INSIDE}/cni/addresses",
            "ranges": [[{"subnet": str(network.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    port_map = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "kale", "plugins": [point_to_point, port_map]}


def _kubelet(place: Place) -> dict[str, Any]:
    low = {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"}
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{INSIDE}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.tag}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        # There is no DNS in the cluster; a pod that asks is told so at once.
        "clusterDNS": ["127.0.0.1"],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "evictionHard": {**low, "nodefs.inodesFree": "1%", "imagefs.inodesFree": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 250,
        "oomScoreAdj": 0,
        "podLogsDir": f"{INSIDE}/logs/pods",
        "volumePluginDir": f"{INSIDE}/kubelet/volume-plugins",
        "registerNode": True,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "3s",
        "volumeStatsAggPeriod": "10s",
    }


def _proxy(network: Network) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": str(network.pods),
        "clientConnection": {"kubeconfig": f"{INSIDE}/kubeconfig"},
        # 0 leaves the machine's numbers alone: they are not of a namespace.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "oomScoreAdj": 0,
    }
