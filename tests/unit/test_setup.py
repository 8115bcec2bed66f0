"""What `make demo` refuses, before anything is done."""

import socket
import sys
from pathlib import Path

import pytest

from setup import system


def test_port_in_use_is_refused_with_the_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for text, also in ((str(port), ()), (str(port - 7), (7,))):
            with pytest.raises(system.RefusedError, match=rf"port {port} .* PORT=8080"):
                system.need_port(text, also)
    assert system.need_port(str(port)) == port


@pytest.mark.parametrize("text", ["", "abc", "0", "-1", "65536", "65500", "8 000", "²"])
def test_what_is_no_port_is_refused_with_the_way_out(text: str):
    with pytest.raises(system.RefusedError, match="PORT=8080"):
        system.need_port(text, also=(81,))


def test_too_little_disk_is_refused_for_a_folder_that_is_not_there_yet(tmp_path: Path):
    with pytest.raises(system.RefusedError, match="KALE_CACHE"):
        system.need_disk(tmp_path / "not" / "yet", gib=10**9)
    system.need_disk(tmp_path / "not" / "yet", gib=0)


def test_other_systems_and_users_are_told_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(system.RefusedError, match="KUBECONFIG"):
        system.need_linux()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(system.RefusedError, match="sudo"):
        system.need_root("a local cluster")


def test_a_program_that_is_there_is_not_installed_again():
    assert system.missing({"sh": "dash", "/etc/passwd": "base-files"}) == []
    assert system.missing({"no-such-program": "some-package"}) == ["some-package"]
