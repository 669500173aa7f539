"""Whatever stops a run from outside, at whatever phase: it is undone and tidied at once, said, and never a pass.

Each signal and each phase comes up here, not each pair of them; the waiting is done where a signal is known to get lost.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from runs import CHAOS, CLEAN, Begin, processes_of
from terminals import Terminal

from chaosreprise import checker, history
from chaosreprise.platform import file
from chaosreprise.run import litter
from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

LONG_S = 60.0
READY_S = 60.0
UNDO_BEGINS_S = 1.0  # after the signal: the warden is told by a byte on its pipe
Act = Callable[[Terminal], None]
Experiment = dict[str, Any]


def sends(number: signal.Signals) -> Act:
    return lambda terminal: os.kill(terminal.process.pid, number)


ACTS: dict[str, tuple[Act, str]] = {
    "SIGTERM": (sends(signal.SIGTERM), "SIGTERM"),
    "SIGINT": (Terminal.ctrl_c, "SIGINT"),
    "SIGHUP": (sends(signal.SIGHUP), "SIGHUP"),
    "closed": (Terminal.close, "SIGHUP"),
    "SIGUSR2": (sends(signal.SIGUSR2), "SIGUSR2"),
}


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where in the run to act: `change` keeps it there, `ready` sees that it is."""

    ready: Callable[["Person"], bool]
    change: Callable[[Experiment], None] = lambda _: None
    arguments: tuple[str, ...] = ()


class Person:
    """Somebody who runs the experiment in a terminal."""

    def __init__(self, lab: starter.Stack, folder: pathlib.Path, experiment: Experiment, *arguments: str) -> None:
        self.folder = folder
        (folder / "experiment.json").write_text(json.dumps(experiment))
        env = {**CLEAN, "REPRISE_PLATFORM": str(lab.platform_file), "REPRISE_SEED": "7"}
        command = [CHAOS, "--no-version-check", "run", *arguments, "experiment.json"]
        self.terminal = Terminal(command, folder, env)

    @property
    def run(self) -> pathlib.Path:
        return (self.folder / "runs" / "latest").resolve()

    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "verdict.json").read_text())
        return found

    def log(self) -> str:
        """What was logged, also after the terminal was closed."""
        return (self.folder / "chaostoolkit.log").read_text()


def said(text: str) -> Callable[[Person], bool]:
    return lambda person: text in person.terminal.text


def entered(phase: str) -> Callable[[Person], bool]:
    def ready(person: Person) -> bool:
        path = person.run / "history" / "owner.jsonl"
        return path.exists() and f'"name":"{phase}","edge":"begin"' in path.read_text()

    return ready


def pause(func: str, where: str) -> Callable[[Experiment], None]:
    """Chaos Toolkit pauses before or after the steps and probes of this function."""

    def change(experiment: Experiment) -> None:
        for activity in (*experiment["steady-state-hypothesis"]["probes"], *experiment["method"]):
            if activity["provider"]["func"] == func:
                activity["pauses"] = {where: LONG_S}

    return change


def stay_in(func: str) -> Callable[[Experiment], None]:
    def change(experiment: Experiment) -> None:
        for activity in experiment["method"]:
            if activity["provider"]["func"] == func:
                activity["provider"]["arguments"]["seconds"] = LONG_S

    return change


def long_baseline(experiment: Experiment) -> None:
    experiment["controls"][0]["provider"]["arguments"]["limits"] = {"baseline_s": LONG_S}


def pause_rollbacks(experiment: Experiment) -> None:
    experiment["rollbacks"][0]["pauses"] = {"before": LONG_S}


PAUSED = said("Pausing ")
BEFORE_ONLY = ("--hypothesis-strategy", "before-method-only")
AFTER_ONLY = ("--hypothesis-strategy", "after-method-only")
MOMENTS = {
    "opening": Moment(said("would take away")),
    "baseline": Moment(entered("baseline"), long_baseline),
    "steady state": Moment(PAUSED, pause("complete", "before")),
    "before the fault": Moment(PAUSED, pause("take_away", "before")),
    "while it is on": Moment(said("Action: send commands"), stay_in("send")),
    "after the fault": Moment(PAUSED, pause("bring_back", "after")),
    "quiet": Moment(said("Action: leave the load on"), stay_in("quiet"), AFTER_ONLY),
    "drain": Moment(entered("drain"), arguments=AFTER_ONLY),
    "clean": Moment(entered("clean"), arguments=AFTER_ONLY),
    "last hypothesis": Moment(PAUSED, pause("answer", "before"), AFTER_ONLY),
    "rollbacks": Moment(PAUSED, pause_rollbacks, BEFORE_ONLY),
    "close": Moment(entered("close"), arguments=AFTER_ONLY),
}


