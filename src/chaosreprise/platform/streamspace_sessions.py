"""Whose sessions there are on a StreamSpace: ours, to stop what a run left, and other people's, to count whom a fault would hit.

Counting looks into the rows where a database is given, since only they name a session's agent. Over HTTP any session may
be on the agent in question, so all of them count. What can't be counted in full is not counted at all.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx

from chaosreprise.errors import NotPossible, Unreachable
from chaosreprise.platform.calls import retry_s
from chaosreprise.platform.file import Platform
from chaosreprise.platform.links import OF_AGENTS
from chaosreprise.platform.streamspace_login import login
from chaosreprise.platform.streamspace_marks import Marks

if TYPE_CHECKING:
    import psycopg

ENDED = ("terminated", "failed")
CONNECT_S = 10
TIDY_S = 10.0  # beyond the time within which they have surely stopped
TIDY_EVERY_S = 0.1
ADMIN = "admin"
AGENTS, SESSIONS = "agents/", "sessions/"
COUNT = """
    select count(*) from sessions s left join agents a on s.agent_id::text in (a.id::text, a.agent_id)
    where not coalesce(%(tag)s = any(s.tags), false) and not coalesce(s.state, '') = any(%(ended)s)
    and (%(session)s::text is null or s.id = %(session)s)
    and (%(agent)s::text is null or a.agent_id is null or a.agent_id = %(agent)s)"""


class Sessions:
    """The sessions with our marks, and the others. `http` may be logged in or not."""

    def __init__(self, http: httpx.AsyncClient, platform: Platform, marks: Marks) -> None:
        self._http, self._platform, self._marks = http, platform, marks
        self._rows: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._logged_in = False
        self._connecting = asyncio.Lock()

    async def tidy(self) -> list[str]:
        """Stop every session with our tag; returns their names once they have stopped."""
        await login(self._http, self._platform)
        try:
            left = await self._ours({"terminating", *ENDED})
            for name in left:
                answer = await self._http.delete(f"/api/v1/sessions/{name}")
                while (wait_s := retry_s(answer)) is not None:
                    await asyncio.sleep(wait_s)
                    answer = await self._http.delete(f"/api/v1/sessions/{name}")
            await self._until_gone()
        except (httpx.TransportError, ValueError, KeyError, TypeError) as error:
            raise Unreachable(
                f"{self._http.base_url}: sessions of this run may be left (tag {self._marks.tag}): {error!r}"
            ) from error
        return left

    async def foreign(self, component: str) -> int:
        """Sessions without our tag that have not ended and may be on this component. Raises what keeps them from being counted."""
        for evidence in self._platform.file.evidence.values():
            if evidence.kind == "sql" and evidence.dsn is not None:
                return await self._count_rows(evidence.dsn.read(self._platform.folder), component)
        return await self._count_listed(component)

    async def close(self) -> None:
        if self._rows is not None:
            await self._rows.close()
            self._rows = None

    async def _count_rows(self, dsn: str, component: str) -> int:
        import psycopg  # noqa: PLC0415 - 0.15 s, which the load would pay for nothing

        from chaosreprise.platform.streamspace_rows import STATEMENT_TIMEOUT_MS  # noqa: PLC0415

        asked = {
            "tag": self._marks.tag,
            "ended": list(ENDED),
            "agent": component.rpartition("/")[2] if component.startswith((AGENTS, OF_AGENTS)) else None,
            "session": component.removeprefix(SESSIONS) if component.startswith(SESSIONS) else None,
        }
        kept = self._rows is not None
        try:
            async with self._connecting:  # several components are asked about at once
                if self._rows is None:
                    options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c default_transaction_read_only=on"
                    self._rows = await psycopg.AsyncConnection.connect(
                        dsn, autocommit=True, connect_timeout=CONNECT_S, options=options
                    )
                rows = self._rows
            found = await (await rows.execute(COUNT, asked)).fetchone()
        except psycopg.Error as error:
            await self.close()
            if kept:  # the database may have been restarted since the last time
                return await self._count_rows(dsn, component)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise Unreachable(f"the platform's database can't be read: {reason}") from error
        assert found is not None
        return int(found[0])

    async def _count_listed(self, component: str) -> int:
        if not self._logged_in and (role := await login(self._http, self._platform)) != ADMIN:
            raise NotPossible(
                f"the role {role!r} may not see the sessions of all users: log in as one that may, or give a database"
            )
        self._logged_in = True
        try:
            answer = await self._http.get("/api/v1/sessions")
            said = answer.json()
            listed = said["sessions"] or []  # null, where there is none
            if answer.status_code != 200 or len(listed) != said["total"]:
                raise ValueError(f"status {answer.status_code}, or a list that is not whole")
            others = [one for one in listed if not self._marks.on(one)]
            name = component.removeprefix(SESSIONS) if component.startswith(SESSIONS) else None
            return sum(one["state"] not in ENDED and name in (None, one["name"]) for one in others)
        except (httpx.TransportError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._logged_in = False
            raise Unreachable(f"the control plane does not list its sessions: {error!r}") from error

    async def _ours(self, but: set[str]) -> list[str]:
        """Out of the whole list; where it comes in parts, out of that of each user of ours."""
        sessions, whole = await self._listed({})
        if not whole:
            parts = [await self._listed({"user": user}) for user in self._platform.file.budget.users]
            if not all(whole for _, whole in parts):
                raise ValueError("a list of sessions that is not whole, even for one user")
            sessions = [one for part, _ in parts for one in part]
        return [one["name"] for one in sessions if self._marks.on(one) and one["state"] not in but]

    async def _listed(self, whose: dict[str, str]) -> tuple[list[dict[str, Any]], bool]:
        """What a list shows, and whether that is all."""
        answer = await self._http.get("/api/v1/sessions", params=whose)
        while (wait_s := retry_s(answer)) is not None:
            await asyncio.sleep(wait_s)
            answer = await self._http.get("/api/v1/sessions", params=whose)
        said = answer.json()
        listed = said["sessions"] or []  # null, where there is none
        return listed, len(listed) == said.get("total", len(listed))

    async def _until_gone(self) -> None:
        left = await self._ours(set(ENDED))
        timing = self._platform.file.timing
        patience_s = TIDY_S + (timing.settle.seconds(len(left)) if timing is not None else 0.0)
        until = time.monotonic() + patience_s
        while left and time.monotonic() < until:
            await asyncio.sleep(TIDY_EVERY_S)
            left = await self._ours(set(ENDED))
        if left:
            raise Unreachable(
                f"{self._http.base_url}: {len(left)} sessions with the tag {self._marks.tag} were told to stop and have not within {patience_s:g} s"
            )
