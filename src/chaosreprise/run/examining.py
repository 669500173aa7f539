"""Looking at a platform as a run would, and breaking nothing: what is there, and what can be watched."""

import asyncio
import contextlib

from chaosreprise.clock import SystemClock
from chaosreprise.errors import RepriseError
from chaosreprise.faults import facts, safety
from chaosreprise.platform import adapter, proxies
from chaosreprise.platform.adapter import Adapter, Component
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Examines, Said
from chaosreprise.run import conclusions, plan
from chaosreprise.run.looking import LIMIT_S, Look, guarded, less, lost_with
from chaosreprise.run.method import SESSIONS
from chaosreprise.run.watching import Watching

EVIDENCE = "evidence"
FAILING_S = 2.0  # in which a source looks again, twice as a rule
Counts = dict[str, int | str]
"""Other people's sessions by component, or why they could not be counted."""


async def look(platform: Platform, run: str) -> tuple[Look, list[Said]]:
    """All that is there, and what is to be said of it. What follows is concluded as if it were the right platform."""
    speaker = adapter.make(platform, run)
    try:
        said, of_identity, (components, said_of_components, counted), watched = await asyncio.gather(
            told(speaker),
            _identity(platform, speaker),
            _components(platform, speaker),
            _evidence(platform, run, speaker),
        )
        unwatched = [one.name for one in watched if one.state == "not ok"]
        known = facts.now(platform.file.identity.stated(), components, counted)
        there = Look(platform, speaker.describe(), components, known, unwatched, less(platform, unwatched))
    finally:
        await speaker.close()
    of_adapter = [one for one in said if not (one.state == "not ok" and one.name in unwatched and not one.do)]
    return there, [
        *conclusions.allowed(platform),
        *of_adapter,
        *watched,
        *conclusions.effects(there),
        of_identity,
        *said_of_components,
        *conclusions.links(there, await guarded("link", "", asyncio.to_thread(proxies.components, platform))),
        *conclusions.budget(there),
        *conclusions.left(platform),
    ]


async def told(speaker: Adapter) -> list[Said]:
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


async def _identity(platform: Platform, speaker: Adapter) -> Said:
    found = await guarded("identity", "", asyncio.to_thread(speaker.identity))
    if isinstance(found, Said):
        return found
    try:
        safety.check_identity(platform, facts.now(found, [], {}))
    except RepriseError as error:
        return Said(about="identity", state="not ok", say=str(error))
    says = ", ".join(f"{name} {value}" for name, value in platform.file.identity.stated().items())
    return Said(about="identity", say=f"{says}: as found here")


async def _components(platform: Platform, speaker: Adapter) -> tuple[list[Component], list[Said], Counts]:
    found = await guarded("component", "", asyncio.to_thread(speaker.components))
    if isinstance(found, Said):
        return [], [found], {}
    said = []
    for group in platform.file.components:
        of_it = [one for one in found if one.name == group or one.name.startswith(f"{group}/")]
        said += [_component(one) for one in of_it if group != SESSIONS or one.reason]
        if group == SESSIONS and not any(one.reason for one in of_it):
            said.append(Said(about="component", name=group, say="those that a run makes"))
        elif not of_it:
            said.append(Said(about="component", name=group, state="limited", say="none is there"))
    if not plan.named_agents(found):
        said.append(Said(about="component", name=plan.AGENTS, state="not ok", say=plan.NO_AGENTS, do=plan.NAME_THEM))
    return found, said, await _foreign(speaker, found)


def _component(one: Component) -> Said:
    if one.reason or one.state != "up":
        why = one.reason or f"it is {one.state}"
        return Said(about="component", name=one.name, state="limited", say=f"{why}: no fault can be made on it")
    return Said(about="component", name=one.name, say="up, with a handle" if one.inc else "reached by SQL alone")


async def _foreign(speaker: Adapter, components: list[Component]) -> Counts:
    names = [one.name for one in components if one.group != SESSIONS]
    counts = await asyncio.gather(*(guarded("", "", speaker.foreign(name)) for name in names))
    return {name: one.say if isinstance(one, Said) else one for name, one in zip(names, counts, strict=True)}


async def _evidence(platform: Platform, run: str, speaker: Adapter) -> list[Said]:
    """Whether each source gives a first good look, which no run begins without."""
    along = speaker.frames()
    sources, said = list(along), []
    for name in platform.file.evidence:
        others = [other for other in platform.file.evidence if other != name]
        try:
            own = adapter.make(less(platform, others), run).sources()
            sources += [
                one for one in own if one.name not in {known.name for known in sources}
            ]  # some need no evidence
        except RepriseError as error:
            said.append(_unwatched(platform, name, str(error)))
    watching = Watching(sources, SystemClock(), lambda _: None)
    with contextlib.suppress(RepriseError):
        await watching.until_seen(LIMIT_S, FAILING_S)
    unseen = dict(watching.unseen)
    await watching.give_up()
    for name in watching.names:
        read_along = name in {one.name for one in along}
        if name in unseen:
            said.append(_unwatched(platform, name, unseen[name], read_along=read_along))
        else:
            entry = platform.file.evidence.get(name)
            how = f"watched, {entry.hz:g} looks a second" if entry else "watched"
            how = "read along on the links to agents" if read_along else how
            said.append(Said(about=EVIDENCE, name=name, say=how))
    return said


def _unwatched(platform: Platform, name: str, why: str, *, read_along: bool = False) -> Said:
    if read_along:
        say = f"{why}: no moment can wait for what agents are told"
        return Said(about=EVIDENCE, name=name, state="limited", say=say)
    do = _without(platform, name) if name in platform.file.evidence else "see whether the platform is up"
    return Said(about=EVIDENCE, name=name, state="not ok", say=why, do=do)


def _without(platform: Platform, name: str) -> str:
    """What to do about a source that can't be watched: what it would cost to do without."""
    lost = lost_with(platform, less(platform, [name]))
    costs = f"{', '.join(lost)} would be unknown" if lost else "no check needs it"
    return f"mend it, or take [{EVIDENCE}.{name}] out of the platform file: {costs}"
