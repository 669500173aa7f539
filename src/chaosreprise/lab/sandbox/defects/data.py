"""Defects of the data plane: attempts that count anew, routes that stay, or go."""

from chaosreprise.lab.sandbox.agents import AgentClient, new_number
from chaosreprise.lab.sandbox.answers import Refused
from chaosreprise.lab.sandbox.data import Runner
from chaosreprise.lab.sandbox.registry import Registry, Route

ROOM = 4


class NumbersAttempts(AgentClient):
    def next_attempt(self, number: str) -> str:
        del number
        return new_number()


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
