"""Which criteria can be tested on a platform, and why not the others: concluded from what was said of its faults, checks and experiments."""

from collections.abc import Sequence

from chaosreprise import criteria
from chaosreprise.checker.attribution import STRENGTH
from chaosreprise.criteria.experiments import experiments
from chaosreprise.history.events import LIFECYCLE, Level
from chaosreprise.platform import figures
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Said
from chaosreprise.run import plan
from chaosreprise.run.contract import PODS
from chaosreprise.run.looking import Look

SHOWN = 3  # experiments named for one criterion


def said(there: Look, requested: Platform, concluded: Sequence[Said]) -> list[Said]:
    """Each criterion of its system; what an experiment itself was refused for is its reason."""
    could = {one.name: one for one in concluded if one.about == "experiment"}
    judged = {one.name for one in concluded if one.about == "check" and one.state == "ok"}
    kinds = {one.name for one in concluded if one.about == "fault" and one.state == "ok"}
    levels = {name: level for name, level in _levels(there).items() if name in judged}
    found = criteria.of_platform(there.platform.file.kind, levels, kinds, _parts(there, requested))
    return [_criterion(one, could) for one in found]


def _criterion(one: criteria.Possible, could: dict[str, Said]) -> Said:
    by = [name for name in one.by if name not in could or could[name].state == "ok"]
    if by:
        more = f" and {len(by) - SHOWN} more" if len(by) > SHOWN else ""
        return Said(about="criterion", name=one.criterion.id, say=f"tested by {', '.join(by[:SHOWN])}{more}")
    why = one.why or f"{one.by[0]} {could[one.by[0]].say}"
    return Said(about="criterion", name=one.criterion.id, state="limited", say=f"can't be tested here: {why}")


def _levels(there: Look) -> dict[str, Level]:
    described = there.description
    ops = LIFECYCLE if described.hibernates else ["step"]
    given = [name for name in criteria.GIVEN if getattr(described, name)]
    evidence = there.blind.file.evidence.items()
    ledgers = {
        plan.ROWS if entry.kind in plan.TABLES else name for name, entry in evidence if entry.kind not in figures.KINDS
    }
    if any(entry.level in STRENGTH and entry.level != "none" for entry in described.attribution):
        ledgers.add(plan.SLOTS)
    able = criteria.levels_of(ledgers, described.attribution, given, ops)
    return able | (dict.fromkeys(plan.OF_PROCESSES, "none") if described.signs else {})


def _parts(there: Look, requested: Platform) -> dict[str, int]:
    """What nobody can count is taken for enough here: an experiment that needs more of it was refused itself."""
    enough: dict[str, int] = {}
    for experiment in experiments().values():
        for name, least in experiment.needs.items():
            enough[name] = max(least, enough.get(name, 0))
    if requested.file.kind == "embedded":
        return enough | dict.fromkeys(PODS, 0)  # it is made as each of them needs it, but never in a cluster
    groups = [one.group for one in there.components]
    heard = {
        "witness": int(bool(there.platform.witnesses)),
    } | {need: int(getattr(there.platform, need)) for need in PODS}
    return enough | heard | {"agents": len(there.agents), "control_planes": max(1, groups.count(plan.CONTROL_PLANE))}
