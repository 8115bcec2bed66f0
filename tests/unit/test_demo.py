"""What the demo does on this machine, as far as it needs no hub."""

from pathlib import Path

from demo import hub


def test_a_hubs_log_begins_anew_and_the_former_is_kept(tmp_path: Path) -> None:
    for hubs in ("first", "second", "third"):
        log = hub._new_log(tmp_path)
        assert not log.exists()
        log.write_text(hubs)
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "hub.log": "third",
        "hub.log.1": "second",
    }
