"""Use up the database's connections (max_connections): whoever wants a new one is refused with SQLSTATE 53300.

Those that are open go on working, so a platform with a pool notices when that has to grow or to be made anew. The slots
that the server keeps for superusers are taken as well, since a platform may be one. What becomes free meanwhile is taken.
"""

import asyncio
import contextlib
import resource
from typing import Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, RepriseError, Unreachable
from chaosreprise.faults import greeting, on_database, sql
from chaosreprise.faults.base import Context, Target

AT_ONCE = 8
LOOK_EVERY_S = 0.05
GREETED_S = 1.0
SPARE_FILES = 100
THERE = "select count(*) from pg_stat_activity where backend_type = 'client backend'"


class Crowd(on_database.Store, kw_only=True):
    """`slots` is how many sessions the server may have."""

    slots: int


class Pressure:
    """The sessions that use the server up. `control` was there first, and looks for slots that have become free."""

    def __init__(self, crowd: Crowd, name: str, control: "sql.Connection", limits: dict[str, int]) -> None:
        self._crowd, self._name, self._limits = crowd, name, limits
        self._task: asyncio.Task[None] | None = None
        self.control = control
        self.sessions: list[sql.Connection] = []

    async def fill(self) -> None:
        """Take what is free, until the server refuses; from then on too."""
        while all(await asyncio.gather(*(self._one() for _ in range(AT_ONCE)))):
            pass
        self._task = asyncio.create_task(self._keep_full())

    async def end(self) -> bool:
        """Let go; whether the server had ended some of it before."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, RepriseError):
                await self._task
        lost = await sql.count(self.control, self._name) <= len(self.sessions)
        for connection in [*self.sessions, self.control]:
            await sql.close(connection)
        return lost

    async def _one(self) -> bool:
        if len(self.sessions) >= self._crowd.slots:
            return False
        try:
            self.sessions.append(await sql.connect(self._crowd.admin, self._name, **self._limits))
        except Unreachable:
            return False
        return True

    async def _keep_full(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            [[there]] = await sql.rows(self.control, THERE)
            if there < self._crowd.slots:
                await self._one()


class ExhaustConnections(on_database.OnDatabase):
    needs = f"{on_database.NEEDS}, who must be a superuser"
    way_back = "the sessions that use it up are ended"
    proof = f"a new session is refused with {greeting.TOO_MANY}, before it is asked who it is"

    def __init__(self) -> None:
        self._pressures: dict[str, Pressure] = {}

    async def more(self, connection: "sql.Connection", given: Any) -> Target:
        await on_database.check_superuser(connection)
        [[slots]] = await sql.rows(connection, "select current_setting('max_connections')::int")
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if slots > files - SPARE_FILES:
            raise NotPossible(
                f"max_connections = {slots}: this process may open {files} files: raise its limit (ulimit -n)"
            )
        return {"slots": slots}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        crowd, name = msgspec.convert(target, Crowd), sql.name_of(mark)
        limits = crowd.lease(lease_end)
        control = await sql.connect(crowd.admin, name, **limits)
        pressure = self._pressures[mark] = Pressure(crowd, name, control, limits)
        await pressure.fill()

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        crowd, pressure = msgspec.convert(target, Crowd), self._pressures[mark]
        info = pressure.control.info
        refused = await greeting.greet(info.hostaddr or info.host, info.port, GREETED_S)
        [[there]] = await sql.rows(pressure.control, THERE)
        if refused != greeting.TOO_MANY:
            said = f"was refused with {refused}" if refused else "got in" if refused is not None else "was not answered"
            raise NotProven(f"a new session {said}, with {there} of {crowd.slots} on the database")
        return {"taken": len(pressure.sessions) + 1, "slots": crowd.slots, "refused": refused}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        pressure = self._pressures.pop(mark, None)
        lost = pressure is not None and await pressure.end()
        done_by = await super().undo(context, mark, target)
        return on_database.BY_SERVER if lost else done_by


FAULT = ExhaustConnections()
