"""What a killed run may have left on a platform that only runs start: it is there when the next one starts it, and not before."""

import pathlib

import pytest

from chaosreprise.platform import file
from chaosreprise.run import litter

COMMANDED = """
version = 1
kind = "sandbox"
name = "mine"
[identity]
host = "here"
[sandbox]
control_plane = "http://127.0.0.1:1"
data_plane = "http://127.0.0.1:1"
agent = "http://127.0.0.1:1"
[components."agents/a1"]
how = "process"
command = ["true"]
[timing]
settle = { backoff_s = 0, reconcile_s = 0, slowest_s = 0 }
"""


def test_nobody_looks_for_sessions_where_nothing_runs_and_the_next_run_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "mine.toml").write_text(COMMANDED)
    platform = file.load(str(tmp_path / "mine.toml"))
    mark = litter.mark(platform, "r1")
    told = [("run r1: it may have left sessions on mine@here, which only a run starts: the next one stops them", True)]
    assert list(litter.tidy_all()) == told
    assert litter.left(platform.id) == [mark]
