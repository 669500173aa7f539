"""What stands before each injection in the warden: fresh facts, the decision of `safety`, and the guard's first look.

One injection is let in at a time, so that two cannot both be the last one that a limit allows. Opened after the warden
listens, since an adapter takes a while to import and a run has other things to do meanwhile.
"""

import asyncio
import contextlib
import importlib
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from chaosreprise.clock import SECOND
from chaosreprise.errors import NotAllowed
from chaosreprise.faults import registry
from chaosreprise.faults.lives import ACTIVE, Lives
from chaosreprise.history import Coverage, Fault, Observe
from chaosreprise.history.events import AWAY, STORE

if TYPE_CHECKING:
    from chaosreprise.faults.facts import Lookout
    from chaosreprise.faults.guard import Watch

AGAIN_S = 1.0
OBSERVE_ONLY = "this run only observes (REPRISE_OBSERVE): nothing is broken in it"


class Gate:
    """The safety of one run. Without a platform file (`platform` is None) there is nothing to keep to: for tests of faults."""

    def __init__(
        self,
        platform: str | None,
        run: str,
        history: pathlib.Path,
        tell: Callable[[Observe | Coverage], None],
        observe: bool,
    ) -> None:
        self._file, self._run, self._history, self._tell, self._observe = platform, run, history, tell, observe
        self._opened, self._looked = asyncio.Event(), asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._begun: dict[str, str] = {}
        self._early: list[Fault] = []
        self._lookout: Lookout | None = None
        self._watch: Watch | None = None

    def fault(self, event: Fault) -> None:
        """A state that a fault of this run has reached: errors on what is broken are what was asked for."""
        if self._watch is not None:
            self._watch.fault(event)
        else:
            self._early.append(event)

    async def until_suffering(self) -> str:
        """Open, then look each second; returns what was seen when the run must halt."""
        if self._file is None:
            await asyncio.Event().wait()  # for ever
            raise AssertionError
        for name in ("facts", "guard"):
            await asyncio.to_thread(importlib.import_module, f"chaosreprise.faults.{name}")
        from chaosreprise.faults.facts import Lookout  # noqa: PLC0415
        from chaosreprise.faults.guard import Watch  # noqa: PLC0415
        from chaosreprise.platform.file import load  # noqa: PLC0415

        platform = load(self._file)
        self._lookout = Lookout(platform, self._run)
        self._watch = Watch(platform.file.guard, self._history, self._tell)
        for event in self._early:
            self._watch.fault(event)
        self._opened.set()
        return await self._watch.until_suffering(self._looked)

    @contextlib.asynccontextmanager
    async def admitted(
        self, fault: str, kind: str, on: str, hold_ns: int, lives: Lives, waits_ns: int = 0
    ) -> AsyncIterator[None]:
        """The fault may begin, now or when it has waited. Raises NotAllowed when it may not, and Unreachable when that can't be told."""
        if self._observe:
            raise NotAllowed(OBSERVE_ONLY)
        async with self._one_at_a_time:
            if self._file is not None:
                await self._check(fault, kind, on, hold_ns + waits_ns, lives)
            self._begun[fault] = on
        try:
            yield
        finally:
            del self._begun[fault]

    async def until_refused(self, fault: str, kind: str, on: str, hold_ns: int, lives: Lives) -> None:
        """For one that was let in and waits: look again each second, and raise when it may not begin any more."""
        while True:
            await asyncio.sleep(AGAIN_S)
            if self._file is not None:
                async with self._one_at_a_time:
                    await self._check(fault, kind, on, hold_ns, lives)

    async def close(self) -> None:
        if self._lookout is not None:
            await self._lookout.close()
        if self._watch is not None:
            await self._watch.close()

    async def _check(self, fault: str, kind: str, on: str, hold_ns: int, lives: Lives) -> None:
        from chaosreprise.faults.safety import Intent, check  # noqa: PLC0415

        await self._opened.wait()
        await self._looked.wait()
        assert self._lookout is not None
        others = {record.fault: record.on for record in lives.all() if record.state in ACTIVE} | self._begun
        others.pop(fault, None)
        away = any(record.state == "proven" and _takes_store_away(record.kind) for record in lives.all())
        facts = await self._lookout.look([on], list(others.values()), store_away=away)
        seconds = hold_ns / SECOND + registry.get(kind).undo_s
        check(self._lookout.platform, [Intent(kind, on, seconds)], facts)


def _takes_store_away(kind: str) -> bool:
    group, _, verb = kind.partition(".")
    return group == STORE and verb in AWAY
