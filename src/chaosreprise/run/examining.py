"""Looking at a platform as a run would, and breaking nothing: what is there, what can be watched, what earlier runs left.

Each examination stands by itself, with a time limit: what can't be found out is said, and hides nothing else.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

import msgspec

from chaosreprise import checker
from chaosreprise.clock import SystemClock
from chaosreprise.errors import BadInput, RepriseError
from chaosreprise.faults import facts, ledger, registry, safety
from chaosreprise.faults.safety import Facts
from chaosreprise.platform import adapter, links, proxies
from chaosreprise.platform.adapter import Adapter, Component, Description
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Examines, Said
from chaosreprise.run import litter, plan, stopping
from chaosreprise.run.watching import Watching
from chaosreprise.workload import plan as workload

LIMIT_S = 10.0  # as long as a run waits for the first look of a source
SESSIONS = "sessions"
EVIDENCE, HEAL = "evidence", "`chaos reprise heal` does so, and so does the next run here before anything else"
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
        return [one.name.partition("/")[2] for one in self.components if one.group == plan.AGENTS]


async def look(platform: Platform, run: str) -> tuple[Look, list[Said]]:
    """All that is there, and what is to be said of it."""
    speaker = adapter.make(platform, run)
    try:
        told, identified, seen, watched = await asyncio.gather(
            _told(speaker), _identity(platform, speaker), _components(platform, speaker), _evidence(platform, speaker)
        )
        components, said_of_components = seen
        counted = await _foreign(speaker, components)
        unwatched = [one.name for one in watched if one.state == "not ok"]
        found, of_identity = identified
        known = facts.now(found, components, counted)
        there = Look(platform, speaker.describe(), components, known, unwatched, _less(platform, unwatched))
    finally:
        await speaker.close()
    of_adapter = [one for one in told if not (one.state == "not ok" and one.name in unwatched and not one.do)]
    return there, [
        *_allowed(platform),
        *of_adapter,
        *watched,
        *_effects(there),
        of_identity,
        *said_of_components,
        *_links(there, await guarded("link", "", asyncio.to_thread(proxies.components, platform))),
        *_budget(there),
        *_left(platform),
    ]


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


async def _told(speaker: Adapter) -> list[Said]:
    """What the adapter knows to say; of any other one whether it lets us in."""
    if not isinstance(speaker, Examines):
        failed = await guarded("login", "", speaker.open())
        return [failed or Said(about="login", say="the platform lets us in")]
    asked = speaker.examinations()
    found = await asyncio.gather(*(guarded(*_named(name), ask()) for name, ask in asked.items()))
    return [said for one in found for said in ([one] if isinstance(one, Said) else one)]


def _named(name: str) -> tuple[str, str]:
    about, _, of = name.partition(" ")
    return (about, of) if about == EVIDENCE else (name, "")


async def _identity(platform: Platform, speaker: Adapter) -> tuple[dict[str, str], Said]:
    found = await guarded("identity", "", asyncio.to_thread(speaker.identity))
    if isinstance(found, Said):
        return {}, found
    try:
        safety.check_identity(platform, facts.now(found, [], {}))
    except RepriseError as error:
        return found, Said(about="identity", state="not ok", say=str(error))
    says = ", ".join(f"{name} {value}" for name, value in platform.file.identity.stated().items())
    return found, Said(about="identity", say=f"{says}: as found here")


async def _components(platform: Platform, speaker: Adapter) -> tuple[list[Component], list[Said]]:
    found = await guarded("component", "", asyncio.to_thread(speaker.components))
    if isinstance(found, Said):
        return [], [found]
    said = []
    for group in platform.file.components:
        of_it = [one for one in found if one.group == group]
        reasons = [one for one in of_it if one.reason or one.state != "up"]
        for one in reasons:
            why = one.reason or f"it is {one.state}"
            said.append(
                Said(about="component", name=one.name, state="limited", say=f"{why}: no fault can be made on it")
            )
        if group == SESSIONS and not reasons:
            said.append(Said(about="component", name=group, say="those that a run makes"))
        elif len(of_it) > len(reasons):
            said += [
                Said(about="component", name=one.name, say="up, with a handle") for one in of_it if one not in reasons
            ]
        elif not of_it:
            said.append(Said(about="component", name=group, state="limited", say="none is there"))
    if not any(one.group == plan.AGENTS for one in found):
        say = f"components.{plan.AGENTS} is not set, or shows none: the load can't be spread over agents"
        said.append(
            Said(about="component", name=plan.AGENTS, state="not ok", say=say, do="name them in the platform file")
        )
    return found, said


async def _foreign(speaker: Adapter, components: list[Component]) -> dict[str, int | str]:
    """Other people's sessions by component, or why they could not be counted."""
    names = [one.name for one in components if one.group != SESSIONS]
    counts = await asyncio.gather(*(guarded("", "", speaker.foreign(name)) for name in names))
    return {name: one.say if isinstance(one, Said) else one for name, one in zip(names, counts, strict=True)}


