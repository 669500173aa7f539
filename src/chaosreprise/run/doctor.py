"""What a run would meet on a platform, before anything is broken: `chaos reprise doctor FILE`. Reads only.

One line a thing, each found out by itself and within a time limit. The embedded platform is made for this and ended again: so
it is seen whether this machine can carry it.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from chaosreprise.platform.file import Platform, load
from chaosreprise.platform.said import Said
from chaosreprise.run import labs, possible, sentences, testable
from chaosreprise.run.examining import look


class Examined(msgspec.Struct, kw_only=True):
    """Of one platform. `can_begin`: whether some run could."""

    platform: str
    kind: str
    url: str
    can_begin: bool
    said: list[Said]

    def lines(self) -> list[str]:
        where = f"{self.kind} at {self.url}" if self.url else self.kind
        return [f"{self.platform} ({where})", *sentences.lines(self.said), *sentences.lines([self._summary()])]

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def _summary(self) -> Said:
        well, all_ = (
            Counter(one.about for one in self.said if one.state == "ok"),
            Counter(one.about for one in self.said),
        )
        counts = {"experiment": "experiments", "fault": "kinds of faults", "check": "checks", "criterion": "criteria"}
        of = ", ".join(f"{well[about]} of {all_[about]} {words}" for about, words in counts.items() if all_[about])
        if self.can_begin:
            return Said(about="a run", say=f"can begin: {of} are possible")
        wrong = [f"{one.about} {one.name}".strip() for one in self.said if one.state == "not ok"]
        if not wrong:
            do = "see above what each experiment lacks; with REPRISE_OBSERVE=1 those run that lack nothing but a way to break something"
            return Said(about="a run", state="not ok", say="can't begin: no experiment could run", do=do)
        why = ", ".join(dict.fromkeys(wrong))
        return Said(about="a run", state="not ok", say=f"can't begin: {why}", do="mend what is not ok above")


def examine(where: str) -> Examined:
    """Raises BadInput for a platform file that can't be used, and NotPossible where no lab can be made."""
    requested = load(where)
    with labs.standing(requested) as platform:
        said = asyncio.run(_examine(requested, platform))
    well = [one for one in said if one.about == "experiment" and one.state == "ok"]
    return Examined(
        platform=requested.file.name,
        kind=requested.file.kind,
        url=requested.file.control.url if requested.file.control else "",
        can_begin=bool(well) and not _wrong(said),
        said=said,
    )


async def _examine(requested: Platform, platform: Platform) -> list[Said]:
    """Of the platform file nobody needs to be told its path in each line."""
    there, said = await look(platform, f"doctor-{secrets.token_hex(4)}")
    plans = possible.Plans(platform, later=not there.description.hibernates)
    concluded = [
        *await possible.faults(there, plans),
        *possible.checks(there),
        *await possible.could_run(there, plans, requested),
    ]
    where = f"{platform.path}: "
    everything = [*said, *concluded, *testable.said(there, requested, concluded)]
    return [msgspec.structs.replace(one, say=one.say.replace(where, "")) for one in everything]


def _wrong(said: Sequence[Said]) -> bool:
    return any(one.state == "not ok" for one in said)
