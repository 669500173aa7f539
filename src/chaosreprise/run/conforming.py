"""What holds of all that a trial has seen, and which checks can't be trusted where it does not. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from chaosreprise import checker
from chaosreprise.checker.attribution import end_mark, of_session, shapes, strongest
from chaosreprise.checker.automaton import ABSENT, Automaton
from chaosreprise.checker.registry import checks
from chaosreprise.checker.table import FINISHED
from chaosreprise.clock import SECOND
from chaosreprise.history import Effect
from chaosreprise.history.events import Attribution, Refusal
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Said
from chaosreprise.run.method import LINKS, SESSIONS
from chaosreprise.run.plan import ROWS
from chaosreprise.run.trial import NOBODY, Record, Sent

TABLE = ("lost", "phantom", "duplicate", "refusal", "denied")
"""The checks that take a refusal for the proof that nothing was done, or that something is not there."""
ENDED = "terminated"


class Shown(NamedTuple):
    """`costs`: the checks that can't be trusted where it is not ok."""

    said: Said
    costs: tuple[str, ...]


def shown(platform: Platform, record: Record) -> list[Shown]:
    found = [
        *_creates(record),
        *_answers(record),
        *_effects(record),
        *_rows(platform, record),
        *_refusals(record),
        *_nothing_done(record),
        *_stream(record),
        *_components(record),
    ]
    if record.not_reached:
        found.append(_wrong("times", "", "; ".join(record.not_reached), ("late", "lost", "lifecycle")))
    return found


def untrusted(found: Iterable[Shown]) -> list[str]:
    costs = {check for one in found if one.said.state != "ok" for check in one.costs}
    return [check for check in checker.known() if check in costs]


def _creates(record: Record) -> Iterator[Shown]:
    every = tuple(checker.known())
    sent = [one for one in record.sent if one.operation.op == "start"]
    for one in sent:
        if one.answer.outcome != "ok":
            yield _wrong("creates", "", f"a create was not accepted: {_answered(one)}", every)
            return
    for what, values in (
        ("session", [one.answer.session for one in sent]),
        ("command id", [one.answer.id for one in record.sent if one.answer.id is not None]),
    ):
        if twice := [str(value) for value, times in Counter(values).items() if times > 1 or value is None]:
            yield _wrong("creates", what, f"not one each: {', '.join(twice)} of {len(values)}", every)
        else:
            yield _well("creates", what, f"{len(values)}, each another one")


def _answers(record: Record) -> Iterator[Shown]:
    """What the adapter takes for granted in them."""
    has_commands = bool(record.reports("command"))
    for op, sent in _by_op(record).items():
        for one in sent:
            if one.answer.outcome != "ok":
                yield _wrong("answer", op, f"was not accepted: {_answered(one)}", ("objective", "refusal", *_of(ROWS)))
                break
            if lacks := _lacks(one, has_commands, record):
                yield _wrong("answer", op, lacks, (*_of(ROWS), "denied", "lost", "phantom"))
                break
        else:
            yield _well("answer", op, f"{len(sent)} understood")


def _lacks(one: Sent, has_commands: bool, record: Record) -> str | None:
    op, answer = one.operation.op, one.answer
    if op == "read" and one.operation.session is None:
        missing = set(record.sessions) - set(answer.listed or [])
        return "the list is not whole" if answer.listed is None else f"the list lacks {missing}" if missing else None
    if op == "read":
        return None if answer.result is not None else "it names no state"
    if op == "start" and answer.session is None:
        return "it names no session"
    if has_commands and op != "step" and answer.id is None:
        return "it names no command, so that its row can't be found"
    return None


def _effects(record: Record) -> Iterator[Shown]:
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
                yield _wrong("effect", op, f"{what} is {len(effects)} times in {entry.ledger}, not once", costs)
                break
            slowest = max(slowest, effects[0] - one.answer.hi)
        else:
            if bound is not None and slowest > bound:
                say = f"shows {slowest / SECOND:.2f} s after its answer, which is beyond its bound of {bound / SECOND:g} s"
                yield _wrong("effect", op, say, ("late", *costs))
            else:
                how = "with its key" if entry.level == "keyed" else "counted"
                say = f"{len(sent)} in {entry.ledger}, {how}, once each, at most {max(0, slowest) / SECOND:.2f} s later"
                yield _well("effect", op, say)


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
        yield f"that of {session}", _moments(record, entry, session), one


def _moments(record: Record, entry: Attribution, session: str) -> list[int]:
    """When something of this kind took effect in a session."""
    own: list[Effect] = [
        effect
        for effect in record.effects()
        if effect.ledger == entry.ledger and (effect.session or effect.object) == session
    ]
    return [transition.hi for transition in of_session(shapes(own), entry.mark, lambda _: True)]


def _rows(platform: Platform, record: Record) -> Iterator[Shown]:
    if not any(evidence.kind == "sql" for evidence in platform.file.evidence.values()):
        return
    costs = _of(ROWS)
    keys = {one.id: one.fields.get("key") for one in record.reports("session")}
    lost = [one for one in record.accepted("start") if keys.get(one.answer.session or "") != one.operation.key]
    if lost:
        say = f"{lost[0].answer.session} has not the key {lost[0].operation.key} that its create had"
        yield _wrong("rows", "keys", say, (*costs, "lost"))
    else:
        yield _well("rows", "keys", f"{len(keys)} sessions with the keys of their creates")
    yield from _states(record, costs)
    last = {one.id: one.state for one in record.reports("command")}
    ids = [one.answer.id for one in record.sent if one.answer.id and one.operation.op not in ("step", "read")]
    if open_ := [f"{name} is {last.get(name, 'not there')}" for name in ids if last.get(name) != FINISHED]:
        yield _wrong("rows", "commands", ", ".join(open_), (*costs, "lost"))
    else:
        yield _well("rows", "commands", f"{len(ids)} of {len(ids)} {FINISHED}")


