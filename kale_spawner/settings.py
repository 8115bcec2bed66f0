"""The administrator's settings, in three groups: images, volumes, gateway.

    c.KaleImages.tag = "..."      c.KaleVolumes.max_size = "100Gi"      c.KaleGateway.mode = ...

What is wrong with one of them by itself is found here; what only shows when they are seen
together, and when all of it is looked at, is in `hubstart.py`.
"""

from __future__ import annotations

import re
from typing import Any

from traitlets import Bool, Dict, Enum, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import LoggingConfigurable

from kale_spawner.errors import SettingsInvalid
from kale_spawner.model.images import (
    DataPreset,
    Image,
    VolumePreset,
    WorkspacePreset,
    parse_images,
    parse_settings,
)
from kale_spawner.model.kinds import parse_kinds
from kale_spawner.model.limits import SYSTEM_FOLDERS
from kale_spawner.model.quantity import parse_size
from kale_spawner.wire import ServerKind

Proposal = Any


class KaleImages(LoggingConfigurable):
    """The images that users choose from."""

    registry = Unicode(
        "gcr.io/arrikto",
        help="Where images that are named without one are pulled from.",
    ).tag(config=True)

    tag = Unicode(
        "",
        help="""
        The tag of images that are named without one.

        It has no default: the tag of Arrikto's images is that of the MiniKF or EKF release.
        """,
    ).tag(config=True)

    images: Any = List(
        help="""
        The images offered, each a dictionary.

        id, display_name, image (required): the id is what a user's choice keeps; `image` is a
        whole reference, or a bare name that gets registry and tag.
        description, icon ("jupyter", "code", "box" or an address), default, hidden.
        kind: "jupyter", "code-server", "rstudio", "plain", or one of KaleGateway.kinds.
        bind: "env" where the image listens where NOTEBOOK_HOST says, "command" where the
        kind's own command has to see to that (the default, but for images of this project).
        command, args: instead of the image's.
        gateway_mode, workspace, data_volumes: for this image, instead of the settings for all.
        kubespawner_override: as in KubeSpawner.profile_list.

        Default: JupyterLab and VS Code with Kale. With [] only KubeSpawner.profile_list counts.
        """,
    ).tag(config=True)

    @default("images")
    def _default_images(self) -> list[dict[str, Any]]:
        return [
            {
                "id": "jupyter-kale",
                "display_name": "JupyterLab with Kale",
                "description": "Notebooks that become Kubeflow pipelines.",
                "icon": "jupyter",
                "image": "jupyter-kale-py38",
                "kind": "jupyter",
                "default": True,
            },
            {
                "id": "vscode-kale",
                "display_name": "VS Code with Kale",
                "description": "Visual Studio Code in the browser, with Kale's SDK.",
                "icon": "code",
                "image": "vscode-kale-py38",
                "kind": "code-server",
            },
        ]

    custom_image_pattern = Unicode(
        "",
        help="""
        A regular expression. An image that matches it as a whole may be named by a user
        instead of the one of the chosen entry. Empty: nobody may.
        """,
    ).tag(config=True)

    @validate("custom_image_pattern")
    def _is_pattern(self, proposal: Proposal) -> str:
        try:
            re.compile(proposal.value)
        except re.error as exc:
            message = f"KaleImages.custom_image_pattern: not a regular expression: {exc}"
            raise TraitError(message) from exc
        return str(proposal.value)

    def entries(self) -> list[Image]:
        """The images, checked. Raises SettingsInvalid."""
        images = parse_images(self.images, "KaleImages.images")
        bare = [image.id for image in images if image.is_bare]
        if bare and not self.tag:
            raise SettingsInvalid(
                f"KaleImages.tag: set it; the image of {' and '.join(bare)} needs one, and for "
                "Arrikto's images it is that of your MiniKF or EKF release "
                "(for images of your own, write whole references into KaleImages.images)"
            )
        if bare and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", self.tag):
            raise SettingsInvalid(f"KaleImages.tag: {self.tag!r} is not a tag")
        return images


