"""Whether an adapter and its platform fit together, before blame is put on the platform: `chaos reprise conformance FILE`.

A few sessions of its own, no fault: each kind of command, what the refusal table says, and what shows up of all that where the
adapter looks. It keeps the budget and the identity of the platform file, has the platform's lock as a run has it, and leaves
a mark until its sessions are stopped: whatever ends this process, the next run, `heal` or `conformance` stops them.
"""

import asyncio
import contextlib
import pathlib
import secrets
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec

from chaosreprise.errors import RepriseError, RunBroken
from chaosreprise.faults import client, facts, safety
from chaosreprise.platform import adapter, keepers
from chaosreprise.platform.file import Platform, load
from chaosreprise.platform.said import Said
from chaosreprise.run import conforming, labs, litter, locking, sentences
from chaosreprise.run.shown import Shown
from chaosreprise.run.trial import Trial

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Tried(msgspec.Struct, kw_only=True):
    """`untrusted`: the checks that can't be trusted on this platform, or not with this adapter."""

    platform: str
    kind: str
    holds: bool
    untrusted: list[str]
    said: list[Said]

    def lines(self) -> list[str]:
        return [f"{self.platform} ({self.kind})", *sentences.lines([*self.said, self._summary()])]

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def _summary(self) -> Said:
        if self.holds:
            return Said(about="all in all", say="everything holds: what is found on this platform is the platform's")
        say = f"can't be trusted here: {', '.join(self.untrusted) or 'no check'}"
        do = "mend the adapter, its platform file or the platform before a run is believed"
        return Said(about="all in all", state="not ok", say=say, do=do)


def run(where: str) -> Tried:
    """Raises BadInput, NotAllowed, NotPossible or Unreachable when it can't be tried."""
    requested = load(where)
    with labs.standing(requested) as platform, locking.locked(platform, "conformance"), _Stop() as stop:
        _check_identity(platform)
        number = f"conformance-{secrets.token_hex(4)}"
        said = [Said(about="before", say=line) for line in _cleared(platform)]
        shown = _tried(platform, number, stop)
    return Tried(
        platform=requested.file.name,
        kind=requested.file.kind,
        holds=all(one.said.state == "ok" for one in shown),
        untrusted=conforming.untrusted(shown),
        said=[*said, *(one.said for one in shown)],
    )


def _check_identity(platform: Platform) -> None:
    speaker = adapter.make(platform, "conformance")
    safety.check_identity(platform, facts.now(speaker.identity(), [], {}))


def _cleared(platform: Platform) -> Iterator[str]:
    """As a run begins: what earlier ones left is repaired first."""
    for healed in client.heal(platform.id, keepers.address(platform)):
        yield str(healed)
    yield from litter.clear(platform)


def _tried(platform: Platform, number: str, stop: "_Stop") -> list[Shown]:
    """Whatever happens, its sessions are stopped at the end."""
    sessions = _Sessions(platform, number)
    trial = Trial(platform, number, sessions.made)
    try:
        asyncio.run(_try(trial, stop))
    except RepriseError as error:
        removal = sessions.remove(trial.unclear)
        if removal.said.state != "ok":
            raise type(error)(f"{error}; {removal.said.say}") from error
        raise
    except BaseException:
        sessions.remove(trial.unclear)
        raise
    return [*conforming.shown(platform, trial.record), sessions.remove(trial.unclear)]


async def _try(trial: Trial, stop: "_Stop") -> None:
    try:
        with stop.ending(asyncio.current_task()):
            await trial.go()
    except asyncio.CancelledError:
        raise RunBroken(f"interrupted by {stop.by}: nothing is known of this platform") from None
    finally:
        await trial.close()


class _Sessions:
    """Those that the trial makes. `made` is called before the first one: from then on a mark says that some may be left."""

    def __init__(self, platform: Platform, number: str) -> None:
        self._platform, self._number = platform, number
        self._mark: pathlib.Path | None = None

    def made(self) -> None:
        self._mark = litter.mark(self._platform, self._number)

    def remove(self, unclear: bool) -> Shown:
        """Stop what is left. The mark goes unless that failed, or a create was not answered: the next run looks again."""
        line = None
        try:
            if self._mark is not None:
                line = litter.stop(self._platform, self._number)
                if not unclear:
                    self._mark.unlink()
        except RepriseError as error:
            do = "see `chaos reprise doctor`: the next run here tries again"
            return Shown(Said(about="removal", state="not ok", say=str(error), do=do), ("residue",))
        return Shown(Said(about="removal", say=line or "no session was left"), ())


class _Stop:
    """Signals that ask this process to end: the first one ends the trying, none the removing. `by` is its name."""

    def __init__(self) -> None:
        self.by = ""
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_Stop":
        for number in SIGNALS if threading.current_thread() is threading.main_thread() else ():
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @contextlib.contextmanager
    def ending(self, task: "asyncio.Task[Any] | None") -> Iterator[None]:
        self._task, self._loop = task, asyncio.get_running_loop()
        if self.by and task is not None:
            task.cancel()
        try:
            yield
        finally:
            self._task = None

    def _caught(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.by = self.by or signal.Signals(number).name
        if self._task is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
