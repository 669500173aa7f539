"""The hold of a fault on one component or slot: who may end it, and what is mended when it ends.

It ends by `release`, by its lease, or with all its owners. Holding breaks nothing: that is the warden's business.
"""

import asyncio
from collections.abc import Callable

from chaosreprise.clock import boottime
from chaosreprise.procs import Incarnation, is_alive
from chaosreprise.stack import mends, protocol, untoxic


class Holder:
    """At most one hold on `name`. `runs`: whether this incarnation is one of its processes; `freed` is called at the end."""

    def __init__(self, name: str, runs: Callable[[Incarnation], bool], freed: Callable[[], None]) -> None:
        self.name, self._runs, self._freed = name, runs, freed
        self._hold: protocol.Hold | None = None
        self.last: protocol.LastHold | None = None
        self._mending: set[asyncio.Task[None]] = set()

    @property
    def fault(self) -> str | None:
        return None if self._hold is None else self._hold.fault

    @property
    def keeps_down(self) -> bool:
        return self._hold is not None and self._hold.down

    @property
    def env(self) -> dict[str, str]:
        """What is added to the environment of what is started now."""
        return {} if self._hold is None else self._hold.env

    @property
    def left(self) -> list[str]:
        """The files that it leaves behind."""
        return [] if self._hold is None else self._hold.left

    def hold(self, request: protocol.Hold) -> str | None:
        """Why not, or None. The same fault may say it again, with other mends."""
        if self._hold is not None and self._hold.fault != request.fault:
            return f"{self.name} is held by {self._hold.fault} already"
        if self._hold is None and not self._runs(request.inc):
            return f"{self.name} is not {list(request.inc)} any more"
        self._hold = request
        return None

    def release(self, fault: str) -> None:
        if self._hold is not None and self._hold.fault == fault:
            self._free("release")

    def check(self) -> None:
        if self._hold is None:
            return
        if boottime() >= self._hold.lease_end:
            self._free("lease")
        elif not any(map(is_alive, self._hold.owners)):
            self._free("owners")

    def _free(self, by: protocol.HoldEnd) -> None:
        assert self._hold is not None
        hold, self._hold = self._hold, None
        self.last = protocol.LastHold(hold.fault, by)
        for mend in hold.mends:
            if not isinstance(mend, mends.Toxics):
                mends.apply(mend)
            elif by != "release":  # who releases a link has removed them; later, they might be another fault's
                task = asyncio.create_task(untoxic.remove(mend))
                self._mending.add(task)
                task.add_done_callback(self._mending.discard)
        self._freed()
