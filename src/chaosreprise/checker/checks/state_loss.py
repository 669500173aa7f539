"""state-loss: a session had lost what it knew, and nobody said so.

Definition (design, section 4: "a step's (nonce, counter) shows a new or older memory, or files differ, with no loss reported
in between; memory and files are two promises"). Each step prints a name that the first step had left in the interpreter's memory,
the number of steps since, how large the ledger in its working directory was, and digests of what stands there: of all that it has
left, and of as much as an earlier one had left. Of two steps of a session that were
answered with that, the second sent after the first was answered: *memory*: the name is another one, or the number is not
larger; *files*: the ledger had not grown, although the first had written into it, or what that had left there are other bytes
now. Only what the contract promises, `memory` and
`files`, is judged. Where memory may be lost, as with the process that a hibernation ends, an old one must still not come back:
*stale*, the number is not larger, or the name is that of an earlier memory than the last one. Where the processes of sessions speak
themselves (`sign`): *memory*: one began when another one had spoken for the last time; *files*: it found no more lines of
processes in its home than that one had, or not that one's in its place. Where what keeps files is watched (`homes`): *files*: a session's claim was gone though
nobody had told the session to end, or a process of it began without one that an earlier process had, or without any. One violation
a session and kind.

Exempt: a loss that was said in between: by an answer for that session from an entry of the refusal table that is marked `absent`, or
by a report that it failed or ended. An error that says nothing of the session, as 500, is none: it may come from anything. Files of
a session whose start asked for none that outlive a hibernation (`persistent`).

Promise: those two of the contract; none has to be stated for the check as a whole.

Needs. Steps whose answers carry what they saw, or signs; at the end, a session that was asked before the first fault was proven, or spoke, and again
after it, and was answered, with its state or with an error: then it was not answered out of a lost memory. Where faults hit sessions, it is one of
those; of a pod that was deleted one that is not answered out of the very memory of before, since nothing else says that its container has ended. Where sessions
were hibernated that had been asked, one of those with promised files that was asked again. Where no step runs, and memory is not promised, a session that
had its claim before, and after, stands for one that was asked; and the claim of each session that asked for one must be seen.

Witness. The later step, and what both have seen.

Limits. What is lost and back before anybody asks is not seen. Of steps that overlap the order is not known. The ledger stands
for all files. Of claims it is seen that they stay, and not what is in them: told as not tested where no
step runs. Steps that print no digests are judged by the ledger's size, and that is told as not tested.
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chaosreprise.checker import homes, remembered, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.exempt import ENDED
from chaosreprise.checker.existence import denies
from chaosreprise.checker.incarnations import row_before
from chaosreprise.checker.life import SESSIONS
from chaosreprise.checker.remembered import Forgot
from chaosreprise.checker.signs import processes
from chaosreprise.checker.verdict import Doubt, Finding, Label, NotTested, Witness
from chaosreprise.history import Sign

PROMISES: tuple[Label, ...] = ("memory", "files")
NUMBER, DIGEST = "([0-9]{1,18})", "([0-9]{1,18}):([0-9a-f]+)"
PRINTED = re.compile(rf"(\S+)\s+(\S+)\s+{NUMBER}\s+{NUMBER}(?:\s+{DIGEST}\s+{DIGEST})?")


class Content(NamedTuple):
    """The first bytes of a ledger, by their digest."""

    size: int
    digest: str


class Seen(NamedTuple):
    """What a step has seen: a name and a number of the interpreter's memory, the size of the ledger in bytes; of its content
    what stands where an earlier one had left so much, and what itself has left."""

    row: int
    nonce: str
    number: int
    size: int
    known: Content | None = None
    left: Content | None = None

    def said(self) -> str:
        return f"memory {self.nonce}, step {self.number} of it, {self.size} bytes in files"


class Lost(NamedTuple):
    earlier: Seen
    later: Seen
    label: Label


def judge(case: Case) -> Finding:
    promised = [label for label in PROMISES if case.contract.promises.get(label)]
    by_session, bare = _seen(case), _without_home(case)
    lost = [
        found
        for session, seen in by_session.items()
        for label in _judged(promised, session in bare)
        for found in _lost(case, seen, label)
    ]
    forgot = [*remembered.forgotten(case, promised, bare, _was_said)]
    by_homes = case.contract.homes and "files" in promised
    unkept = [*homes.unkept(case, bare, _was_said)] if by_homes else []
    count = len(lost) + len(forgot) + len(unkept)
    witnesses = [
        *(_witness(case, found) for found in lost),
        *(_signed_witness(case, found) for found in forgot),
        *(homes.told(case, found) for found in unkept),
    ]
    heard = {session for session, each in case.once(processes).items() if each} | homes.seen(case, bare)
    asked = sum(len(seen) > 1 or _answered_otherwise(case, seen[0].row) for seen in by_session.values())
    return Finding(
        count=(count, count),
        baseline=sum(told.baseline for told in witnesses),
        labels=dict(Counter(told.label for told in witnesses if told.label)),
        evidence=asked + len(heard) if promised else 0,
        witnesses=witnesses[: witness.LIMIT],
        scope=[
            *_not_promised(promised),
            *_not_asked(case, by_session, promised, bare),
            *_not_asked_again(case, by_session, promised, bare),
            *(homes.doubts(case, bare) if by_homes else ()),
        ],
        untested=[
            *(
                NotTested(what=f"{label} kept", why="the platform does not promise it")
                for label in PROMISES
                if label not in promised
            ),
            *_not_compared(case, by_session, promised),
        ],
    )


def _seen(case: Case) -> dict[str, list[Seen]]:
    """By session, in the order of submission."""
    found: dict[str, list[Seen]] = defaultdict(list)
    for row, op in enumerate(case.commands.op):
        session = case.commands.session[row]
        if op == "step" and session is not None and (seen := _read(case, row)) is not None:
            found[session].append(seen)
    return found


def _read(case: Case, row: int) -> Seen | None:
    answer = case.commands.answer[row]
    said = (answer.result or "").strip() if answer is not None and answer.outcome == "ok" else ""
    found = PRINTED.fullmatch(said)
    if found is None or found[1] != case.commands.key[row]:
        return None
    seen = Seen(row, found[2], int(found[3]), int(found[4]))
    if found[5] is None:
        return seen
    return seen._replace(known=Content(int(found[5]), found[6]), left=Content(int(found[7]), found[8]))


def _without_home(case: Case) -> set[str]:
    """Sessions whose start asked for no files that outlive a hibernation."""
    sent = case.commands
    return {
        session
        for op, session, persistent in zip(sent.op, sent.session, sent.persistent, strict=True)
        if op == "start" and session is not None and not persistent
    }


def _judged(promised: Sequence[Label], bare: bool) -> list[Label]:
    labels = [label for label in promised if not (bare and label == "files")]
    return labels if "memory" in promised else [*labels, "stale"]


def _lost(case: Case, seen: Sequence[Seen], label: Label) -> Iterator[Lost]:
    """The first one of a session."""
    for before, later in _followed(case, seen):
        earlier = before[-1]
        if label == "files":
            earlier = next((one for one in _known(before, later) if one.left != later.known), earlier)
        if _is_lost(label, before, later) and not _said_lost(case, earlier.row, later.row):
            yield Lost(earlier, later, label)
            return


def _known(before: Sequence[Seen], later: Seen) -> Iterator[Seen]:
    """Those that had left as many bytes as it has looked at."""
    return (one for one in before if one.left and later.known and one.left.size == later.known.size)


def _is_lost(label: Label, before: Sequence[Seen], later: Seen) -> bool:
    last = before[-1]
    if label == "files":  # the last one has left its own two lines since
        return later.size <= last.size or any(one.left != later.known for one in _known(before, later))
    if later.nonce == last.nonce:
        return later.number <= last.number
    return label == "memory" or any(later.nonce == one.nonce for one in before)


def _followed(case: Case, seen: Sequence[Seen]) -> Iterator[tuple[Sequence[Seen], Seen]]:
    """Each step with those that surely were over when it was sent: steps that overlap have no order."""
    over: list[Seen] = sorted(seen, key=lambda one: _answered(case, one.row))
    for later in seen:
        before = [one for one in over if _answered(case, one.row) < case.commands.lo[later.row]]
        if before:
            yield before, later


def _answered(case: Case, row: int) -> int:
    answer = case.commands.answer[row]
    assert answer is not None
    return answer.hi


def _said_lost(case: Case, earlier: int, later: int) -> bool:
    """Whether the platform may have said between two steps that the session is lost."""
    return _was_said(case, case.commands.session[earlier] or "", case.commands.lo[earlier], _answered(case, later))


def _was_said(case: Case, session: str, since: int, until: int) -> bool:
    reports = case.reports.sessions.get(session, ())
    return any(report.state in ENDED and report.hi >= since and report.lo <= until for report in reports) or any(
        denies(case, row) and case.commands.hi[row] >= since and case.commands.lo[row] <= until
        for row in case.rows_of(session, "step")
    )


def _answered_otherwise(case: Case, earlier: int) -> bool:
    """Whether a later step of its session was answered with anything but success."""
    for row in case.rows_of(case.commands.session[earlier] or "", "step"):
        answer = case.commands.answer[row]
        if (
            answer is not None
            and answer.outcome != "ok"
            and answer.status is not None
            and answer.lo > case.commands.lo[earlier]
        ):
            return True
    return False


def _is_baseline(case: Case, found: Lost) -> bool:
    return case.first_armed is None or _answered(case, found.later.row) < case.first_armed


def _not_promised(promised: Sequence[str]) -> Iterator[Doubt]:
    if not promised:
        why = "the platform promises to keep neither memory nor files"
        yield Doubt(what="state-loss", why=why, do="state in [promises] what it keeps, or leave this check out")


def _not_compared(case: Case, by_session: dict[str, list[Seen]], promised: Sequence[str]) -> Iterator[NotTested]:
    if case.contract.homes and "files" in promised and not by_session:
        why = "no step was run: it is seen that each session keeps its claim, and not what is in it"
        yield NotTested(what="content of files", why=why)
    pairs = (pair for seen in by_session.values() for pair in _followed(case, seen))
    first = next(pairs, None) if "files" in promised else None
    if first and not any(any(_known(*pair)) for pair in itertools.chain([first], pairs)):
        why = "no step told what stands where an earlier one had written: they are judged by their size"
        yield NotTested(what="content of files", why=why)


def _not_asked(
    case: Case, by_session: dict[str, list[Seen]], promised: Sequence[str], bare: set[str]
) -> Iterator[Doubt]:
    proven = min((life.proven.hi for life in case.lives if life.proven is not None), default=None)
    if not promised or proven is None or case.stage not in ("clean", "end"):
        return
    hit = {life.component.removeprefix(SESSIONS) for life in case.lives if life.component.startswith(SESSIONS)}
    for session, seen in by_session.items():
        if hit and session not in hit:
            continue
        before = [one for one in seen if _answered(case, one.row) < proven]
        after = [one for one in seen if case.commands.lo[one.row] > proven]
        if before and hit and case.processes:  # that its pod is gone is the word of the API: its process may answer yet
            after = [one for one in after if one.nonce != before[-1].nonce]
        if before and (after or _answered_otherwise(case, before[-1].row)):
            return
    across = {*remembered.heard_across(case, proven, promised)}
    if not by_session and "memory" not in promised:
        across |= {session for session in homes.seen(case, bare) if homes.had(case, session, proven)}
    if any(not hit or session in hit for session in across):
        return
    which = "that a fault hit and that" if hit else "that"
    why = f"no session {which} had been asked before the fault was asked again after it"
    why += ", and did not answer as if it had not been hit" if hit and case.processes else ""
    yield Doubt(what="state-loss", why=why, do="put steps into the mix, and leave the load on after the fault")


def _not_asked_again(
    case: Case, by_session: dict[str, list[Seen]], promised: Sequence[str], bare: set[str]
) -> Iterator[Doubt]:
    if "files" not in promised or case.stage not in ("clean", "end"):
        return
    slept = False
    for session in {*by_session, *case.once(processes), *homes.seen(case, bare)} - bare:
        seen = by_session.get(session, [])
        for row in case.rows_of(session, "hibernate"):
            if (at := case.commands.accepted_at(row)) is None:
                continue
            sent = case.commands.lo[row]
            before = any(_answered(case, one.row) < sent for one in seen)
            told = remembered.found_home_before(case, session, sent)
            again = before and any(case.commands.lo[one.row] > at for one in seen)
            kept = not by_session and homes.had(case, session, sent)
            if again or (told and remembered.found_home_after(case, session, at)):
                return
            if kept and any(one.lo > at for one in homes.begun_in(case, session)):
                return
            slept |= before or told or kept
    if slept:
        why = "no session whose files are promised was asked before a hibernation and again after it"
        yield Doubt(what="state-loss", why=why, do="ask for more of workload.sleepers, and leave the load on")


def _witness(case: Case, found: Lost) -> Witness:
    row = found.later.row
    at, before = case.seconds(_answered(case, row)), case.seconds(_answered(case, found.earlier.row))
    say = (
        f"{witness.name_of(case, row)}: answered at {at:.3f} s: {found.later.said()}; "
        f"{case.commands.cmd[found.earlier.row]} had at {before:.3f} s: {found.earlier.said()}"
    )
    if found.label == "files" and found.later.size > found.earlier.size:
        say += f", and the first {found.earlier.left.size if found.earlier.left else 0} bytes are not what it had left there"
    return witness.build(
        case, row, say, _answered(case, row), [], baseline=_is_baseline(case, found), label=found.label
    )


def _signed_witness(case: Case, found: Forgot) -> Witness:
    """What two processes of one session said."""
    earlier, later = found.earlier, found.later
    what = "another process, with a memory of its own"
    if found.label == "files":
        what = f"it found {_lines(later.kept)} in its home, where the earlier one had left number {earlier.kept}"
        what += ", and another in its place" if remembered.is_missing(earlier, later) else ""
    say = (
        f"session {found.session}: process {_process(later)} began at {case.seconds(later.lo):.3f} s to {case.seconds(later.hi):.3f} s: {what}; "
        f"until {case.seconds(earlier.hi):.3f} s it was {_process(earlier)}, with {earlier.number} reports"
    )
    row = row_before(case, found.session, later.hi)
    told = witness.moment(case, later.lo, later.hi, f"first report of {_process(later)}", bad=True)
    last = witness.moment(case, earlier.lo, earlier.hi, f"last report of {_process(earlier)}")
    baseline = case.first_armed is None or later.hi < case.first_armed
    return witness.scene(case, row, say, later.hi, [last, told], baseline=baseline, label=found.label)


def _lines(kept: int | None) -> str:
    return "no earlier line" if kept == 1 else f"{(kept or 1) - 1} earlier lines"


def _process(sign: Sign) -> str:
    return witness.speaker_of(sign.inc)


CHECK = Check(
    name="state-loss",
    promise=None,
    ledgers=(),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("a session had lost its state without a word", "sessions had lost their state without a word"),
    judge=judge,
    criteria=("SS-4.1", "SS-4.2", "SS-11.1", "SI-1.2", "SX-2", "SX-7", "SX-8", "SX-9"),
)
