"""What holds of all that a trial has seen, and which checks can't be trusted where it does not. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from chaosreprise import checker
from chaosreprise.checker.attribution import strongest
from chaosreprise.clock import SECOND
from chaosreprise.history.events import Refusal
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Said
from chaosreprise.run import tracing
from chaosreprise.run.method import LINKS, SESSIONS
from chaosreprise.run.plan import ROWS
from chaosreprise.run.shown import Shown, judged_by, well, wrong
from chaosreprise.run.trial import AT_ONCE, NOBODY, Record, Sent

TABLE = ("lost", "phantom", "duplicate", "refusal", "denied")
"""The checks that take a refusal for the proof that nothing was done, or that something is not there."""


def shown(platform: Platform, record: Record) -> list[Shown]:
    found = [
        *_creates(record),
        *_answers(record),
        *tracing.effects(record),
        *tracing.signs(record),
        *tracing.homes(record),
        *tracing.rows(platform, record),
        *_refusals(record),
        *_nothing_done(record),
        *_stream(record),
        *_ended(record),
        *_components(record),
    ]
    if record.not_reached:
        found.append(wrong("times", "", "; ".join(record.not_reached), ("late", "lost", "lifecycle")))
    return found


def untrusted(found: Iterable[Shown]) -> list[str]:
    costs = {check for one in found if one.said.state != "ok" for check in one.costs}
    return [check for check in checker.known() if check in costs]


def _creates(record: Record) -> Iterator[Shown]:
    every = tuple(checker.known())
    sent = [one for one in record.sent if one.operation.op == "start"]
    for one in sent:
        if one.answer.outcome != "ok":
            yield wrong("creates", "", f"a create was not accepted: {_answered(one)}", every)
            return
    apart = [one.answer.session for one in sent if one not in record.at_once]
    for what, values in (
        ("session", apart),
        ("command id", [one.answer.id for one in record.sent if one.answer.id is not None]),
    ):
        if twice := [str(value) for value, times in Counter(values).items() if times > 1 or value is None]:
            yield wrong("creates", what, f"not one each: {', '.join(twice)} of {len(values)}", every)
        else:
            yield well("creates", what, f"{len(values)}, each another one")
    yield from _at_once(record, apart)


def _at_once(record: Record, others: Sequence[str | None]) -> Iterator[Shown]:
    """An id is shared when two creates were accepted with it. That is tried by some that are sent within one second: a run keeps
    them apart."""
    if not record.description.spaces_starts:
        return
    sent = sorted(one.answer.lo for one in record.at_once)
    if not sent or sent[-1] - sent[0] >= SECOND:
        why = "they left too far apart" if sent else f"{AT_ONCE} within one second are beyond the budget"
        say = f"whether creates of one second share an id was not tried: {why}"
        do = "give budget.max_sessions and budget.max_rps more room, or try again where less is going on"
        yield Shown(Said(about="creates", name="at once", state="limited", say=say, do=do), ("isolation",))
        return
    taken = sum(one.answer.outcome == "ok" for one in record.at_once)
    named = [*others, *(one.answer.session for one in record.at_once if one.answer.outcome == "ok")]
    within = f"{len(sent)} within {(sent[-1] - sent[0]) / SECOND:.3f} s"
    if not taken:
        yield wrong("creates", "at once", f"{within}, and none was accepted", ("objective", "refusal"))
    elif twice := sorted({str(name) for name, times in Counter(named).items() if times > 1}):
        say = f"{within}: {', '.join(twice)} was given to more than one of them"
        yield wrong("creates", "at once", say, ("isolation",))
    else:
        yield well("creates", "at once", f"{within}: {taken} accepted, {len(sent) - taken} turned away")


def _answers(record: Record) -> Iterator[Shown]:
    """What the adapter takes for granted in them."""
    has_commands = any(one.fields.get("action") != "step" for one in record.reports("command"))
    for op, sent in _by_op(record).items():
        for one in sent:
            if one.answer.outcome != "ok":
                yield wrong(
                    "answer", op, f"was not accepted: {_answered(one)}", ("objective", "refusal", *judged_by(ROWS))
                )
                break
            if op == "step" and (one.answer.result or "").split()[:1] != [one.operation.key]:
                yield wrong("answer", op, "it does not begin with the key of its step", ("isolation", "state-loss"))
                break
            if lacks := _lacks(one, has_commands, record):
                yield wrong("answer", op, lacks, (*judged_by(ROWS), "denied", "lost", "phantom"))
                break
        else:
            yield well("answer", op, f"{len(sent)} understood")


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


def _refusals(record: Record) -> Iterator[Shown]:
    rules = {rule.id: rule for rule in record.description.refusals}
    for what, one in record.refused.items():
        if one.answer.outcome == "ok":
            yield wrong("refused", what, f"was accepted: {_answered(one)}", TABLE)
        elif one.answer.outcome == "info" and what in record.vague and one.answer.status:
            yield well("refused", what, f"by status {one.answer.status}, which proves nothing by itself")
        elif one.answer.outcome == "info":
            say = f"{_answered(one)}: not in the adapter's table, so nobody would know whether it was done"
            yield wrong("refused", what, say, TABLE)
        elif one.operation.session == NOBODY and one.operation.op == "read" and not _absent(one, rules):
            yield wrong("refused", what, f"{_answered(one)}: which does not say that it is not there", ("denied",))
        else:
            yield well("refused", what, f"by the rule {one.answer.rule}")
    tried = {one.answer.rule for one in record.refused.values()}
    if rest := [name for name in rules if name not in tried]:
        yield well("refused", "", f"not tried, since it takes more than a trial: {', '.join(rest)}")


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
            said += [f"{name} shows a {op} that nobody sent" for name in others if tracing.moments(record, entry, name)]
    if said:
        yield wrong("refused", "and left", said[0], TABLE)
    elif record.refused:
        yield well("refused", "and left", f"nothing: none of {len(record.refused)} had an effect")


def _stream(record: Record) -> Iterator[Shown]:
    costs = ("interrupted",)
    if record.held is None:
        promised = record.description.hibernates and record.description.promises.get("streams") is True
        if promised and record.sessions:
            say = "none could be held, though promises.streams is made: no run can tell whether streams break (interrupted)"
            do = "where streams are of a kind that is not spoken here, state promises.streams = false"
            yield Shown(Said(about="stream", state="limited", say=say, do=do), ())
        return
    if record.broke_early is not None:
        yield wrong("stream", "", f"broke while its session ran: {record.broke_early.why}", costs)
    elif record.broke is None:
        yield wrong("stream", "", "did not end with its session: that one breaks would not be noticed", costs)
    else:
        yield well("stream", "", f"held while its session ran, and then ended: {record.broke.why}")


def _ended(record: Record) -> Iterator[Shown]:
    if record.lingering:
        say = f"of {len(record.lingering)} sessions that were stopped a process goes on, such as {record.lingering[0]}"
        yield wrong("ended", "", say, ("residue",))
    elif record.lingering is not None and record.sessions:
        yield well("ended", "", "no process of a session that was stopped goes on")


def _components(record: Record) -> Iterator[Shown]:
    before, after = _incarnations(record.before), _incarnations(record.after)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed:
        say = f"{', '.join(sorted(changed))} changed while nothing was broken"
        yield wrong("incarnations", "", say, ("misassigned", "split-brain"))
    elif before:
        yield well("incarnations", "", f"{len(before)} components, the same before and after")


def _incarnations(components: Sequence[Component]) -> dict[str, tuple[object, ...]]:
    return {one.name: (*(one.inc or ()), one.state) for one in components if one.group not in (SESSIONS, LINKS)}


def _by_op(record: Record) -> dict[str, list[Sent]]:
    found: dict[str, list[Sent]] = {}
    for one in record.sent:
        is_list = one.operation.op == "read" and one.operation.session is None
        found.setdefault("list" if is_list else one.operation.op, []).append(one)
    return found


def _answered(one: Sent) -> str:
    answer = one.answer
    return f"status {answer.status} {answer.error or ''}".strip() if answer.status else str(answer.error)
