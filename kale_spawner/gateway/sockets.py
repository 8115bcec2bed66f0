"""What users send over open WebSockets, as the kernel counts it.

nginx moves the frames and tells nobody of them. The kernel does, for whoever shares the pod's
network: how many bytes each connection has brought, in `struct tcp_info`, asked by the netlink
that `ss -ti` uses. It takes no privilege, and no memory but these names.
https://www.man7.org/linux/man-pages/man7/sock_diag.7.html
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

QUIET_BYTES = 128
"""What a page that nobody looks at may send between two looks and still be quiet. The answer to a
ping takes six bytes and what the ping carried, a heartbeat in JSON about sixty."""

_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP = 0x300
_REQUEST = 1
_DONE, _ERROR = 3, 2
_INFO = 2
_ESTABLISHED = 1 << 1
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI48x")
_PORTS_AND_PEER = struct.Struct("!4xHH16x4s")
_ANSWER_BYTES = 72
_ATTRIBUTE = struct.Struct("=HH")
_BYTES_RECEIVED = struct.Struct("=128xQ")


class OpenSockets:
    """The WebSockets that were let in at `port` and are open still."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._seen: dict[str, int | None] = {}

    def let_in(self, peer: str) -> None:
        """`peer`: address and port, as ADDRESS:PORT, of who is about to open one."""
        self._seen[peer] = None

    def used(self) -> bool:
        """Whether more than pings came over any of them since the last look.

        The first look at one only learns where it stands: its opening was a request, and is known.
        Raise OSError when the kernel does not tell.
        """
        if not self._seen:
            return False
        before, counted = self._seen, received(self._port)
        self._seen = {peer: counted[peer] for peer in before if peer in counted}
        return any(
            now - then > QUIET_BYTES
            for peer, now in self._seen.items()
            if now is not None and (then := before[peer]) is not None
        )


def received(port: int) -> dict[str, int]:
    """{peer: bytes that came from it}, of each established IPv4 connection to that local port."""
    body = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INFO - 1), _ESTABLISHED)
    size = _HEADER.size + len(body)
    counted = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        kernel.sendto(
            _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, 0, 0) + body, (0, 0)
        )
        for message in _messages(kernel):
            own, theirs, address = _PORTS_AND_PEER.unpack_from(message)
            if own == port and (count := _bytes_received(message)) is not None:
                counted[f"{socket.inet_ntoa(address)}:{theirs}"] = count
    return counted


def _messages(kernel: socket.socket) -> Iterator[bytes]:
    """The bodies of a dump's messages, until its end."""
    while True:
        data = kernel.recv(1 << 16)
        while data:
            size, kind, *_ = _HEADER.unpack_from(data)
            if kind == _DONE:
                return
            if kind == _ERROR or size < _HEADER.size:
                raise OSError("the kernel refused to tell about connections")
            yield data[_HEADER.size : size]
            data = data[(size + 3) & ~3 :]


def _bytes_received(message: bytes) -> int | None:
    """From the attributes behind the fixed part; None where the kernel does not count (< 4.1)."""
    rest = message[_ANSWER_BYTES:]
    while len(rest) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(rest)
        if kind == _INFO and size >= _ATTRIBUTE.size + _BYTES_RECEIVED.size:
            count: int = _BYTES_RECEIVED.unpack_from(rest, _ATTRIBUTE.size)[0]
            return count
        rest = rest[max((size + 3) & ~3, _ATTRIBUTE.size) :]
    return None