class KaleVolumes(LoggingConfigurable):
    """Volumes: what is offered, and what is allowed."""

    storage_class = Unicode(
        "rok-csi",
        help='The class of new volumes. "" is the cluster\'s own default.',
    ).tag(config=True)

    storage_classes = List(
        Unicode(),
        help="All classes that users may choose. Default: [KaleVolumes.storage_class].",
    ).tag(config=True)

    access_modes = List(
        Enum(["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"]),
        ["ReadWriteOnce"],
        help="The access modes that users may choose for a new volume; the first is the default.",
    ).tag(config=True)

    workspace = Dict(
        help="""
        What the workspace is at first: source ("new", "existing", "none"), name, size, mount,
        storage_class, access_mode; and mode: "proposed" (users may change it, the default),
        "fixed" (they see it) or "hidden" (they do not even see it).

        In the name, {slug} stands for user and server and {user_slug} for the user alone.
        """,
    ).tag(config=True)

    data_volumes = Dict(
        help="""
        The data volumes at first: {"mode": ..., "volumes": [{"size": ..., "mount": ...}]},
        with the fields and modes of KaleVolumes.workspace.
        """,
    ).tag(config=True)

    min_size = Unicode("1Mi", help="The smallest size of a new volume.").tag(config=True)

    max_size = Unicode("", help="The largest size of a new volume; empty: any.").tag(config=True)

    max_data_volumes = Integer(10, min=0, max=100, help="How many data volumes at most.").tag(
        config=True
    )

    forbidden_mounts = List(
        Unicode(),
        list(SYSTEM_FOLDERS),
        help="Folders over, in or around which nothing may be mounted.",
    ).tag(config=True)

    home = Unicode(
        "/home/jovyan", help="The home directory of the images: where the workspace is mounted."
    ).tag(config=True)

    rok_secret = Unicode(
        "{user_slug}-gw-token",
        help="""
        The annotation rok/creds-secret-name of new claims: the Secret with the user's token for
        Rok's gateway. {slug} and {user_slug} as in names. Empty: no such annotation.
        """,
    ).tag(config=True)

    rok_hosts = List(
        Unicode(),
        help="""
        Hosts (or host:port) of the Rok whose snapshots users may make volumes from, by its
        address (source "rok"). Empty, the default: this is not offered.
        """,
    ).tag(config=True)

    snapshot_before_delete = Enum(
        ["never", "offered", "always"],
        "offered",
        help="""
        Whether a last snapshot is taken before a user deletes a volume: "never", "offered"
        (where the user asks for it), or "always". The volume stays where the snapshot fails.
        """,
    ).tag(config=True)

    when_deleted = Enum(
        ["keep", "snapshot", "delete"],
        "keep",
        help="""
        What becomes of the volumes when a server (not: its pod) or its user is deleted: "keep",
        "snapshot" (deleted once a last snapshot of each is ready; they stay where that fails), or
        "delete". With a server go those that it was last started with, unless another server
        made them or was last started with them; with a user all. KubeSpawner.delete_pvc has no
        say beside it.
        """,
    ).tag(config=True)

    snapshot_at_stop = Bool(
        False, help="Whether a snapshot of all of a server's volumes is taken when it stops."
    ).tag(config=True)

    snapshot_before_image_change = Bool(
        False,
        help="Whether one is taken before a server starts with another image than last time.",
    ).tag(config=True)

    group_snapshots = Bool(
        True,
        help="""
        Whether all volumes of a server are taken at one instant (VolumeGroupSnapshot) where the
        cluster has a class of groups for their driver; else one after the other.
        """,
    ).tag(config=True)

    keep_automatic = Integer(
        3,
        min=1,
        help="How many of the snapshots that were taken by themselves are kept for each server.",
    ).tag(config=True)

    pages = Bool(
        True, help="Whether the hub has a page of volumes, and the REST API behind it."
    ).tag(config=True)

    @validate("min_size", "max_size")
    def _is_size(self, proposal: Proposal) -> str:
        if proposal.value or proposal.trait.name == "min_size":
            try:
                parse_size(proposal.value)
            except ValueError as exc:
                raise TraitError(f"KaleVolumes.{proposal.trait.name}: {exc}") from exc
        return str(proposal.value)

    @validate("storage_class", "storage_classes")
    def _is_class(self, proposal: Proposal) -> Any:
        names = proposal.value if isinstance(proposal.value, list) else [proposal.value]
        for name in filter(None, names):
            given = {"storage_class": name}
            _checked(VolumePreset, given, f"KaleVolumes.{proposal.trait.name}: {name!r}")
        return proposal.value

    @validate("workspace")
    def _is_workspace(self, proposal: Proposal) -> dict[str, Any]:
        return _checked(WorkspacePreset, proposal.value, "KaleVolumes.workspace")

    @validate("data_volumes")
    def _is_data(self, proposal: Proposal) -> dict[str, Any]:
        return _checked(DataPreset, proposal.value, "KaleVolumes.data_volumes")

    @validate("forbidden_mounts", "home")
    def _is_path(self, proposal: Proposal) -> Any:
        paths = proposal.value if isinstance(proposal.value, list) else [proposal.value]
        for path in paths:
            if not path.startswith("/") or path != "/" + path.strip("/"):
                raise TraitError(
                    f"KaleVolumes.{proposal.trait.name}: {path!r} is not a whole path without "
                    "a / at its end"
                )
        return proposal.value

    def classes(self) -> tuple[str, ...]:
        """The allowed classes, the default first."""
        return tuple(dict.fromkeys([self.storage_class, *self.storage_classes]))


