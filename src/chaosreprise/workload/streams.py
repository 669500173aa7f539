"""The connections that the load holds open to sessions, each told to the history: opened, broken, closed by us."""

import asyncio
from collections.abc import Iterable

from chaosreprise.clock import Clock
from chaosreprise.history import Recording, Stream
from chaosreprise.platform.adapter import Adapter, Held


class Streams:
    def __init__(self, adapter: Adapter, writer: Recording, clock: Clock) -> None:
        self._adapter, self._writer, self._clock = adapter, writer, clock
        self._held: dict[str, tuple[Held, asyncio.Task[None]]] = {}

    async def hold(self, sessions: Iterable[str]) -> None:
        """One of each session; none where the platform has no such thing, or does not open it."""
        for session in sessions:
            held = await self._adapter.hold(session)
            if held is None:
                continue
            now = self._clock.now()
            self._writer.write(
                Stream(lo=now, hi=now, stream=_name(session), state="open", session=session, path=held.path)
            )
            self._held[session] = held, asyncio.create_task(self._watch(session, held))

    async def release(self) -> None:
        """Close those that have not broken."""
        for session, (held, watching) in self._held.items():
            if watching.done():
                continue
            watching.cancel()
            now = self._clock.now()
            self._writer.write(Stream(lo=now, hi=now, stream=_name(session), state="closed", session=session))
            await held.close()
        self._held = {}

    async def _watch(self, session: str, held: Held) -> None:
        broken = await held.broken()
        self._writer.write(
            Stream(lo=broken.lo, hi=broken.hi, stream=_name(session), state="broke", session=session, why=broken.why)
        )


def _name(session: str) -> str:
    return f"stream-{session}"
