"""A hub whose users start JupyterLab or VS Code with Kale, on volumes that last.

It runs as it stands (`jupyterhub -f jupyterhub_config.py`) wherever KUBECONFIG, or the pod it
runs in, leads to a Kubernetes; `make demo` uses this very file. Settings, by environment:

    KALE_IMAGES_TAG        tag of the images; of Arrikto's own, that of your MiniKF or EKF release
    KALE_IMAGES_REGISTRY   where they are pulled from             (default gcr.io/arrikto)
    KALE_JUPYTER_IMAGE     name of the one                        (jupyter-kale-py38)
    KALE_VSCODE_IMAGE      name of the other                      (vscode-kale-py38)
    KALE_GATEWAY_IMAGE     the gateway's image
    KALE_STORAGE_CLASS     class of new volumes                   (rok-csi)
    KALE_NAMESPACE         where servers and volumes live         (the hub's own, or default)
    KALE_HUB_BIND_URL      where users reach the hub              (http://127.0.0.1:8000)
    KALE_HUB_CONNECT_IP    this machine's address as pods reach it (its host name)
    KALE_HUB_PORT          the port they reach it at              (81 above the users': 8081)
    KALE_HUB_STATE         folder of database and cookie secret   (the current one)
    KALE_HUB_CLEANUP       1 to stop all servers with the hub     (they go on without it)
    KALE_HUB_PASSWORD      one password for everybody. Without it nobody can log in: set an
                           authenticator of your own instead of the one below.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

env = os.environ
c = get_config()  # noqa: F821  (JupyterHub provides it)

# --- the spawner: this line is all that an existing hub needs, and the tag below ---
c.JupyterHub.spawner_class = "kale"
c.KaleImages.tag = env.get("KALE_IMAGES_TAG", "")
c.KaleImages.registry = env.get("KALE_IMAGES_REGISTRY", "gcr.io/arrikto")
c.KaleImages.images = [
    {
        "id": "jupyter-kale",
        "display_name": "JupyterLab with Kale",
        "description": "Notebooks and terminals, and Kale to make a pipeline of a notebook.",
        "icon": "jupyter",
        "image": env.get("KALE_JUPYTER_IMAGE", "jupyter-kale-py38"),
        "kind": "jupyter",
        "default": True,
    },
    {
        "id": "vscode-kale",
        "display_name": "VS Code with Kale",
        "description": "An editor with terminals and extensions, and Kale's Python SDK.",
        "icon": "code",
        "image": env.get("KALE_VSCODE_IMAGE", "vscode-kale-py38"),
        "kind": "code-server",
    },
]
if "KALE_GATEWAY_IMAGE" in env:
    c.KaleGateway.image = env["KALE_GATEWAY_IMAGE"]
c.KaleVolumes.storage_class = env.get("KALE_STORAGE_CLASS", "rok-csi")
if "KALE_NAMESPACE" in env:
    c.KaleSpawner.namespace = env["KALE_NAMESPACE"]

# --- what every hub has: several servers a user, an administrator, somebody to log in ---
c.JupyterHub.allow_named_servers = True
c.JupyterHub.named_server_limit_per_user = 5
c.Authenticator.admin_users = {"admin"}
if "KALE_HUB_PASSWORD" in env:
    c.JupyterHub.authenticator_class = "dummy"
    c.DummyAuthenticator.password = env["KALE_HUB_PASSWORD"]
    c.Authenticator.allow_all = True

# --- where it listens: the proxy for people, the hub's API for the pods' gateways ---
bind_url = env.get("KALE_HUB_BIND_URL", "http://127.0.0.1:8000")
c.JupyterHub.bind_url = bind_url
port = urlsplit(bind_url).port or 8000
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{port + 1}"
c.JupyterHub.hub_port = int(env.get("KALE_HUB_PORT", port + 81))
if "KALE_HUB_CONNECT_IP" in env:
    c.JupyterHub.hub_ip = c.JupyterHub.hub_connect_ip = env["KALE_HUB_CONNECT_IP"]

# --- what it remembers ---
state = Path(env.get("KALE_HUB_STATE", "."))
c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(state / "jupyterhub_cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(state / "jupyterhub-proxy.pid")
# Servers go on while the hub is restarted; it finds them again.
c.JupyterHub.cleanup_servers = env.get("KALE_HUB_CLEANUP") == "1"
