"""What is done once, when a hub starts: wrong settings end it, with the trait's name.

JupyterHub makes a spawner only when a user needs one. Without this, the first user would be
told of the administrator's mistake.
"""

from __future__ import annotations

from typing import Any

from traitlets.config import Application, Config
from traitlets.config.loader import LazyConfigValue

from kale_spawner.errors import SettingsInvalid
from kale_spawner.model.names import expand
from kale_spawner.model.quantity import parse_size
from kale_spawner.offers import Offers
from kale_spawner.presets import check_presets
from kale_spawner.settings import KaleGateway, KaleImages, KaleVolumes
from kale_spawner.web import api, volumes_page


def check_settings(config: Config, spawner_class: Any) -> None:
    """Raise TraitError or SettingsInvalid, naming the trait, for anything wrong in `config`."""
    for group in (KaleImages, KaleVolumes, KaleGateway):
        for name in config.get(group.__name__, {}):
            if name not in group.class_trait_names(config=True):
                raise SettingsInvalid(f"{group.__name__}.{name}: there is no such setting")
    images = KaleImages(config=config)
    volumes = KaleVolumes(config=config)
    gateway = KaleGateway(config=config)
    _check_volumes(volumes)
    _check_images(images, gateway, bool(config.get("JupyterHub", {}).get("internal_ssl")))
    entries = _entries(config, spawner_class, "profile_list")
    entries = spawner_class._get_initialized_profile_list(spawner_class, entries)
    mounts = _entries(config, spawner_class, "volume_mounts")
    taken = [str(mount["mountPath"]) for mount in mounts if "mountPath" in mount]
    together = not _setting(config, spawner_class, "enable_user_namespaces")
    check_presets(Offers(images, volumes, gateway, entries), taken, one_namespace=together)


def _setting(config: Config, spawner_class: Any, name: str) -> Any:
    """What is configured for a spawner, whichever of its classes is named; None for nothing."""
    value: Any = None
    for section in spawner_class.section_names():
        value = config.get(section, {}).get(name, value)
    return value.get_value([]) if isinstance(value, LazyConfigValue) else value


def _entries(config: Config, spawner_class: Any, name: str) -> list[Any]:
    """A list, or kubespawner's dictionary. What is callable can only be asked for a user."""
    value = _setting(config, spawner_class, name)
    if isinstance(value, dict):
        return [value[key] for key in sorted(value)]
    return value if isinstance(value, list) else []


def check_when_hub_starts() -> None:
    """Have the settings checked by the hub of this process, if there is one by now.

    JupyterHub makes no spawner before the first user's, and calls nothing of the class that it
    is to use. But it imports the spawners that are installed before anything else, asks them for
    their traits to read its command line, and imports those that its configuration names; each
    time this is called. After that it opens its database (trait `session_factory`): a wrong
    setting raises there, which ends the hub with the message.
    """
    if not Application.initialized():
        return
    app = Application.instance()
    if app.has_trait("session_factory") and app.has_trait("spawner_class"):
        app.observe(_check_app, "session_factory")


def _check_app(change: Any) -> None:
    app = change.owner
    if getattr(app.spawner_class, "checks_settings", False):
        check_settings(app.config, app.spawner_class)
        if _is_plain(app.config, app.spawner_class):
            app.log.info(
                "KaleImages.images is [] and KubeSpawner.profile_list is empty: "
                "every server is KubeSpawner's, with KubeSpawner.image"
            )
        volumes = KaleVolumes(config=app.config)
        if _setting(app.config, app.spawner_class, "delete_pvc") and volumes.when_deleted == "keep":
            app.log.warning(
                "KubeSpawner.delete_pvc has no effect: volumes stay when a server or a user is "
                "deleted, unless KaleVolumes.when_deleted says otherwise"
            )
        if volumes.pages:
            app.extra_handlers.extend(api.HANDLERS)
            volumes_page.register(app)


def _is_plain(config: Config, spawner_class: Any) -> bool:
    """Whether nothing at all is offered: what may be wanted, and looks like a mistake."""
    return not KaleImages(config=config).images and not _setting(
        config, spawner_class, "profile_list"
    )


def _check_volumes(volumes: KaleVolumes) -> None:
    if volumes.max_size and parse_size(volumes.max_size) < parse_size(volumes.min_size):
        raise SettingsInvalid("KaleVolumes.max_size: it is smaller than KaleVolumes.min_size")
    if not volumes.access_modes:
        raise SettingsInvalid("KaleVolumes.access_modes: one at least is needed")
    if volumes.rok_secret:
        try:
            expand(volumes.rok_secret, "x" * 200, "y" * 200)
        except ValueError as exc:
            raise SettingsInvalid(
                f"KaleVolumes.rok_secret: {volumes.rok_secret!r} becomes no name of a Secret for "
                "some users; use small letters, digits, hyphens, and {slug} or {user_slug}"
            ) from exc


def _check_images(images: KaleImages, gateway: KaleGateway, internal_ssl: bool) -> None:
    kinds = gateway.all_kinds()
    for index, image in enumerate(images.entries()):
        trait = f"KaleImages.images[{index}]"
        if image.kind not in kinds:
            known = ", ".join(sorted(kinds))
            raise SettingsInvalid(f"{trait}.kind: {image.kind!r} is none of {known}")
        if (image.gateway_mode or gateway.mode) != "none" and not gateway.image:
            raise SettingsInvalid(
                "KaleGateway.image: it is empty; name the image built from images/gateway, "
                "or set KaleGateway.mode to 'none'"
            )
        if internal_ssl and (image.gateway_mode or gateway.mode) != "none":
            raise SettingsInvalid(
                "JupyterHub.internal_ssl: the gateway has no certificates; leave it off, "
                "or set KaleGateway.mode to 'none'"
            )
