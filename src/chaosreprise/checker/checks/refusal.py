"""refusal: in a stated situation, a call was answered otherwise than is allowed, or not in time.

Definition (design, section 4: "a call in a stated situation answered outside its allowed codes, or not within its bound").
The contract names situations: `when` something holds, calls of these kinds are answered by one of `allow` (a status, and
what its body must contain; 0: no answer or no connection) within `within_s`. A call is judged that was sent while the
situation surely held: its answer if that came while it held, its time if it held for as long as the bound. What was sent in
time and answered after the situation had ended may have any answer.

Promise: what the experiment states.

Labels: *answer* (none of the allowed ones), *hang* (later than the bound, or never).

Needs. The situation itself: proven faults, and for `no-agent-online` and `no-agent-fits` the platform's reports of its agents, watched from the
beginning of the situation to the answer. Each stated situation has at least one call that could be judged, else unknown.

Witness. The call, its answer, the faults and agents around it.

Limits. A call's time is what the load saw; by as much as the load was late (`lag_ms`) or stood still (`stalled`) its time is
not held against the platform for certain, nor is a call that was lost meanwhile. Of a body only the 200 characters are known
that the history keeps, and of an accepted call none.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chaosreprise.checker import situations, stalls, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.coverage import EVER
from chaosreprise.checker.situations import Span
from chaosreprise.checker.table import number
from chaosreprise.checker.verdict import Doubt, Finding, Label, Witness
from chaosreprise.history.statements import Situation, When

NONE = 0  # the status of a call without an answer


class Wrong(NamedTuple):
    row: int
    situation: Situation
    label: Label
    took: int


@dataclass(slots=True)
class Tally:
    wrong: list[Wrong] = field(default_factory=list)
    judged: Counter[str] = field(default_factory=Counter)
    unwatched: int = 0
    slow_load: int = 0


def judge(case: Case) -> Finding:
    tally, lag = Tally(), _lag(case)
    for situation in case.contract.situations:
        none_online = situations.without_agents(case) if situation.when == situations.NO_AGENT else None
        for row, op in enumerate(case.commands.op):
            if op in situation.ops:
                spans = _spans(case, row, situation.when) if none_online is None else none_online
                any(_file(case, row, situation, span, lag, tally) for span in spans)
    tally.wrong.sort(key=lambda wrong: wrong.row)
    count = len(tally.wrong)
    return Finding(
        count=(count, count + tally.unwatched + tally.slow_load),
        baseline=sum(_is_baseline(case, wrong.row) for wrong in tally.wrong),
        labels=dict(Counter(wrong.label for wrong in tally.wrong)),
        evidence=sum(tally.judged.values()),
        witnesses=[_witness(case, wrong) for wrong in tally.wrong[: witness.LIMIT]],
        scope=[*_not_judged(case, tally), *_unsure(tally)],
    )


def _spans(case: Case, row: int, when: When) -> Iterable[Span]:
    """The times in which it held for this call."""
    return (
        situations.without_fitting(case, row) if when == situations.NO_FIT else situations.while_broken(case, row, when)
    )


def _file(case: Case, row: int, situation: Situation, span: Span, lag: int, tally: Tally) -> bool:
    """File one call under what is known of it; whether it could be, by what happened in this span."""
    commands, bound = case.commands, int(situation.within_s * 1e9)
    if not span.lo <= commands.lo[row] <= commands.hi[row] <= span.hi:
        return False
    answer = commands.answer[row]
    if answer is not None and answer.retry_s is not None:
        return False  # beyond a limit of rates: that says nothing of the situation
    ended = answer.hi if answer is not None else case.watch.done_at("load")
    if ended is None:
        return False
    took = ended - commands.hi[row]
    label: Label | None = None
    if took > bound and commands.hi[row] + bound <= span.hi:
        label = "hang"
    elif answer is None or ended > span.hi:
        return False
    elif not _is_allowed(case, row, situation):
        label = "answer"
    if label is not None and min(ended, span.hi) > span.sure:
        tally.unwatched += 1
    elif label is not None and _may_be_the_loads_own(case, row, label, ended, bound + lag):
        tally.slow_load += 1
    else:
        tally.judged[situation.name] += 1
        if label is not None:
            tally.wrong.append(Wrong(row, situation, label, took))
    return True


def _may_be_the_loads_own(case: Case, row: int, label: Label, ended: int, patience: int) -> bool:
    """Whether all that is wrong may be that the load was late or stood still: it read an answer late, or lost its patience."""
    sent, answer = case.commands.hi[row], case.commands.answer[row]
    waited = stalls.waited(case, sent, ended)
    if label == "hang":
        return waited <= patience
    return waited < ended - sent and (answer is None or not answer.status)


def _is_allowed(case: Case, row: int, situation: Situation) -> bool:
    answer = case.commands.answer[row]
    assert answer is not None
    body = answer.error or answer.result or ""
    return any(
        allowed.status == (answer.status or NONE) and re.search(allowed.body, body) for allowed in situation.allow
    )


def _lag(case: Case) -> int:
    """How late the load was, at the 99th percentile."""
    told = [event.value for event in case.table.observed if (event.source, event.signal) == ("load", "lag_ms")]
    lag = number(told[-1]) if told else None
    return 0 if lag is None else int(min(max(lag, 0) * 1e6, EVER))


def _is_baseline(case: Case, row: int) -> bool:
    return case.first_armed is None or case.commands.hi[row] < case.first_armed


def _witness(case: Case, wrong: Wrong) -> Witness:
    row, situation = wrong.row, wrong.situation
    answer = case.commands.answer[row]
    said = (
        "no answer" if answer is None else f"status {answer.status}" if answer.status else "no answer (connection lost)"
    )
    legal = " or ".join(_words(allowed.status, allowed.body) for allowed in situation.allow)
    late = f" after {wrong.took / 1e9:.3f} s" if wrong.label == "hang" else ""
    say = (
        f"{witness.name_of(case, row)}: {said}{late} in the situation {situation.name!r} ({situation.when}), "
        f"where {legal} is due within {situation.within_s:g} s"
    )
    until = answer.hi if answer is not None else case.commands.hi[row] + wrong.took
    return witness.build(case, row, say, until, [], baseline=_is_baseline(case, row), label=wrong.label)


def _words(status: int, body: str) -> str:
    return ("no answer" if status == NONE else f"status {status}") + (f" {body!r}" if body else "")


def _not_judged(case: Case, tally: Tally) -> Iterator[Doubt]:
    """Situations in which no call was judged: nobody knows how the platform answers there."""
    if not case.contract.situations:
        why = "the contract states no situation"
        yield Doubt(what="refusal", why=why, do="state in `refusals` how calls must be answered, and when")
    if case.stage not in ("clean", "end"):
        return
    for situation in case.contract.situations:
        if not tally.judged[situation.name]:
            why = f"no {_or(situation.ops)} was sent and answered while it surely held ({situation.when})"
            do = "break what it is about for longer, and send such calls meanwhile"
            yield Doubt(what=situation.name, why=why, do=do)


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)


def _unsure(tally: Tally) -> Iterator[Doubt]:
    if tally.unwatched:
        why = f"{tally.unwatched} calls were answered otherwise while nobody watched whether the situation still held"
        yield Doubt(what="refusal", why=why, do="see logs/recorder.log for why the platform's agents could not be read")
    if tally.slow_load:
        why = f"{tally.slow_load} calls took too long or were lost, but perhaps only as the load was late or stood still, or a way to the platform was not open"
        yield Doubt(what="load", why=why, do="run again on a machine with less else to do")


CHECK = Check(
    name="refusal",
    promise=None,
    ledgers=(),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("a call was answered otherwise than is allowed then", "calls were answered otherwise than is allowed then"),
    judge=judge,
    asks="situations",
    baseline=False,
    criteria=("SS-3.1", "SS-3.3", "SS-8.1", "SS-8.3", "SI-3.2"),
)
