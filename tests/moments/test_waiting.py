"""Waiting in a history that grows: woken by what is written, ended by what was promised."""

import asyncio
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from chaosreprise.errors import NotAllowed, NotProven
from chaosreprise.history import Answer, Phase, Report, Submit, Writer
from chaosreprise.history.events import Awaited
from chaosreprise.moments import Waiting, read
from chaosreprise.moments.waiting import Recorded

ACCEPTED = {"after": {"accept": "wake"}, "within_s": 5}


def wait(
    folder: pathlib.Path, at: Any, meanwhile: Callable[[], object] = lambda: None, after_s: float = 0.05, **options: Any
) -> tuple[Awaited, int]:
    """What came of waiting, and when it was over; `meanwhile` is done by somebody else."""

    async def work() -> tuple[Awaited, int]:
        waiting = Waiting(read("test", at), ["agents/a2"], [Recorded(folder)], **options)
        try:
            await waiting.open()
            somebody.start()
            came = await waiting.come(time.monotonic_ns())
            return came, time.monotonic_ns()
        finally:
            waiting.close()

    somebody = threading.Timer(after_s, meanwhile)
    try:
        return asyncio.run(work())
    finally:
        somebody.cancel()
        somebody.join()


def wake(writer: Writer, cmd: str, agent: str = "a2") -> int:
    """One that is accepted; when that was written."""
    now = time.monotonic_ns()
    path = ["control-plane", f"agents/{agent}"]
    writer.write(Submit(lo=now, hi=now, cmd=cmd, op="wake", key=cmd, session="s1", intended=now, path=path))
    now = time.monotonic_ns()
    writer.write(Answer(lo=now, hi=now, cmd=cmd, outcome="ok"), at_once=True)
    return now


def test_it_is_woken_by_what_the_load_writes(tmp_path: pathlib.Path):
    written: list[int] = []
    with Writer(tmp_path, "load", "r1") as load:
        wake(load, "c1")  # before it waits
        came, over = wait(tmp_path, ACCEPTED, lambda: written.append(wake(load, "c2")))
    assert came.cmds == ["c2"]
    assert came.came == written[0]
    assert over - written[0] < 100_000_000, "not at the next look for safety's sake"


def test_another_agents_command_does_not_wake_it(tmp_path: pathlib.Path):
    with Writer(tmp_path, "load", "r1") as load:
        with pytest.raises(NotProven) as error:
            wait(tmp_path, {**ACCEPTED, "within_s": 0.2}, lambda: wake(load, "c2", "a1"))
    assert str(error.value) == (
        "its moment did not come within 0.2 s (after a wake was accepted): 0 of 1 wake commands were accepted"
    )


def test_all_writers_of_a_run_are_followed(tmp_path: pathlib.Path):
    now = time.monotonic_ns()
    with Writer(tmp_path, "owner", "r1") as owner, Writer(tmp_path, "recorder", "r1") as recorder:
        away = Report(lo=now, hi=now, source="rows", about="agent", id="a2", state="offline")
        came, _ = wait(tmp_path, {"agent": "offline", "within_s": 5}, lambda: recorder.write(away, at_once=True))
        assert came.came is not None
        quiet = Phase(lo=now, hi=now, name="quiet", edge="begin")
        came, _ = wait(tmp_path, {"phase": "quiet", "within_s": 5}, lambda: owner.write(quiet, at_once=True))
        assert came.say == "in the phase quiet"


def test_a_history_whose_folder_is_not_there_yet_is_looked_at_often(tmp_path: pathlib.Path):
    folder = tmp_path / "later"

    def write() -> None:
        with Writer(folder, "load", "r1") as load:
            wake(load, "c1")

    assert wait(folder, ACCEPTED, write)[0].cmds == ["c1"]


def test_a_long_history_is_learned_piece_by_piece(tmp_path: pathlib.Path):
    with Writer(tmp_path, "load", "r1") as load:
        for number in range(20_000):
            now = time.monotonic_ns()
            submit = Submit(
                lo=now, hi=now, cmd=f"o{number}", op="read", key=f"o{number}", intended=now, path=["x" * 50]
            )
            load.write(submit)
        load.flush()
        assert load.path.stat().st_size > 3 << 20
        came, _ = wait(tmp_path, ACCEPTED, lambda: wake(load, "c1"), after_s=0.01)
    assert came.cmds == ["c1"]


def test_seconds_are_waited_for_without_any_history(tmp_path: pathlib.Path):
    began = time.monotonic_ns()
    came, over = wait(tmp_path / "nothing", 0.2)
    assert came.say == "after 0.2 s"
    assert 200_000_000 <= over - began < 1_000_000_000


def test_what_speaks_against_it_ends_the_waiting(tmp_path: pathlib.Path):
    async def refused() -> None:
        await asyncio.sleep(0.1)
        raise NotAllowed("the window is over")

    began = time.monotonic()
    with pytest.raises(NotAllowed, match="the window is over"):
        wait(tmp_path, ACCEPTED, unless=refused)
    assert time.monotonic() - began < 2


def test_waiting_costs_next_to_nothing(tmp_path: pathlib.Path):
    with Writer(tmp_path, "load", "r1"):
        began = time.process_time()
        with pytest.raises(NotProven):
            wait(tmp_path, {**ACCEPTED, "within_s": 1.0})
        assert time.process_time() - began < 0.1
