"""What commands leave where the adapter looks: effects in ledgers, and rows. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from chaosreprise.checker.attribution import end_mark, of_session, shapes, strongest
from chaosreprise.checker.automaton import ABSENT, Automaton
from chaosreprise.checker.life import ONLINE
from chaosreprise.checker.registry import checks
from chaosreprise.checker.table import FINISHED, PENDING
from chaosreprise.clock import SECOND
from chaosreprise.history import Effect, Report, Sign
from chaosreprise.history.events import Attribution
from chaosreprise.platform.file import Platform
from chaosreprise.run.plan import ROWS
from chaosreprise.run.shown import Shown, judged_by, well, wrong
from chaosreprise.run.trial import Record, Sent

OF_SIGNS = ("split-brain", "state-loss")
ENDED = "terminated"


def effects(record: Record) -> Iterator[Shown]:
    for op, entry in strongest(record.description.attribution).items():
        sent = record.accepted(entry.op)
        if entry.level == "none" or not sent:
            continue
        costs = tuple(name for name, check in checks().items() if entry.ledger in check.ledgers) or ("objective",)
        counted = _of_keys(record, entry, sent) if entry.level == "keyed" else _of_sessions(record, entry, sent)
        bound = record.description.bounds.get(op)
        slowest = 0
        for what, effects, one in counted:
            if len(effects) != 1:
                yield wrong("effect", op, f"{what} is {len(effects)} times in {entry.ledger}, not once", costs)
                break
            slowest = max(slowest, effects[0] - one.answer.hi)
        else:
            if bound is not None and slowest > bound:
                say = f"shows {slowest / SECOND:.2f} s after its answer, which is beyond its bound of {bound / SECOND:g} s"
                yield wrong("effect", op, say, ("late", *costs))
            else:
                how = "with its key" if entry.level == "keyed" else "counted"
                say = f"{len(sent)} in {entry.ledger}, {how}, once each, at most {max(0, slowest) / SECOND:.2f} s later"
                yield well("effect", op, say)


def signs(record: Record) -> Iterator[Shown]:
    """Whether each session was heard of under its own name."""
    for ledger in record.description.signs:
        said = {one.session for one in record.events if isinstance(one, Sign) and one.ledger == ledger}
        silent, others = [name for name in record.sessions if name not in said], sorted(said - {*record.sessions})
        if silent:
            named = f", but somebody called {others[0]}" if others else ""
            say = f"{len(silent)} of {len(record.sessions)} sessions were not heard of: {silent[0]}{named}"
            yield wrong("signs", ledger, say, OF_SIGNS)
        elif record.sessions:
            yield well("signs", ledger, f"{len(record.sessions)} sessions were heard of, each by its own name")


def homes(record: Record) -> Iterator[Shown]:
    """Whether each session that asked for a home has one claim, that stayed at least until it was told to end, and no other has any."""
    ledger = record.description.homes
    own = {
        name: [one for one in record.effects() if (one.ledger, one.session) == (ledger, name)]
        for name in record.sessions
    }
    asked = {one.answer.session for one in record.accepted("start") if one.operation.persistent}
    ends = {one.operation.session: one.answer.lo for one in record.accepted("stop")}
    wrongs = [f"{name} asked for none, and has {own[name][0].object}" for name in own.keys() - asked if own[name]]
    for name in own.keys() & asked:
        made = [one.object for one in own[name] if one.mark == "made"]
        if len(made) != 1:
            wrongs.append(f"{name} asked for one, and has {len(made)} claims")
        elif any(one.mark == "gone" and one.hi < ends.get(name, one.hi) for one in own[name]):
            wrongs.append(f"{made[0]} was gone before its session was told to end")
    if wrongs and ledger:
        yield wrong("homes", "", min(wrongs), ("state-loss",))
    elif own and ledger:
        say = f"{len(asked)} sessions with a claim that stayed, {len(own) - len(asked)} without one, as asked"
        yield well("homes", "", say)


def _of_keys(record: Record, entry: Attribution, sent: Sequence[Sent]) -> Iterator[tuple[str, list[int], Sent]]:
    """Of each command the moments of its effects."""
    for one in sent:
        own = [
            effect
            for effect in record.effects()
            if (effect.ledger, effect.key, effect.mark) == (entry.ledger, one.operation.key, end_mark(entry))
        ]
        yield f"that with key {one.operation.key}", [effect.hi for effect in own], one


def _of_sessions(record: Record, entry: Attribution, sent: Sequence[Sent]) -> Iterator[tuple[str, list[int], Sent]]:
    """The trial sends each kind once to a session."""
    for one in sent:
        session = one.operation.session or one.answer.session or ""
        yield f"that of {session}", moments(record, entry, session), one


def moments(record: Record, entry: Attribution, session: str) -> list[int]:
    """When something of this kind took effect in a session."""
    own: list[Effect] = [
        effect
        for effect in record.effects()
        if effect.ledger == entry.ledger and (effect.session or effect.object) == session
    ]
    return [transition.hi for transition in of_session(shapes(own), entry.mark, lambda _: True)]


def rows(platform: Platform, record: Record) -> Iterator[Shown]:
    costs = judged_by(ROWS)
    if not record.description.states:
        yield from _kept(record, costs)
        return
    if not any(evidence.kind == "sql" for evidence in platform.file.evidence.values()):
        return
    keys = {one.id: one.fields.get("key") for one in record.reports("session")}
    lost = [one for one in record.accepted("start") if keys.get(one.answer.session or "") != one.operation.key]
    if lost:
        say = f"{lost[0].answer.session} has not the key {lost[0].operation.key} that its create had"
        yield wrong("rows", "keys", say, (*costs, "lost"))
    else:
        yield well("rows", "keys", f"{len(keys)} sessions with the keys of their creates")
    yield from _states(record, costs)
    agents = {one.id: one.state for one in record.reports("agent")}
    last = {one.id: _said(one, agents) for one in record.reports("command")}
    ids = [one.answer.id for one in record.sent if one.answer.id and one.operation.op not in ("step", "read")]
    if open_ := [f"{name} is {last.get(name, 'not there')}" for name in ids if last.get(name) != FINISHED]:
        yield wrong("rows", "commands", ", ".join(open_), (*costs, "lost"))
    else:
        yield well("rows", "commands", f"{len(ids)} of {len(ids)} {FINISHED}")


def _said(command: Report, agents: Mapping[str, str]) -> str:
    """Its state; of one that waits, for whom, where that one of the agents, by their states, is called online."""
    if command.state != PENDING or agents.get(command.owner or "") != ONLINE:
        return command.state
    return f"{command.state} for {command.owner}, which is called {ONLINE}: nobody delivers it"


def _kept(record: Record, costs: tuple[str, ...]) -> Iterator[Shown]:
    """Of a platform that states no ways of its sessions: whatever it gave an id has a row."""
    if ROWS not in record.description.sources:
        return
    for about, ids in (
        ("session", record.sessions),
        ("command", [one.answer.id for one in record.sent if one.answer.id]),
    ):
        kept = {one.id for one in record.reports(about)}
        if lost := [name for name in ids if name not in kept]:
            yield wrong("rows", f"{about}s", f"{len(lost)} of {len(ids)} have none, such as {lost[0]}", costs)
        elif ids:
            yield well("rows", f"{about}s", f"{len(ids)} of {len(ids)} have one")


def _states(record: Record, costs: tuple[str, ...]) -> Iterator[Shown]:
    automaton = Automaton(record.description.states)
    seen = 0
    for session in record.sessions:
        states = [ABSENT, *record.states(session)]
        seen += len(states) - 1
        for before, after in pairwise(states):
            if after not in automaton.states or not automaton.ways(before, after):
                say = f"{session} went from {before or 'nothing'} to {after}: the adapter knows no such way"
                yield wrong("rows", "states", say, costs)
                return
        if states[-1] != ENDED:
            yield wrong("rows", "states", f"{session} is {states[-1] or 'not there'}, not {ENDED}", (*costs, "residue"))
            return
    yield well("rows", "states", f"{seen} seen, each of a way that the adapter knows")
