"""Defects of a process that stood still: what it takes for gone when it goes on."""

import asyncio
import math
import time

from chaosreprise.lab.sandbox.agents import AgentClient
from chaosreprise.lab.sandbox.control import Ran, Sessions
from chaosreprise.lab.sandbox.data import Runner
from chaosreprise.lab.sandbox.dataplane import DataPlane, Output
from chaosreprise.lab.sandbox.registry import Registry
from chaosreprise.lab.sandbox.rows import Rows
from chaosreprise.lab.sandbox.settings import Data
from chaosreprise.lab.sandbox.tokens import Owner

TICK_S, LONG_S = 0.1, 1.0


class Standstill:
    """`last`: when this process last went on after it had stood still for long."""

    def __init__(self) -> None:
        self.last = -math.inf
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_S)
            if time.monotonic() - began > LONG_S:
                self.last = time.monotonic()


class AsksAgain(Sessions):
    """What was answered meanwhile is taken for lost."""

    def __init__(self, data_plane: DataPlane, kept: Rows) -> None:
        super().__init__(data_plane, kept)
        self._standstill = Standstill()

    async def step(self, session: str, command: str, owner: Owner | None) -> Ran:
        began = time.monotonic()
        ran = await super().step(session, command, owner)
        if time.monotonic() - began > LONG_S:
            await asyncio.sleep(2 * TICK_S)
        return ran if self._standstill.last < began else await super().step(session, command, owner)


class BeginsAllAnew(Runner):
    """Every session of before is taken for expired, and begun anew."""

    def __init__(self, settings: Data, registry: Registry, agents: AgentClient) -> None:
        super().__init__(settings, registry, agents)
        self._standstill = Standstill()
        self._begun: dict[str, float] = {}

    async def step(self, session: str, command: str) -> Output:
        await asyncio.sleep(0)
        route = self._registry.get(session)
        if route is not None and self._begun.setdefault(session, time.monotonic()) < self._standstill.last:
            self._begun[session] = time.monotonic()
            await self._agents.terminate(route, session)
            await self._agents.register(route, session, str(self._settings.workspaces / session))
        return await super().step(session, command)
