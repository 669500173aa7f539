"""denied: an answer says that a session does not exist, which exists, or a list has lost it.

Definition (from the promise that nothing which exists is denied during or after an outage, and no list shrinks). *denied*: an
answer says, by an entry of the refusal table that is marked `absent`, that a session does not exist, which existed while the
call was under way. *shrunk*: a list lacks a session that an earlier list for the same user had held, and that existed. A
session existed if the platform had shown it before the call was sent and showed it again after the answer: in a read, in a
list, in its rows, or by accepting a command for it.

Exempt. From the moment on at which its stop was sent and not surely refused, or at which the platform may have reported it
as ended, a session may be gone. An error, or no answer, denies nothing. What the platform says while its store is broken is no
evidence that a session exists.

Promise: none has to be stated. A name that was given out is there until its session ends.

Needs. Reads, at least one of them while something was broken and one after that which finds what it asks for; entries of the
refusal table that say `absent`. It is told when the platform answered no read while something was broken, and when no list came
after that which could have lost something.

Witness. The call, its answer, the faults around it.

Limits. What is denied from then on, and never shown again, counts as possible: nobody knows from this whether it is there (see
`residue`). A list that may not be whole is none; of a session that no list has held yet nothing is asked.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from chaosreprise.checker import existence, exposure, outage, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.verdict import Doubt, Finding, Label, NotTested, Witness


class Wrong(NamedTuple):
    row: int
    session: str
    label: Label


@dataclass(slots=True)
class Tally:
    """`found`: calls that were answered with what they asked for; `perhaps`: denied, and nothing shows whether it was there.
    `lists`: those that could have lost something, since the first fault."""

    wrong: list[Wrong] = field(default_factory=list)
    perhaps: list[Wrong] = field(default_factory=list)
    found: list[int] = field(default_factory=list)
    lists: int = 0


def judge(case: Case) -> Finding:
    tally = Tally()
    for row in range(len(case.commands)):
        _file(case, row, tally)
    count = len(tally.wrong)
    return Finding(
        count=(count, count + len(tally.perhaps)),
        baseline=sum(_is_baseline(case, wrong.row) for wrong in tally.wrong),
        labels=dict(Counter(wrong.label for wrong in tally.wrong)),
        evidence=len(tally.found) + count,
        witnesses=[_witness(case, wrong) for wrong in tally.wrong[: witness.LIMIT]],
        scope=[*_unsure(case, tally), *_not_asked(case, tally)],
        untested=_untested(case, tally),
    )


def _file(case: Case, row: int, tally: Tally) -> None:
    answer, session = case.commands.answer[row], case.commands.session[row]
    if answer is None:
        return
    there = case.once(existence.existence)
    if answer.outcome == "ok" and answer.listed is not None:
        missing = list(there.missing(row))
        tally.lists += _could_shrink(case, row)
        tally.wrong += [Wrong(row, name, "shrunk") for name, existed in missing if existed]
        tally.perhaps += [Wrong(row, name, "shrunk") for name, existed in missing if not existed]
        tally.found += [] if missing or not answer.listed else [row]
    elif answer.outcome == "ok" and case.commands.op[row] == "read":
        tally.found.append(row)
    elif session is not None and existence.denies(case, row):
        existed = there.all_the_time(session, case.commands.lo[row], answer.hi)
        if existed is not False:
            (tally.wrong if existed else tally.perhaps).append(Wrong(row, session, "denied"))


def _could_shrink(case: Case, row: int) -> bool:
    held = case.once(existence.existence).listed.get(case.commands.user[row], {})
    begun = case.first_armed is None or case.commands.lo[row] >= case.first_armed
    return begun and any(since <= case.commands.lo[row] for since in held.values())


def _is_baseline(case: Case, row: int) -> bool:
    return case.first_armed is None or case.commands.hi[row] < case.first_armed


def _unsure(case: Case, tally: Tally) -> Iterator[Doubt]:
    if not case.once(existence.absent_rules):
        why = 'no entry of the refusal table says which answers mean "does not exist"'
        yield Doubt(what="refusals", why=why, do="mark them `absent` in the adapter's refusal table")
    if tally.perhaps:
        first = tally.perhaps[0]
        why = (
            f"{len(tally.perhaps)} answers deny what existed before, and nothing shows whether it still did "
            f"({case.commands.cmd[first.row]}, session {first.session})"
        )
        yield Doubt(what="denied", why=why, do="see what became of it: in the platform's rows, and by `residue`")


def _not_asked(case: Case, tally: Tally) -> Iterator[Doubt]:
    """Reads during and after an outage: without them nobody knows what they would have said."""
    proven = [life for life in case.lives if life.proven is not None]
    if case.stage not in ("clean", "end") or not proven:
        return
    if any(not life.momentary for life in proven) and not _reads_meanwhile(case):
        why = "no read was sent while something was broken"
        yield Doubt(what="denied", why=why, do="put reads into the mix, and hold the fault for longer")
    healed = max(life.undone.hi if life.undone is not None else case.last_sign for life in proven)
    if not any(case.commands.lo[row] >= healed for row in tally.found):
        why = "after all was healed no read found what it asked for"
        yield Doubt(what="denied", why=why, do="put reads into the mix, and see their answers in history/load.jsonl")


def _reads_meanwhile(case: Case) -> list[int]:
    """Reads that were sent while something surely was broken that was held so."""
    held = [exposure.window(case, life) for life in case.lives if not life.momentary]
    reads = [row for row, op in enumerate(case.commands.op) if op == "read"]
    return [row for row in reads if any(lo <= case.commands.lo[row] <= case.commands.hi[row] <= hi for lo, hi in held)]


def _untested(case: Case, tally: Tally) -> list[NotTested]:
    found = []
    if not tally.lists:
        why = "no whole list was read after one that held something of ours"
        found.append(NotTested(what="lists that shrink", why=why))
    meanwhile = _reads_meanwhile(case)
    if meanwhile and not any(outage.answered(case, row) for row in meanwhile):
        found.append(NotTested(what="reads while something is broken", why="none of them was answered"))
    return found


def _witness(case: Case, wrong: Wrong) -> Witness:
    row = wrong.row
    answer = case.commands.answer[row]
    assert answer is not None
    at = case.seconds(answer.hi)
    if wrong.label == "shrunk":
        say = f"{case.commands.cmd[row]} list: answered at {at:.3f} s without session {wrong.session}, which existed before and after"
    else:
        say = f"{witness.name_of(case, row)}: answered at {at:.3f} s that it does not exist, though it did before and after"
    told = witness.build(case, row, say, answer.hi, [], baseline=_is_baseline(case, row), label=wrong.label)
    return msgspec.structs.replace(told, session=wrong.session)


CHECK = Check(
    name="denied",
    promise=None,
    ledgers=(),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("what exists was denied", "answers denied what exists"),
    judge=judge,
    criteria=("RP-5",),
)
