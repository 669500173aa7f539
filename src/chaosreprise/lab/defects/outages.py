"""Defects in what is said of sessions while the store is away, or just after: caches and queues that answer in its place."""

import errno
import os
import time

from chaosreprise.lab.database import Database, Row, StoreAway
from chaosreprise.lab.refusals import session_not_found
from chaosreprise.lab.store import Change, Command, Store

REFUSED = os.strerror(errno.ECONNREFUSED)
REMEMBERED_S = 1.5
COLD_S = 1.0  # of the life of a process


class NotThereWhenAway(Store):
    """A session that can't be looked up is taken for one that is not there."""

    async def session(self, name: str) -> Row:
        try:
            return await super().session(name)
        except StoreAway as away:
            raise session_not_found(name) from away


class NotThereWhenRefused(Store):
    """A session is taken for one that is not there when nobody listens for the database; one that lets go counts as away."""

    async def session(self, name: str) -> Row:
        try:
            return await super().session(name)
        except StoreAway as away:
            if REFUSED not in str(away):
                raise
            raise session_not_found(name) from away


class ListsTheCached(Store):
    """Without the store a list is made of the sessions that somebody has asked for one by one."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        super().__init__(database, fresh_s, here)
        self._cached: dict[str, Row] = {}

    async def session(self, name: str) -> Row:
        self._cached[name] = await super().session(name)
        return self._cached[name]

    async def sessions(self, user: str | None) -> list[Row]:
        try:
            return await super().sessions(user)
        except StoreAway:
            return [row for row in self._cached.values() if user in (None, row["user_id"])]


class QueuesInMemory(Store):
    """What the store refuses is accepted into a queue of this process, which nobody works off."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        super().__init__(database, fresh_s, here)
        self._queue: list[Command] = []

    async def change(self, name: str, change: Change) -> Command:
        try:
            return await super().change(name, change)
        except StoreAway as away:
            if away.__cause__ is None:  # it did not answer in time: then it may have been done
                raise
            self._queue.append(Command(self.command_id({}), "", name, change.action, {}))
            return self._queue[-1]


class AssumesDone(Store):
    """What the store has not answered in time was given to it, and is taken for done."""

    async def change(self, name: str, change: Change) -> Command:
        try:
            return await super().change(name, change)
        except StoreAway as away:
            if away.__cause__ is not None:
                raise
            return Command(self.command_id({}), "", name, change.action, {})


class ColdCache(Store):
    """Sessions are looked up in a cache that is not full yet when its process has just begun."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        super().__init__(database, fresh_s, here)
        self._full = time.monotonic() + COLD_S

    async def session(self, name: str) -> Row:
        if time.monotonic() < self._full:
            raise session_not_found(name)
        return await super().session(name)


class RemembersAnswers(Store):
    """What was found of a session is good for a while, and nothing that happens to it changes that."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        super().__init__(database, fresh_s, here)
        self._found: dict[str, tuple[float, Row]] = {}

    async def session(self, name: str) -> Row:
        since, found = self._found.get(name, (-REMEMBERED_S, {}))
        if time.monotonic() - since > REMEMBERED_S:
            found = await super().session(name)
            self._found[name] = time.monotonic(), found
        return found


class AwayIsFailed(Store):
    """A session is shown as what can be had of it now, and of an agent that is away nothing can."""

    async def session(self, name: str) -> Row:
        row = await super().session(name)
        there = await self._database.one(
            "select 1 as there from agents where agent_id = %s and status = 'online'", (row["agent_id"],)
        )
        return row if there else {**row, "state": "failed"}


class ListsWhatIsOnline(Store):
    """A list joins the sessions with the agents that are online, and leaves out those of the others."""

    async def sessions(self, user: str | None) -> list[Row]:
        online = await self._database.all("select agent_id from agents where status = 'online'", ())
        agents = [row["agent_id"] for row in online]
        return [row for row in await super().sessions(user) if row["agent_id"] in agents]
