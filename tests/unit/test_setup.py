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
        with pytest.raises(system.RefusedError, match=rf"port {port} .* make demo PORT=8080"):
            system.need_port(port, "for example make demo PORT=8080")
    system.need_port(port, "")


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
