"""What could be done on a platform, by the same decisions that a run meets: kinds of faults, checks, experiments.

A fault is planned as its warden would plan it, with the arguments that it has by default: planning only looks.
"""

import asyncio
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import msgspec

from chaosreprise import experiments
from chaosreprise.checker import registry as checks_there
from chaosreprise.checker.case import NOTICED
from chaosreprise.checker.check import Check
from chaosreprise.clock import SECOND
from chaosreprise.errors import RepriseError
from chaosreprise.faults import local, on_link, registry, safety
from chaosreprise.faults.base import Context
from chaosreprise.faults.safety import Intent
from chaosreprise.platform import keepers
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform
from chaosreprise.platform.links import GROUP as LINKS
from chaosreprise.platform.links import OfFile
from chaosreprise.platform.said import Said
from chaosreprise.run import known, plan, preview
from chaosreprise.run.looking import Look, guarded, lost_with
from chaosreprise.run.method import HOLD_S, SESSIONS, Wanted

AT_ONCE = 8
SILENT = ("agents.pause", "links.blackhole", "links.freeze")  # the connections stay
FIRST = "links/agents/"  # most faults on links are about these


class Plans:
    """Faults planned one by one, each once. It needs no process of its own: to plan is to look. `later`: nobody is connected to
    an agent before a run asks it for something."""

    def __init__(self, platform: Platform, *, later: bool) -> None:
        self._context = Context(_keeper(platform), [], OfFile(platform.path), platform.path, later)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._found: dict[str, asyncio.Task[str | None]] = {}

    async def why_not(self, kind: str, on: str, args: dict[str, Any]) -> str | None:
        """Why this fault can't be made on this component now; None when it can."""
        asked = json.dumps([_planned_as(kind), on, args], sort_keys=True, default=str)
        if asked not in self._found:
            self._found[asked] = asyncio.create_task(self._plan(kind, on, args))
        return await asyncio.shield(self._found[asked])  # others wait for it, too

    async def _plan(self, kind: str, on: str, args: dict[str, Any]) -> str | None:
        async with self._gate:
            planned = await guarded("fault", kind, registry.get(kind).plan(self._context, on, args))
        return planned.say if isinstance(planned, Said) else None


def _planned_as(kind: str) -> str:
    """The same for kinds whose plans are alike, since they take a while: a crash and a pause look at a process in one way."""
    fault = registry.get(kind)
    if type(fault).plan not in (local.OnProcess.plan, on_link.OnLink.plan):
        return kind
    more = getattr(type(fault), "more", None)
    ways = (getattr(fault, name, None) for name in ("from_the_front", "on_taps"))
    return (
        f"{type(fault).plan.__qualname__} {more and (more.__module__, more.__qualname__)} {fault.arguments} {[*ways]}"
    )


async def faults(there: Look, plans: Plans) -> list[Said]:
    """Each kind on each group: possible, or why not."""
    return list(await asyncio.gather(*(_fault(there, plans, kind) for kind in registry.kinds())))


async def _fault(there: Look, plans: Plans, kind: str) -> Said:
    try:
        safety.check_kind(there.platform, kind)
    except RepriseError:
        return _limited(kind, "not allowed", "list it in allow.faults if this platform may suffer that")
    try:
        on = _where(there, kind)
        seconds = HOLD_S + registry.get(kind).undo_s
        safety.check(there.platform, [Intent(kind, on or f"{SESSIONS}/?", seconds)], there.facts)
    except RepriseError as error:
        return _limited(kind, str(error))
    if on is None:
        return Said(about="fault", name=kind, say="possible on a session that a run makes")
    if needed := _needed(kind):
        return Said(about="fault", name=kind, say=f"possible on {on}; an experiment says which {' and '.join(needed)}")
    why = await plans.why_not(kind, on, {})
    return _limited(kind, why) if why else Said(about="fault", name=kind, say=f"possible on {on}")


def _where(there: Look, kind: str) -> str | None:
    """The component that it would be tried on; None for a session, which is not there yet. Raises what a plan would."""
    group = kind.partition(".")[0]
    link = _link(there.components) if group == LINKS else ""
    planned = plan.fault(Wanted(kind=kind, link=link), there.platform, there.agents, 0, there.components)
    for one in there.components:
        if one.group == group == SESSIONS and one.reason:
            raise plan.no_handle(one, kind)
    return planned.components[0] if planned.components else None


def _link(components: list[Component]) -> str:
    """A link that is there, one to an agent if there is."""
    names = sorted(
        (one.name for one in components if one.group == LINKS),
        key=lambda name: not name.startswith(FIRST),
    )
    return names[0].partition("/")[2] if names else "database"


