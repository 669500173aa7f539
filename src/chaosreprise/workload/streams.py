"""The connections that the load holds open to sessions, each told to the history: opened, broken, closed by us; or refused."""

import asyncio
import collections
from collections.abc import Iterable

from chaosreprise.clock import SECOND, Clock
from chaosreprise.history import Recording, Stream
from chaosreprise.platform.adapter import Adapter, Held

PATIENCE_S = 10.0  # for a session that has just begun to run
AGAIN_S = 0.05


class Streams:
    """A session has one at most. `spoken`: whether any has opened in this run."""

    def __init__(self, adapter: Adapter, writer: Recording, clock: Clock) -> None:
        self._adapter, self._writer, self._clock = adapter, writer, clock
        self._held: dict[str, tuple[str, Held, asyncio.Task[None]]] = {}
        self._count = collections.Counter[str]()
        self.spoken = False

    async def hold(self, sessions: Iterable[str]) -> None:
        """One of each session; none where the platform has no such thing, or does not open it."""
        for session in sessions:
            await self._open(session)

    async def begin(self, session: str, cmd: str) -> None:
        """That of a session that runs since this command, asked for until it opens, or patience is over. A platform of which none
        has opened yet may have no such thing, and is not asked."""
        if not self.spoken:
            return
        until = self._clock.now() + PATIENCE_S * SECOND
        while not await self._open(session, cmd):
            if (now := self._clock.now()) >= until:
                self._writer.write(
                    Stream(lo=now, hi=now, stream=self._name(session), state="refused", session=session, cmd=cmd)
                )
                return
            await self._clock.sleep(AGAIN_S)

    async def let_go(self, session: str) -> None:
        """Close that of this session, if there is one that has not broken."""
        if session not in self._held:
            return
        name, held, watching = self._held.pop(session)
        if watching.done():
            return
        watching.cancel()
        now = self._clock.now()
        self._writer.write(Stream(lo=now, hi=now, stream=name, state="closed", session=session))
        await held.close()

    async def release(self) -> None:
        """Close those that have not broken."""
        for session in [*self._held]:
            await self.let_go(session)

    async def _open(self, session: str, cmd: str | None = None) -> bool:
        held = await self._adapter.hold(session)
        if held is None:
            return False
        self.spoken = True
        now, name = self._clock.now(), self._name(session)
        self._writer.write(Stream(lo=now, hi=now, stream=name, state="open", session=session, path=held.path, cmd=cmd))
        self._held[session] = name, held, asyncio.create_task(self._watch(name, session, held))
        return True

    async def _watch(self, name: str, session: str, held: Held) -> None:
        broken = await held.broken()
        self._writer.write(
            Stream(lo=broken.lo, hi=broken.hi, stream=name, state="broke", session=session, why=broken.why)
        )

    def _name(self, session: str) -> str:
        """Each is used once in a history."""
        self._count[session] += 1
        number = self._count[session]
        return f"stream-{session}" + (f"-{number}" if number > 1 else "")