class KaleGateway(LoggingConfigurable):
    """The authenticating proxy in the pod."""

    mode = Enum(
        ["sidecar", "container", "none"],
        "sidecar",
        help="""
        "sidecar": an init container that stays, for Kubernetes 1.29 and newer.
        "container": a container beside the image's, for older clusters.
        "none": the images carry jupyterhub-singleuser themselves.
        """,
    ).tag(config=True)

    image = Unicode(
        "ghcr.io/kale-spawner/gateway:0.1.0",
        help="The gateway's image (images/gateway).",
    ).tag(config=True)

    pull_policy = Enum(
        ["Always", "IfNotPresent", "Never", ""], "", help="Its pull policy; empty: the cluster's."
    ).tag(config=True)

    resources = Dict(
        {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        help="Its resources, as in a pod.",
    ).tag(config=True)

    @validate("resources")
    def _are_resources(self, proposal: Proposal) -> dict[str, Any]:
        for part, amounts in proposal.value.items():
            if part not in ("requests", "limits") or not isinstance(amounts, dict):
                raise TraitError(
                    f"KaleGateway.resources: {part!r}: write it as a pod's resources, like "
                    '{"requests": {"memory": "64Mi"}, "limits": {"memory": "256Mi"}}'
                )
        return dict(proposal.value)

    kinds = Dict(
        help="""
        Further kinds of servers, by name: port, prefix ("keep" or "strip"), prefix_header,
        ready_path, activity ("jupyter", "code-server" or "requests"), loopback_command, and
        polls: ends of paths that an open page asks for by itself, which is no activity.
        """,
    ).tag(config=True)

    def all_kinds(self) -> dict[str, ServerKind]:
        """The kinds by name, checked. Raises SettingsInvalid."""
        return parse_kinds(self.kinds, "KaleGateway.kinds")


def _checked(model: Any, value: dict[str, Any], trait: str) -> dict[str, Any]:
    try:
        parse_settings(model, value, trait)
    except SettingsInvalid as exc:
        raise TraitError(str(exc)) from exc
    return dict(value)
