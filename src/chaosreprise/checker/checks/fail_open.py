"""fail-open: while the store was away, the platform answered as if it knew.

Definition (design, section 4: "while the store is proven away: success without row and effect at the end, or 'does not
exist' for what existed before and after"). The store is away from the proof of a fault of the group `database` that takes
it away, freezes it, refuses or hangs, until the undo of that begins; a fault of the group `links` may leave another way
open. Violated by a call that was sent and answered within: *accepted*: its answer is success, and when all had settled
there is neither a row of the platform for it nor an effect; *denied*: its answer says that its session does not exist, or
is a list without it, although it existed before and after. A store that is read-only, or that no commit reaches, keeps
nothing either, but can be read: there, only *accepted* is judged.

Exempt. Success that has its effect, which the platform may have from elsewhere, and of a stop whose session ended otherwise; if
it had to be sent again for that, it counts as possible. Success with its row means that the store was not away: the fault leaked, and
the whole run is unknown. An error, or no answer at all, is what is expected here.

Promise: none has to be stated. Success says that it is kept, and "does not exist" that it was looked for.

Needs. Faults on `database`; rows read at the end, and ledgers covered from the call until settled; entries of the refusal
table that say `absent`. Calls that the platform answered while the store was away; that none of them was a read is told.
While it could be read, only such as are no reads.

Witness. The call, its answer, the outage around it.

Limits. What was answered from a cache with its right content is no violation. A call that may have been sent or answered
outside counts as possible only.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from chaosreprise.checker import exempt, existence, outage, outcome, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.checks import lost
from chaosreprise.checker.life import Life
from chaosreprise.checker.verdict import Doubt, Finding, Label, NotTested, Witness


class Wrong(NamedTuple):
    """`missing`: what a list lacks. `store`: how the store was."""

    row: int
    label: Label
    sure: bool
    store: str = "away"
    missing: str = ""


def judge(case: Case) -> Finding:
    wrong: dict[int, Wrong] = {}
    answered: set[int] = set()
    for life in outage.outages(case):
        for row in range(len(case.commands)):
            inside = outage.surely_in(case, row, life)
            asked = outage.is_outage(life) or case.commands.op[row] != "read"
            answered.update([row] if inside and asked and outage.answered(case, row) else [])
            if (inside or outage.perhaps_in(case, row, life)) and (found := _wrong(case, row, inside, life)):
                wrong[row] = found
    sure = [found for found in wrong.values() if found.sure]
    return Finding(
        count=(len(sure), len(wrong)),
        labels=dict(Counter(found.label for found in sure)),
        evidence=len(answered),
        witnesses=[_witness(case, found) for found in sure[: witness.LIMIT]],
        scope=[*_doubts(case, list(wrong.values()), answered), *_unnamed(case)],
        untested=_untested(case, answered),
    )


def _wrong(case: Case, row: int, inside: bool, life: Life) -> Wrong | None:
    commands, is_away = case.commands, outage.is_outage(life)
    if commands.op[row] != "read" and commands.outcome[row] == "ok":
        return _accepted(case, row, inside, outage.state(life))
    if not is_away:  # it can be read
        return None
    answer, session = commands.answer[row], commands.session[row]
    there = case.once(existence.existence)
    if existence.denies(case, row) and session is not None and answer is not None:
        existed = there.all_the_time(session, commands.lo[row], answer.hi)
        return None if existed is False else Wrong(row, "denied", inside and existed is True)
    if missing := dict(there.missing(row)):
        session = max(missing, key=lambda name: missing[name] is True)
        return Wrong(row, "denied", inside and missing[session] is True, missing=session)
    return None


def _accepted(case: Case, row: int, inside: bool, store: str) -> Wrong | None:
    has = outage.row_of(case, row)
    if case.attributed.effect_of[row] is not None or has:
        return None
    if exempt.reason(case, row):
        return Wrong(row, "accepted", sure=False) if _sent_again(case, row) else None
    if not inside and row not in case.once(lost.tally_of).lost:
        return None
    return Wrong(row, "accepted", inside and has is False and row in case.once(lost.tally_of).lost, store)


def _sent_again(case: Case, row: int) -> bool:
    """A stop that was repeated once it was accepted, and the repetition may be what ended the session."""
    commands, accepted = case.commands, case.commands.accepted_at(row)
    if commands.op[row] != "stop" or accepted is None:
        return False
    others = case.rows_of(commands.session[row] or "", "stop")
    return any(commands.lo[other] > accepted and outcome.happened(case, other) is not False for other in others)


def _doubts(case: Case, wrong: list[Wrong], answered: set[int]) -> Iterator[Doubt]:
    if unsure := [found for found in wrong if not found.sure]:
        name = case.commands.cmd[unsure[0].row]
        why = f"{len(unsure)} calls may have been answered as if the store had been there ({name})"
        do = "see whether rows and ledgers were read to the end, and hold the outage for longer"
        yield Doubt(what="fail-open", why=why, do=do)
    if case.stage in ("clean", "end") and not answered:
        why = "no call was sent and answered while the store was proven away, and no command while it kept nothing"
        do = "take the database away (it must not answer), and send commands and reads meanwhile"
        yield Doubt(what="fail-open", why=why, do=do)
    unhealed = [life for life in outage.outages(case) if life.proven is not None and life.healing is None]
    if unhealed and not case.live:
        yield _unhealed(unhealed[0])


def _untested(case: Case, answered: set[int]) -> list[NotTested]:
    if any(case.commands.op[row] == "read" for row in answered) or not answered:
        return []
    return [NotTested(what="what is said of sessions while the store is away", why="no read was answered then")]


def _unhealed(life: Life) -> Doubt:
    why = f"nothing says until when {life.fault} kept the store from keeping anything"
    return Doubt(what="fail-open", why=why, do="run `chaos reprise heal`, then the experiment again")


def _unnamed(case: Case) -> Iterator[Doubt]:
    if not case.once(existence.absent_rules):
        why = 'no entry of the refusal table says which answers mean "does not exist"'
        yield Doubt(what="refusals", why=why, do="mark them `absent` in the adapter's refusal table")


def _witness(case: Case, found: Wrong) -> Witness:
    row = found.row
    answer = case.commands.answer[row]
    assert answer is not None
    at, name = case.seconds(answer.hi), witness.name_of(case, row)
    if found.label == "accepted":
        until = case.settle.until(row) or case.watched_until
        say = f"{name}: accepted at {at:.3f} s, while the store was {found.store}; at {case.seconds(until):.3f} s there is neither a row for it nor an effect"
        return witness.build(case, row, say, until, [], baseline=False, label="accepted", missing="no row, no effect")
    if found.missing:
        name, what = (
            f"{case.commands.cmd[row]} list",
            f"without session {found.missing}, which existed before and after",
        )
    else:
        what = "does not exist, though it did before and after"
    say = f"{name}: answered at {at:.3f} s, while the store was away: {what}"
    told = witness.build(case, row, say, answer.hi, [], baseline=False, label="denied")
    return msgspec.structs.replace(told, session=found.missing or told.session)


CHECK = Check(
    name="fail-open",
    promise=None,
    ledgers=("rows", "slots"),
    levels=("keyed", "counted", "state"),
    early=False,
    says=("a call was answered as if the store had been there", "calls were answered as if the store had been there"),
    judge=judge,
    baseline=False,
    criteria=("SS-5.2", "SS-8.3"),
)