def _states(record: Record, costs: tuple[str, ...]) -> Iterator[Shown]:
    automaton = Automaton(record.description.states)
    seen = 0
    for session in record.sessions:
        states = [ABSENT, *record.states(session)]
        seen += len(states) - 1
        for before, after in pairwise(states):
            if after not in automaton.states or not automaton.ways(before, after):
                say = f"{session} went from {before or 'nothing'} to {after}: the adapter knows no such way"
                yield _wrong("rows", "states", say, costs)
                return
        if states[-1] != ENDED:
            yield _wrong(
                "rows", "states", f"{session} is {states[-1] or 'not there'}, not {ENDED}", (*costs, "residue")
            )
            return
    yield _well("rows", "states", f"{seen} seen, each of a way that the adapter knows")


def _refusals(record: Record) -> Iterator[Shown]:
    rules = {rule.id: rule for rule in record.description.refusals}
    for what, one in record.refused.items():
        if one.answer.outcome == "ok":
            yield _wrong("refused", what, f"was accepted: {_answered(one)}", TABLE)
        elif one.answer.outcome == "info":
            say = f"{_answered(one)}: not in the adapter's table, so nobody would know whether it was done"
            yield _wrong("refused", what, say, TABLE)
        elif one.operation.session == NOBODY and one.operation.op == "read" and not _absent(one, rules):
            yield _wrong("refused", what, f"{_answered(one)}: which does not say that it is not there", ("denied",))
        else:
            yield _well("refused", what, f"by the rule {one.answer.rule}")
    tried = {one.answer.rule for one in record.refused.values()}
    if rest := [name for name in rules if name not in tried]:
        yield _well("refused", "", f"not tried, since it takes more than a trial: {', '.join(rest)}")


def _absent(one: Sent, rules: dict[str, Refusal]) -> bool:
    rule = rules.get(one.answer.rule or "")
    return rule is not None and rule.absent


def _nothing_done(record: Record) -> Iterator[Shown]:
    """What was refused left nothing: no effect with its key, no transition beyond those that were accepted."""
    keys = {one.operation.key for one in record.refused.values()}
    said = [
        f"{one.mark} of {one.object} has the key of a refused create" for one in record.effects() if one.key in keys
    ]
    for op, entry in strongest(record.description.attribution).items():
        granted = {one.operation.session for one in record.accepted(entry.op)}
        if entry.level == "counted":
            others = [name for name in record.sessions if name not in granted]
            said += [f"{name} shows a {op} that nobody sent" for name in others if _moments(record, entry, name)]
    if said:
        yield _wrong("refused", "and left", said[0], TABLE)
    elif record.refused:
        yield _well("refused", "and left", f"nothing: none of {len(record.refused)} had an effect")


def _stream(record: Record) -> Iterator[Shown]:
    costs = ("interrupted",)
    if record.held is None:
        if record.description.promises.get("streams") is True and record.sessions:
            say = "could not be held, though promises.streams is made"
            yield _wrong("stream", "", say, costs)
        return
    if record.broke_early is not None:
        yield _wrong("stream", "", f"broke while its session ran: {record.broke_early.why}", costs)
    elif record.broke is None:
        yield _wrong("stream", "", "did not end with its session: that one breaks would not be noticed", costs)
    else:
        yield _well("stream", "", f"held while its session ran, and then ended: {record.broke.why}")


def _components(record: Record) -> Iterator[Shown]:
    before, after = _incarnations(record.before), _incarnations(record.after)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed:
        say = f"{', '.join(sorted(changed))} changed while nothing was broken"
        yield _wrong("incarnations", "", say, ("misassigned", "split-brain"))
    elif before:
        yield _well("incarnations", "", f"{len(before)} components, the same before and after")


def _incarnations(components: Sequence[Component]) -> dict[str, tuple[object, ...]]:
    return {one.name: (*(one.inc or ()), one.state) for one in components if one.group not in (SESSIONS, LINKS)}


def _by_op(record: Record) -> dict[str, list[Sent]]:
    found: dict[str, list[Sent]] = {}
    for one in record.sent:
        is_list = one.operation.op == "read" and one.operation.session is None
        found.setdefault("list" if is_list else one.operation.op, []).append(one)
    return found


def _of(ledger: str) -> tuple[str, ...]:
    return tuple(name for name, check in checks().items() if ledger in check.ledgers)


def _answered(one: Sent) -> str:
    answer = one.answer
    return f"status {answer.status} {answer.error or ''}".strip() if answer.status else str(answer.error)


def _well(about: str, name: str, say: str) -> Shown:
    return Shown(Said(about=about, name=name, say=say), ())


def _wrong(about: str, name: str, say: str, costs: tuple[str, ...]) -> Shown:
    return Shown(Said(about=about, name=name, state="not ok", say=say), costs)
