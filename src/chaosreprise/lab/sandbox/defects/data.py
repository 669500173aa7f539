"""Defects of the data plane: attempts that count anew, routes that stay, or go."""

from chaosreprise.lab.sandbox.agents import AgentClient, AgentRefused, new_number
from chaosreprise.lab.sandbox.answers import Refused
from chaosreprise.lab.sandbox.data import Runner
from chaosreprise.lab.sandbox.dataplane import Output
from chaosreprise.lab.sandbox.interpreter import Interpreter
from chaosreprise.lab.sandbox.registry import Registry, Route
from chaosreprise.lab.sandbox.settings import Data

ROOM = 4


class NumbersAttempts(AgentClient):
    def next_attempt(self, number: str) -> str:
        del number
        return new_number()


class RegistersAnew(AgentClient):
    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)
        self._folders: dict[str, str] = {}

    async def register(self, route: Route, session: str, folder: str) -> None:
        self._folders[session] = folder
        await super().register(route, session, folder)

    async def step(self, route: Route, session: str, number: str, code: str) -> Output:
        try:
            return await super().step(route, session, number, code)
        except AgentRefused:
            await self.register(route, session, self._folders[session])
            return await super().step(route, session, number, code)


class BeginsAnew(Runner):
    async def step(self, session: str, command: str) -> Output:
        folder = self._settings.workspaces / session
        if self._settings.routes and self._registry.get(session) is None and folder.is_dir():
            self._interpreters[session] = await Interpreter.start("python", folder)
            self._registry.put(session, Route(session, "python", "", "", "bypass"))
        return await super().step(session, command)


class RestoresWorkspaces(Runner):
    """From a copy of each that has its files, as large as they were, and nothing of what stood in them."""

    def __init__(self, settings: Data, registry: Registry, agents: AgentClient) -> None:
        super().__init__(settings, registry, agents)
        for path in settings.workspaces.glob("*/*"):
            if registry.get(path.parent.name) is not None:
                with path.open("rb+") as file:
                    file.write(bytes(path.stat().st_size))


class OnlySaysSo(Runner):
    """Only the idle interpreter is ended."""

    async def terminate(self, session: str) -> None:
        if self._registry.get(session) is None:
            raise Refused(404)
        self._end(session)


class RoomForFour(Registry):
    def put(self, session: str, route: Route) -> None:
        super().put(session, route)
        while len(self._routes) > ROOM:
            self.remove(next(iter(self._routes)))