async def _evidence(platform: Platform, speaker: Adapter) -> list[Said]:
    """Whether each source gives a first good look, which no run begins without."""
    try:
        watching = Watching([*speaker.sources(), *speaker.frames()], SystemClock(), lambda _: None)
    except RepriseError as error:
        return [Said(about=EVIDENCE, state="not ok", say=str(error))]
    with contextlib.suppress(RepriseError):
        await watching.until_seen(LIMIT_S)
    unseen = dict(watching.unseen)
    await watching.give_up()
    said = []
    for name in watching.names:
        entry = platform.file.evidence.get(name)
        rate = f"watched, {entry.hz:g} looks a second" if entry else "read along on the links to agents"
        if name not in unseen:
            said.append(Said(about=EVIDENCE, name=name, say=rate))
        elif entry is None:
            say = f"{unseen[name]}: no moment can wait for what agents are told"
            said.append(Said(about=EVIDENCE, name=name, state="limited", say=say))
        else:
            said.append(Said(about=EVIDENCE, name=name, state="not ok", say=unseen[name], do=_without(platform, name)))
    return said


def _without(platform: Platform, name: str) -> str:
    """What to do about a source that can't be watched: what it would cost to do without."""
    lost = lost_with(platform, _less(platform, [name]))
    costs = f"{', '.join(lost)} would be unknown" if lost else "no check needs it"
    return f"mend it, or take [{EVIDENCE}.{name}] out of the platform file: {costs}"


def lost_with(platform: Platform, less: Platform) -> list[str]:
    """The checks that could be judged here, and can't be with less."""
    now, then = (adapter.make(one, "doctor").describe() for one in (platform, less))
    return [
        check for check in checker.known() if not plan.lacking(check, platform, now) and plan.lacking(check, less, then)
    ]


def _less(platform: Platform, names: list[str]) -> Platform:
    """Without these sources of evidence."""
    others = {other: entry for other, entry in platform.file.evidence.items() if other not in names}
    return msgspec.structs.replace(platform, file=msgspec.structs.replace(platform.file, evidence=others))


def _allowed(platform: Platform) -> list[Said]:
    allow, kinds = platform.file.allow, registry.kinds()
    limits = f"share {allow.share:g}, {allow.count} of a group by one run, {allow.at_once} at once"
    others = f"{allow.foreign_sessions} sessions of others"
    when = f"within {', '.join(allow.windows)}" if allow.windows else "at any time"
    said = []
    if unknown := [kind for kind in allow.faults if kind not in kinds]:
        do = "correct it: `chaos reprise faults` lists all kinds"
        said.append(Said(about="allowed", state="limited", say=f"{', '.join(unknown)}: no such fault", do=do))
    number = sum(kind in allow.faults for kind in kinds)
    if not number:
        do = "add the kinds that this platform may suffer: `chaos reprise faults` lists them"
        return [*said, Said(about="allowed", state="limited", say="allow.faults lists no kind of fault", do=do)]
    groups = Counter(kind.partition(".")[0] for kind in kinds if kind in allow.faults)
    on = ", ".join(f"{group} {n}" for group, n in groups.items())
    say = f"{number} of {len(kinds)} kinds of faults ({on}); {limits}; {others}; {when}"
    return [*said, Said(about="allowed", say=say)]


