"""nginx: its configuration, rendered from the server kind, and its process."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from kale_spawner.gateway.errors import SettingsInvalid
from kale_spawner.gateway.settings import Settings
from kale_spawner.wire import READY_PATH

_TEMPLATE = Path(__file__).with_name("nginx.conf.template")
_HEADERS = (
    "Accept",
    "Authorization",
    "Cookie",
    "Host",
    "Origin",
    "Referer",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "X-Forwarded-Proto",
    "X-Requested-With",
)
"""All that decision.py, handler.py and login.py look at."""

_PLACE = re.compile(r"@\{([a-z_]+)\}")
_QUERY = re.compile(rb"\?.*?(?= HTTP/[0-9.]+\"|\"(?:, [a-z]+: |$)|$)", re.MULTILINE)
_FOLDER = re.compile(r"/[A-Za-z0-9._/-]+")


def render(settings: Settings, folder: Path) -> str:
    """The whole nginx.conf. `folder` holds sockets, cache and temporary files.

    Only text that settings.py has checked, or that is quoted here, gets into it.
    """
    if not _FOLDER.fullmatch(str(folder)):
        raise SettingsInvalid(f"TMPDIR: {str(folder)!r} has characters that nginx would read")
    prefix, decoded, kind = settings.prefix, settings.decoded_prefix, settings.kind
    strip = kind.prefix == "strip"
    values = {
        "user": f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else "",
        "folder": str(folder),
        "port": str(settings.port),
        "app_port": str(kind.port),
        "prefix": prefix,
        "bare_prefix": prefix.rstrip("/"),
        "location": _quoted(decoded),
        "bare_location": _quoted(decoded.rstrip("/")),
        "ready_location": _quoted(decoded + READY_PATH),
        "own_location": _quoted(decoded + READY_PATH.partition("/")[0] + "/"),
        "callback_location": _quoted(decoded + "oauth_callback"),
        "logout_location": _quoted(decoded + "logout"),
        "spelled": _spellings(decoded.rstrip("/")),
        "app_root": "/" if strip else prefix,
        "prefix_headers": _prefix_headers(settings, strip),
        "rewrites": _stripped_rewrites(prefix) if strip else _kept_rewrites(prefix),
        "question": _question(folder),
        "cache": _cache(settings.decision_seconds),
    }
    return _PLACE.sub(lambda match: values[match[1]], _TEMPLATE.read_text())


def start(settings: Settings, folder: Path) -> subprocess.Popen[bytes]:
    """Write the configuration into `folder` and start nginx in the foreground.

    Its error log comes through the process's stderr pipe, for `redact`.
    """
    conf = folder / "nginx.conf"
    conf.write_text(render(settings, folder))
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        raise SettingsInvalid("nginx is not installed (Debian: nginx-light)")
    argv = [program, "-e", "stderr", "-p", str(folder), "-c", str(conf)]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, env={})


def redact(line: bytes) -> bytes:
    """A line of nginx's log without query strings: they may carry tokens and OAuth codes."""
    return _QUERY.sub(b"?...", line)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _spellings(path: str) -> str:
    """A regular expression for that path, each byte but "/" as it is or percent-encoded."""

    def either(byte: int) -> str:
        digits = re.sub("[a-f]", lambda found: f"[{found[0]}{found[0].upper()}]", f"{byte:02x}")
        return rf"(?:\x{byte:02x}|%{digits})"

    return "".join("/" if byte == ord("/") else either(byte) for byte in path.encode())


def _prefix_headers(settings: Settings, strip: bool) -> str:
    """Said to an app at /; an app under its prefix knows, and is told nothing by the client."""
    bare = settings.prefix.rstrip("/") if strip else ""
    names = ["X-Forwarded-Prefix", settings.kind.prefix_header if strip else ""]
    lines = [f'proxy_set_header {name} "{bare}";' for name in names if name]
    return "\n            ".join(lines)


def _stripped_rewrites(prefix: str) -> str:
    """An app at / sends redirects and cookies for /; what names the prefix already is right."""
    bare = re.escape(prefix.rstrip("/"))
    named = prefix.rstrip("/")
    redirects = [f"proxy_redirect {named} {named};", f"proxy_redirect / {prefix};"]
    for scheme in ("http", "https"):
        host = f"{scheme}://$http_host"
        redirects.append(f"proxy_redirect {host}{named} {named};")
        redirects.append(f"proxy_redirect {host}/ {prefix};")
    cookies = [
        f'proxy_cookie_path "~^{bare}(?=/|$)" "{prefix.rstrip("/")}";',
        f'proxy_cookie_path / "{prefix}";',
    ]
    return "\n            ".join(redirects + cookies)


def _kept_rewrites(prefix: str) -> str:
    """An app under its prefix has no business setting cookies for the hub or other servers."""
    bare = re.escape(prefix.rstrip("/"))
    return (
        f'proxy_redirect off;\n            proxy_cookie_path "~^(?!{bare}(?:/|$)).*$" "{prefix}";'
    )


def _question(folder: Path) -> str:
    """What the deciding process is told, about the request as the browser sent it.

    Only what is listed here: it can neither confuse nor be given more.
    """
    told = {
        "method": "$request_method",
        "uri": "$request_uri",
        "upgrade": "$kale_upgrade",
        "peer": "$remote_addr:$remote_port",
        **{name: f"$http_{name.lower().replace('-', '_')}" for name in _HEADERS},
    }
    lines = [f"scgi_param {name} {value};" for name, value in told.items()]
    return "\n            ".join([*lines, f"scgi_pass unix:{folder}/decide.sock;"])


def _cache(seconds: int) -> str:
    if not seconds:
        return ""
    return (
        f"scgi_cache decisions;\n            scgi_cache_valid 200 {seconds}s;\n"
        "            scgi_buffering on;\n            scgi_ignore_headers Cache-Control;\n"
        "            scgi_cache_key $kale_asker;\n"
        "            scgi_cache_bypass $kale_uncached;\n"
        "            scgi_no_cache $kale_uncached;"
    )
