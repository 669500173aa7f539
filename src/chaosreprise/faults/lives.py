"""The faults of one run, each led through its states; used by the warden, and by whoever repairs what a warden left.

    planned -> armed (on disk) -> injected -> proven -> undoing -> undone {by} -> clean | moot | leaked

What can't be written is not injected; what was injected is undone whether or not that can be written.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import NotAllowed, NotPossible, NotProven, RepriseError, RunBroken, complain
from chaosreprise.faults import ledger, registry
from chaosreprise.faults.base import Context
from chaosreprise.faults.ledger import Record
from chaosreprise.history.events import Fault, State
from chaosreprise.moments import Waiting
from chaosreprise.stack.client import StackEnded

SPARE_S = 10.0
ACTIVE: tuple[State, ...] = ("armed", "injected", "proven", "undoing", "undone", "leaked")
BACK_ALREADY: tuple[State, ...] = ("clean", "moot", "planned")
Tell = Callable[[Fault], None]


class Busy(NotAllowed):
    """Another fault is on this component."""

    code = "busy"


class Lives:
    """All faults of a run by their name. `tell` writes the history; it may raise RunBroken, which never stops an undo."""

    def __init__(self, run: str, platform: str, context: Context, tell: Tell) -> None:
        self._run = run
        self._platform = platform
        self._context = context
        self._tell = tell
        self._records: dict[str, Record] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._untold: str | None = None

    def adopt(self, records: Iterable[Record]) -> None:
        """Faults that somebody else made, from the ledger."""
        self._records.update({record.fault: record for record in records})

    def get(self, fault: str) -> Record:
        if fault not in self._records:
            raise NotPossible(f"no fault {fault!r} in this run: it has {', '.join(self._records) or 'none'}")
        return self._records[fault]

    def all(self) -> list[Record]:
        return list(self._records.values())

    async def plan(self, fault: str, kind: str, on: str, args: dict[str, Any]) -> Record:
        """What would be done, on record. Changes nothing."""
        async with self._lock(fault):
            return await self._plan(fault, kind, on, args)

    async def inject(
        self, fault: str, kind: str, on: str, hold_ns: int, args: dict[str, Any], waiting: Waiting | None = None
    ) -> Record:
        """Break it, once armed at its moment; returns when that is proven. If not, it has been undone when this raises.

        `hold_ns` is all the time that it may take: until its moment comes, and until its undo begins.
        """
        async with self._lock(fault):
            record = await self._plan(fault, kind, on, args, later=waiting is not None)
            if record.state == "proven":
                return record
            what = registry.get(kind)
            if waiting is not None:
                await waiting.open()
            undo_s = record.target.get("undo_s", what.undo_s)  # pods take longer than processes
            lease_end = boottime() + hold_ns + int((undo_s + SPARE_S) * SECOND)
            record = self._reach(record, "armed", lease_end=lease_end, moment=waiting and waiting.stated)
            try:
                if waiting is not None:
                    record = await self._wait(record, waiting)
                lo = time.monotonic_ns()
                await what.inject(self._context, record.mark, record.target, lease_end)
                record = self._reach(record, "injected", lo=lo)
                seen = await what.prove(self._context, record.mark, record.target)
                return self._reach(record, "proven", lo=lo, proof=seen)
            except Exception as error:  # whatever it was, what may have been broken is mended first
                undone = await self._undo(fault, "warden")
                known = error if isinstance(error, RepriseError) else RunBroken(f"{kind} on {on} crashed: {error!r}")
                raise type(known)(f"{known}; it has been undone ({undone.state})") from error

    async def _wait(self, record: Record, waiting: Waiting) -> Record:
        """The record with how its moment came. What does not come is kept with it, and nothing is broken."""
        try:
            came = await waiting.come(record.hi)
            if boottime() >= record.lease_end:
                raise NotProven("its lease ended while it waited for its moment")
        except RepriseError as error:
            missed = msgspec.structs.replace(waiting.stated, why=str(error))
            self._records[record.fault] = msgspec.structs.replace(record, moment=missed)
            raise
        return msgspec.structs.replace(record, moment=came)

    async def undo(self, fault: str, by: str) -> Record:
        """Make it whole, and see that it is. Does nothing for a fault that is over, or was planned only."""
        async with self._lock(fault):
            return await self._undo(fault, by)

    async def undo_all(self, by: str) -> list[Record]:
        """Undo everything that is not over, side by side; what has leaked was tried, and waits for a request or for `heal`."""
        open_faults = [record.fault for record in self.all() if record.state in ACTIVE and record.state != "leaked"]
        return await asyncio.gather(*(self.undo(fault, by) for fault in open_faults))

    def expired(self) -> list[str]:
        """The faults whose lease has ended and that are still on."""
        now = boottime()
        return [r.fault for r in self.all() if r.state in ("armed", "injected", "proven") and now >= r.lease_end]

    async def _plan(self, fault: str, kind: str, on: str, args: dict[str, Any], later: bool = False) -> Record:
        known = self._records.get(fault)
        if known is not None and ((known.kind, known.on) != (kind, on) or known.state not in ("planned", "proven")):
            raise NotAllowed(
                f"fault {fault!r} is {known.kind} on {known.on}, {known.state}: give another fault another name"
            )
        if known is not None and known.state == "proven":
            return known
        self._check_free(fault, on)
        now = time.monotonic_ns()
        target = await registry.get(kind).plan(self._context._replace(later=later), on, args)
        if known is not None and known.target.get("inc") != target.get("inc"):
            raise NotPossible(
                f"{on} is another process than the one that fault {fault!r} was planned for: plan it again under another name"
            )
        record = Record(
            platform=self._platform,
            run=self._run,
            fault=fault,
            kind=kind,
            on=on,
            state="planned",
            lo=now,
            hi=time.monotonic_ns(),
            target=target,
            keeper=self._context.keeper,
        )
        return record if known is not None else self._reach(record, "planned", lo=now)

    def _check_free(self, fault: str, on: str) -> None:
        if self._untold is not None:
            raise NotAllowed(f"nothing is injected any more, since the history can't be written: {self._untold}")
        for other in self.all():
            if other.on == on and other.state in ACTIVE and other.fault != fault:
                raise Busy(f"{on} is under fault {other.fault} ({other.kind}, {other.state}) already: undo that first")

    async def _undo(self, fault: str, by: str) -> Record:
        record = self.get(fault)
        if record.state in BACK_ALREADY:
            return record
        context = self._context._replace(keeper=record.keeper)
        lo = time.monotonic_ns()
        record = self._reach(record, "undoing", needed=False, by=by)
        try:
            what = registry.get(record.kind)
            done_by = await what.undo(context, record.mark, record.target)
            record = self._reach(record, "undone", needed=False, lo=lo, by=done_by or by)
            await what.verify(context, record.mark, record.target)
        except StackEnded as error:
            return self._reach(record, "moot", needed=False, say=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, it is on record as not whole
            say = str(error) if isinstance(error, RepriseError) else f"undoing it crashed: {error!r}"
            return self._reach(record, "leaked", needed=False, say=say)
        return self._reach(record, "clean", needed=False)

    def _reach(
        self, record: Record, state: State, *, needed: bool = True, lo: int | None = None, **changes: Any
    ) -> Record:
        """Put a state on record. `needed`: not being able to is a reason not to go on."""
        now = time.monotonic_ns()
        record = msgspec.structs.replace(
            record, **{"state": state, "lo": now if lo is None else lo, "hi": now} | changes
        )
        try:
            ledger.append(record)
        except RepriseError as error:
            if needed:
                raise
            complain(error)
        self._records[record.fault] = record
        self._say(record)
        return record

    def _say(self, record: Record) -> None:
        inc = None if record.inc is None else list(record.inc)
        event = Fault(
            lo=record.lo,
            hi=record.hi,
            fault=record.fault,
            kind=record.kind,
            component=record.on,
            state=record.state,
            inc=inc,
            by=record.by,
            lease_end=record.lease_end or None,
            proof=record.proof,
            moment=record.moment if _tells_moment(record) else None,
        )
        try:
            self._tell(event)
        except RunBroken as error:
            self._untold = str(error)
            complain(error)

    def _lock(self, fault: str) -> asyncio.Lock:
        return self._locks.setdefault(fault, asyncio.Lock())


def _tells_moment(record: Record) -> bool:
    """Since when it counts, how it came; or, once there is no more hope, why it did not."""
    never = record.moment is not None and record.moment.came is None
    return record.state in ("armed", "injected") or (record.state == "undoing" and never)
