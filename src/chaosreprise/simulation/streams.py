"""The connections that are held to sessions: over the control plane to a process of the session, and broken with either of them."""

import asyncio

from chaosreprise.clock import Clock
from chaosreprise.platform.adapter import Broken


class SimulatedStream:
    def __init__(self, session: str, clock: Clock) -> None:
        self.session = session
        self.path = ["control-plane", f"sessions/{session}"]
        self._clock = clock
        self._broken: asyncio.Future[Broken] = asyncio.get_running_loop().create_future()

    async def broken(self) -> Broken:
        return await asyncio.shield(self._broken)

    async def close(self) -> None:
        """Nobody minds."""

    def cut(self, why: str) -> None:
        if not self._broken.done():
            now = self._clock.now()
            self._broken.set_result(Broken(lo=now, hi=now, why=why))


class Streams:
    """All that are held."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: list[SimulatedStream] = []

    def hold(self, session: str) -> SimulatedStream:
        self._held.append(SimulatedStream(session, self._clock))
        return self._held[-1]

    def cut(self, session: str, why: str) -> None:
        for stream in self._held:
            if stream.session == session:
                stream.cut(why)

    def cut_all(self, why: str) -> None:
        for stream in self._held:
            stream.cut(why)
