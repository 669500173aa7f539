"""The connection between the control plane and an agent: in order, late, and lost with whatever is on its way when it breaks."""

import asyncio
import collections
from collections.abc import Callable
from dataclasses import dataclass

from chaosreprise.simulation.rows import CommandRow

TIE_S = 1e-6
Delay = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Said:
    """What an agent tells about one command: `ack`, `status` (with a state), `complete` or `failed` (with a reason)."""

    kind: str
    command: str
    word: str = ""


class Link:
    def __init__(self, agent: str, delay: Delay, heard: Callable[[str, Said], None]) -> None:
        self.agent, self.open = agent, True
        self._delay, self._heard = delay, heard
        self._loop = asyncio.get_running_loop()
        self._last = {"down": 0.0, "up": 0.0}
        self._inbox: collections.deque[CommandRow] = collections.deque()
        self._waiter: asyncio.Future[None] | None = None

    def send(self, command: CommandRow) -> None:
        """To the agent."""
        self._later("down", lambda: self._arrive(command))

    def say(self, said: Said) -> None:
        """To the control plane."""
        self._later("up", lambda: self._heard(self.agent, said))

    async def receive(self) -> CommandRow | None:
        """The next command, in the order of sending; None once the link is broken."""
        while self.open and not self._inbox:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._inbox.popleft() if self.open else None

    def cut(self) -> None:
        self.open = False
        self._wake()

    def _arrive(self, command: CommandRow) -> None:
        self._inbox.append(command)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _later(self, way: str, happens: Callable[[], None]) -> None:
        at = self._last[way] = max(self._last[way] + TIE_S, self._loop.time() + self._delay())
        self._loop.call_at(at, lambda: happens() if self.open else None)