def _needed(kind: str) -> list[str]:
    """Arguments that it has no default for."""
    return [field.name for field in msgspec.structs.fields(registry.get(kind).arguments) if field.required]


def _limited(kind: str, say: str, do: str = "") -> Said:
    return Said(about="fault", name=kind, state="limited", say=say, do=do)


def checks(there: Look) -> list[Said]:
    """Each check: the evidence that it has here, or why it will be unknown."""
    blind = lost_with(there.platform, there.blind)
    return [_check(there, check, blind) for check in checks_there.checks().values()]


def _check(there: Look, check: Check, blind: list[str]) -> Said:
    description = there.description
    lacks = plan.lacking(check.name, there.platform, description)
    if check.name in blind:
        lacks = f"evidence.{' and '.join(there.unwatched)} can't be watched"
    if lacks:
        return Said(about="check", name=check.name, state="limited", say=f"will be unknown: {lacks}")
    if check.promise is not None and description.promises.get(check.promise) is not True:
        say = f"a violation will be unknown: promises.{check.promise} is not made"
        return Said(about="check", name=check.name, state="limited", say=say)
    return Said(about="check", name=check.name, say=_level(there, check))


def _level(there: Look, check: Check) -> str:
    """By which effects of which kinds of commands it judges."""
    if plan.ROWS in check.ledgers and len(check.ledgers) == 1:
        return "by the platform's own rows"
    if check.name in plan.OF_PROCESSES and there.description.signs:
        return "by what the processes of sessions say of themselves"
    if check.name in plan.OF_STEPS and not there.description.steps and there.description.homes:
        return "by the claims of sessions, whether they stay and are given to their processes: not by what is in them"
    if not check.ledgers:
        return "by answers and what is observed"
    able = [entry for entry in there.description.attribution if entry.level in check.levels]
    by_level: dict[str, list[str]] = {}
    for entry in able:
        by_level.setdefault(entry.level, []).append(entry.op)
    return "; ".join(f"{level}: {' '.join(ops)}" for level, ops in by_level.items())


async def could_run(there: Look, plans: Plans, requested: Platform) -> list[Said]:
    """Each experiment that is here: whether it could run. The embedded platform is made as each of them needs it."""
    return list(await asyncio.gather(*(_experiment(there, plans, requested, path) for path in _experiments())))


async def _experiment(there: Look, plans: Plans, requested: Platform, path: pathlib.Path) -> Said:
    why = await guarded("experiment", path.stem, _why_not(there, plans, requested, path))
    say = why.say if isinstance(why, Said) else why
    if say is None:
        return Said(about="experiment", name=path.stem, say=f"could run{_unnoticed(there, path)}")
    return Said(about="experiment", name=path.stem, state="limited", say=f"could not run: {say}")


async def _why_not(there: Look, plans: Plans, requested: Platform, path: pathlib.Path) -> str | None:
    """Raises the first reason that a plan finds; the first that a fault has is returned."""
    arguments, wanted, batches, _ = preview.read(str(path))
    known.stated(arguments.known, str(path))
    if requested.file.kind == "embedded":
        preview.embedded(arguments, wanted, batches, requested, seed=0)
        return None
    made = plan.make(arguments, wanted, there.platform, there.description, there.components, seed=0, batches=batches)
    made.check(there.platform, there.facts)
    for fault in made.faults:
        for on in fault.components:
            if why := await plans.why_not(fault.wanted.kind, on, fault.wanted.args):
                return why
    return None


def _unnoticed(there: Look, path: pathlib.Path) -> str:
    """What a hold is too short for, where an agent goes on to be connected and is silent."""
    arguments, wanted, _, configuration = preview.read(str(path))
    silence_s, held_s = there.description.offline_ns / SECOND, configuration.get("hold_s")
    asks = any(one.recovery == NOTICED for one in arguments.objectives)
    if not (asks and any(one.kind in SILENT for one in wanted)) or not held_s or held_s > silence_s:
        return ""
    return f", and tests whether silence is noticed, which shows within {silence_s:g} s, with --var hold_s:float={1.2 * silence_s:g}"


def _experiments() -> Iterator[pathlib.Path]:
    """Those of the folder `experiments` here, and those that come with Reprise."""
    folders = [pathlib.Path("experiments"), *map(pathlib.Path, experiments.__path__)]
    found = {path.stem: path for folder in reversed(folders) for path in sorted(folder.rglob("*.json"))}
    yield from (found[name] for name in sorted(found))


def _keeper(platform: Platform) -> str | None:
    try:
        return keepers.address(platform)
    except RepriseError:
        return None  # said by who looks at the components