def _effects(there: Look) -> list[Said]:
    entries = there.description.attribution
    if not entries:
        do = f"name a ledger of effects in [{EVIDENCE}]"
        return [Said(about="effects", state="limited", say="no ledger shows what commands do", do=do)]
    by_level: dict[str, list[str]] = {}
    for entry in entries:
        by_level.setdefault(f"{entry.level} in {entry.ledger}", []).append(entry.op)
    return [Said(about="effects", say="; ".join(f"{' '.join(ops)} {level}" for level, ops in by_level.items()))]


def _links(there: Look, found: list[Component] | Said) -> list[Said]:
    if isinstance(found, Said):
        return [found]
    said = []
    for one in found:
        if one.reason or one.state != "up":
            why = one.reason or "its proxy is disabled"
            said.append(Said(about="link", name=one.name, state="limited", say=f"{why}: no fault can be made on it"))
        else:
            taps = "up, read along" if links.of(there.platform)[one.name].taps else "up"
            said.append(Said(about="link", name=one.name, say=taps))
    names = [one.name for one in found]
    bare = [f"{links.OF_AGENTS}{agent}" for agent in there.agents if f"{links.OF_AGENTS}{agent}" not in names]
    bare += [f"{links.GROUP}/{name}" for name in ("clients", "database") if f"{links.GROUP}/{name}" not in names]
    do = "put a Toxiproxy there, and name it in [links]"
    say = "no proxy: no fault can be made on it"
    return said + [Said(about="link", name=name, state="limited", say=say, do=do) for name in bare]


def _budget(there: Look) -> list[Said]:
    """Whether the load of a usual run fits, or at least the smallest one."""
    if not there.agents:
        return []
    budget = there.platform.file.budget
    has = f"{budget.max_sessions} sessions of {len(budget.users)} users, {budget.max_rps:g} requests a second"
    says: list[str] = []
    for exposure in (workload.DEFAULT_EXPOSURE, 1):
        try:
            load = workload.make(
                workload.Workload(),
                dict.fromkeys(workload.WAITING, exposure),
                there.agents,
                budget.users,
                budget.max_sessions,
                budget.max_rps,
                seed=0,
            )
        except BadInput as error:
            says.append(str(error))
        else:
            say = f"{has}: an exposure of {exposure} takes {load.starts} sessions"
            state = "limited" if says else "ok"
            return [Said(about="budget", state=state, say="; ".join([say, *says]))]  # type: ignore[arg-type]
    return [Said(about="budget", state="not ok", say=f"{has}: {says[-1]}")]


def _left(platform: Platform) -> list[Said]:
    """What earlier runs left, and who is at it now."""
    said = []
    busy = [one for one in stopping.running() if one.platform == platform.id]
    if busy:
        say, do = f"run {busy[0].run} is testing it now", "wait for its end, or `chaos reprise stop`"
        said.append(Said(about="lock", state="not ok", say=say, do=do))
    elif (pid := ledger.holder(platform.id)) is not None:
        say = f"process {pid} of Reprise is at work on it now"
        said.append(Said(about="lock", state="not ok", say=say, do="wait for its end"))
    now = {one.run for one in busy}
    for record in ledger.leftovers(platform.id):
        if record.run not in now:
            say = f"{record.kind} on {record.on} of run {record.run} is {record.state}: {record.say or 'not undone'}"
            said.append(Said(about="left", state="limited", say=say, do=HEAL))
    for mark in litter.left(platform.id):
        if mark.name not in now:
            say = f"run {mark.name} ended before it had stopped its sessions"
            said.append(Said(about="left", state="limited", say=say, do=HEAL))
    return said or [Said(about="left", say="nothing, and nobody is at work on it")]
