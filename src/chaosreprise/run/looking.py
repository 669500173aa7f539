"""What is found out of a platform in one look, and how each thing is found out by itself: nothing hides anything else."""

import asyncio
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

import msgspec

from chaosreprise import checker
from chaosreprise.errors import RepriseError
from chaosreprise.faults.safety import Facts
from chaosreprise.platform import adapter
from chaosreprise.platform.adapter import Component, Description
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Said
from chaosreprise.run import plan

LIMIT_S = 10.0  # as long as a run waits for the first look of a source
T = TypeVar("T")


class Look(NamedTuple):
    """What is concluded from. `unwatched`: the sources of evidence that can't be watched; `blind`: the same platform without them."""

    platform: Platform
    description: Description
    components: list[Component]
    facts: Facts
    unwatched: list[str]
    blind: Platform

    @property
    def agents(self) -> list[str]:
        return plan.named_agents(self.components)


async def guarded(about: str, name: str, work: Awaitable[T]) -> T | Said:
    """What came of it, or what kept it from coming."""
    try:
        async with asyncio.timeout(LIMIT_S):
            return await work
    except TimeoutError:
        say = f"nothing is known of it within {LIMIT_S:g} s"
    except RepriseError as error:
        say = str(error)
    except Exception as error:  # noqa: BLE001 whatever a platform answers, the other lines are said
        say = f"what came could not be understood: {error!r}"
    return Said(about=about, name=name, state="not ok", say=say)


def lost_with(platform: Platform, less: Platform) -> list[str]:
    """The checks that could be judged here, and can't be with less."""
    now, then = (adapter.make(one, "doctor").describe() for one in (platform, less))
    return [
        check for check in checker.known() if not plan.lacking(check, platform, now) and plan.lacking(check, less, then)
    ]


def less(platform: Platform, names: list[str]) -> Platform:
    """Without these sources of evidence."""
    others = {other: entry for other, entry in platform.file.evidence.items() if other not in names}
    return msgspec.structs.replace(platform, file=msgspec.structs.replace(platform.file, evidence=others))
