"""The facts that `safety` decides from, found out anew each time: identity, components, other people's sessions.

The warden keeps one Lookout open for a whole run, so that looking costs milliseconds just before an injection. What can't
be found out is said or raised, never guessed.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from chaosreprise.errors import RepriseError, Unreachable
from chaosreprise.faults.safety import PERMISSION, Facts
from chaosreprise.platform import adapter
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform

LOOK_S = 20.0  # a busy machine takes seconds for what takes milliseconds otherwise
SESSIONS = "sessions"


class Lookout:
    """Looks at one platform. `run`: whose sessions are ours."""

    def __init__(self, platform: Platform, run: str) -> None:
        self.platform = platform
        self._adapter = adapter.make(platform, run)

    async def look(self, ons: Iterable[str], broken: Sequence[str] = ()) -> Facts:
        """`ons`: the components on which other people's sessions matter. Raises Unreachable when too much can't be seen."""
        names = list(dict.fromkeys(ons))
        try:
            async with asyncio.timeout(LOOK_S):
                (identity, components), counts = await asyncio.gather(
                    asyncio.to_thread(self._see), asyncio.gather(*(self._foreign(name) for name in names))
                )
        except TimeoutError as error:
            raise Unreachable(
                f"{self.platform.path}: who and what is on the platform could not be seen within {LOOK_S:g} s: nothing is broken unseen"
            ) from error
        return Facts(
            now=datetime.now(UTC),
            identity=identity,
            whole=_whole(components),
            foreign=dict(zip(names, counts, strict=True)),
            broken=list(broken),
            permission=os.environ.get(PERMISSION, ""),
        )

    async def close(self) -> None:
        await self._adapter.close()

    def _see(self) -> tuple[dict[str, str], list[Component]]:
        return self._adapter.identity(), self._adapter.components()

    async def _foreign(self, name: str) -> int | str:
        try:
            return await self._adapter.foreign(name)
        except RepriseError as error:
            return str(error)


async def once(platform: Platform, run: str, ons: Iterable[str]) -> Facts:
    """One look, for a plan."""
    lookout = Lookout(platform, run)
    try:
        return await lookout.look(ons)
    finally:
        await lookout.close()


def _whole(components: Iterable[Component]) -> dict[str, bool]:
    """A session that is hibernated is no component that could be broken."""
    running = [one for one in components if one.group != SESSIONS or one.state == "up"]
    return {one.name: one.state == "up" and one.inc is not None for one in running}
