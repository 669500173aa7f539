"""Defects of the control plane: rows that are missed by nobody, ids that are shared, doors that stand open."""

import asyncio

from aiohttp import web

from chaosreprise.lab.sandbox import ids
from chaosreprise.lab.sandbox.answers import log
from chaosreprise.lab.sandbox.control import Api, Sessions
from chaosreprise.lab.sandbox.dataplane import DataPlane
from chaosreprise.lab.sandbox.guard import Guard
from chaosreprise.lab.sandbox.rows import Rows, StoreRefused
from chaosreprise.lab.sandbox.tokens import Owner

PATIENCE_S = 1.0


class NoStepRows(Rows):
    async def add_step(self, step: str, session: str, command: str) -> None:
        try:
            await super().add_step(step, session, command)
        except StoreRefused as error:
            log(f"sessions: step not stored: {error}")


class TakesSilenceForYes(Rows):
    async def add_step(self, step: str, session: str, command: str) -> None:
        try:
            await asyncio.wait_for(super().add_step(step, session, command), PATIENCE_S)
        except TimeoutError:
            log("sessions: the database is slow, and will have stored the step")


class NoSessionRows(Rows):
    async def add_session(self, session: str, runtime_id: str) -> None:
        try:
            await super().add_session(session, runtime_id)
        except StoreRefused as error:
            log(f"sessions: session not stored: {error}")


class SharesIds(Sessions):
    """Who finds a session of this second takes it for the one that was asked for."""

    def __init__(self, data_plane: DataPlane, kept: Rows) -> None:
        super().__init__(data_plane, kept)
        self._made: dict[str, asyncio.Task[str]] = {}

    async def create(self, policy: str, runtime: str, owner: Owner | None) -> str:
        second = ids.session()
        if second not in self._made:
            self._made[second] = asyncio.create_task(super().create(policy, runtime, owner))
        return await asyncio.shield(self._made[second])


class RunsAgain(Api):
    async def step(self, request: web.Request) -> web.Response:
        answer = await super().step(request)
        return answer if request.transport is not None else await super().step(request)


class AnyOwner(Sessions):
    def _check(self, session: str, owner: Owner) -> None:
        pass


class ReadsNoSignature(Guard):
    def caller(self, header: str | None) -> Owner | None:
        return None if header else super().caller(header)


class LetsEverybodyIn(Guard):
    def caller(self, header: str | None) -> Owner | None:
        del header
        return None
