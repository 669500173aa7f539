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
from chaosreprise.history.events import STORE, STORE_LINK
from chaosreprise.platform import adapter
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform

LOOK_S = 20.0  # a busy machine takes seconds for what takes milliseconds otherwise
SESSIONS, LINKS = "sessions", "links"


class Lookout:
    """Looks at one platform. `run`: whose sessions are ours."""

    def __init__(self, platform: Platform, run: str) -> None:
        self.platform = platform
        self._adapter = adapter.make(platform, run)
        self._counted: dict[str, int] = {}

    async def look(self, ons: Iterable[str], broken: Sequence[str] = (), *, store_away: bool = False) -> Facts:
        """`ons`: the components on which other people's sessions matter. Raises Unreachable when too much can't be seen.

        `store_away`: this run has taken the platform's store away. Then nobody can count, and nobody can make a session either:
        what was counted just before that still holds.
        """
        names = list(dict.fromkeys(ons))
        try:
            async with asyncio.timeout(LOOK_S):
                identity, components = await asyncio.to_thread(self._see)
                if store_away:
                    counts = [
                        self._counted.get(name, "they were not counted before its store went away") for name in names
                    ]
                else:
                    counts = await self._count(names, components)
        except TimeoutError as error:
            raise Unreachable(
                f"{self.platform.path}: who and what is on the platform could not be seen within {LOOK_S:g} s: nothing is broken unseen"
            ) from error
        return now(identity, components, dict(zip(names, counts, strict=True)), broken)

    async def close(self) -> None:
        await self._adapter.close()

    async def _count(self, names: list[str], components: list[Component]) -> list[int | str]:
        """Before the store is broken on every other component too, since nobody can count there meanwhile."""
        others = [one.name for one in components if one.group != SESSIONS] if {STORE, STORE_LINK} & {*names} else []
        asked = list(dict.fromkeys([*names, *others]))
        found = await asyncio.gather(*map(self._foreign, asked))
        self._counted = {name: count for name, count in zip(asked, found, strict=True) if isinstance(count, int)}
        return list(found[: len(names)])

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


def now(
    identity: dict[str, str],
    components: Iterable[Component],
    foreign: dict[str, int | str],
    broken: Sequence[str] = (),
) -> Facts:
    """What has been found out just now."""
    return Facts(
        now=datetime.now(UTC),
        identity=identity,
        whole=_whole(components),
        foreign=foreign,
        broken=list(broken),
        permission=os.environ.get(PERMISSION, ""),
    )


def _whole(components: Iterable[Component]) -> dict[str, bool]:
    """A session that is hibernated is no component that could be broken."""
    running = [one for one in components if one.group != SESSIONS or one.state == "up"]
    return {one.name: one.state == "up" and (one.inc is not None or one.group == LINKS) for one in running}