@pytest.fixture
def begun(lab: starter.Stack, tmp_path: pathlib.Path, shortest: Experiment) -> Iterator[Callable[[str], Person]]:
    """A run that has come to a moment, and stays there for a while."""
    people: list[Person] = []

    def begin(moment: str) -> Person:
        at = MOMENTS[moment]
        at.change(shortest)
        person = Person(lab, tmp_path, shortest, *at.arguments)
        people.append(person)
        end = time.monotonic() + READY_S
        while not at.ready(person):
            assert time.monotonic() < end, f"{moment}: not reached:\n{person.terminal.text}"
            assert person.terminal.process.poll() is None, f"{moment}: it has ended:\n{person.terminal.text}"
            time.sleep(0.01)
        return person

    yield begin
    for person in people:
        if person.terminal.process.poll() is None:
            person.terminal.process.kill()
            person.terminal.process.wait()
        person.terminal.close()


def check_whole(lab: starter.Stack, person: Person) -> None:
    """Nothing is broken and no process is left, nor a session: or a mark, since a start had no answer when we looked."""
    with Keeper(lab.address) as keeper:
        status = keeper.status()
    assert [(one.name, one.state) for one in status.components if one.state != "up" or one.held_by] == []
    assert [slot.slot for slot in status.slots if slot.processes] == [] or marks(lab)
    assert processes_of(person.folder) == {}


def marks(lab: starter.Stack) -> list[pathlib.Path]:
    return litter.left(file.load(str(lab.platform_file)).id)


def check_interrupted(person: Person, code: int, by: str) -> None:
    assert code != 0, person.terminal.text
    verdict = person.verdict()
    assert verdict["verdict"] == "unknown", verdict
    assert verdict["why"][0].startswith(f"run: it was interrupted by {by}, "), verdict["why"]
    assert checker.judge(history.load(person.run / "history"), "end").value == "unknown"


@pytest.mark.parametrize(
    ("moment", "act"),
    [
        ("opening", "SIGTERM"),
        pytest.param("baseline", "SIGHUP", marks=pytest.mark.thorough),
        ("steady state", "SIGINT"),
        pytest.param("before the fault", "closed", marks=pytest.mark.thorough),
        ("while it is on", "SIGTERM"),
        pytest.param("after the fault", "SIGHUP", marks=pytest.mark.thorough),
        ("quiet", "closed"),
        pytest.param("drain", "SIGINT", marks=pytest.mark.thorough),
        pytest.param("clean", "SIGTERM", marks=pytest.mark.thorough),
        pytest.param("last hypothesis", "SIGHUP", marks=pytest.mark.thorough),
        pytest.param("rollbacks", "SIGINT", marks=pytest.mark.thorough),
        pytest.param("close", "SIGTERM", marks=pytest.mark.thorough),
    ],
)
def test_a_run_that_is_interrupted_is_undone_tidied_and_unknown(
    moment: str, act: str, lab: starter.Stack, begun: Callable[..., Person]
) -> None:
    do, by = ACTS[act]
    person = begun(moment)
    do(person.terminal)
    check_interrupted(person, person.terminal.finish(), by)
    check_whole(lab, person)


def test_the_undo_begins_at_once_even_if_chaos_toolkit_swallows_the_signal_and_goes_on(
    lab: starter.Stack, begun: Callable[..., Person], shortest: Experiment
) -> None:
    shortest["controls"][0]["automatic"] = False  # so that no hook follows an activity, and 3.11 takes it for a failure
    person = begun("while it is on")
    os.kill(person.terminal.process.pid, signal.SIGTERM)
    check_interrupted(person, person.terminal.finish(), "SIGTERM")
    events = history.load(person.run / "history").events
    at = next(event.lo for event in events if isinstance(event, history.Observe) and event.signal == "interrupted")
    undoing = next(event.lo for event in events if isinstance(event, history.Fault) and event.state == "undoing")
    assert 0 <= undoing - at < UNDO_BEGINS_S * 1e9
    check_whole(lab, person)


def test_an_impatient_person_does_not_stop_the_healing(lab: starter.Stack, begun: Callable[..., Person]) -> None:
    person = begun("while it is on")
    while person.terminal.process.poll() is None:
        with contextlib.suppress(OSError):  # it has just ended
            person.terminal.ctrl_c()
        time.sleep(0.1)
    check_interrupted(person, person.terminal.finish(), "SIGINT")
    check_whole(lab, person)


def test_after_all_that_the_next_run_on_the_same_lab_passes(
    lab: starter.Stack, begin: Begin, shortest: Experiment
) -> None:
    ran = begin(lab.platform_file, experiment=shortest).finish()
    assert ran.code == 0, ran.told()
    assert marks(lab) == []
    with Keeper(lab.address) as keeper:
        assert [slot.slot for slot in keeper.status().slots if slot.processes] == []
