"""residue: after the end something of ours is still there.

Definition (design, section 4: "after the end: our tagged sessions not terminated, processes, objects but for those that
the contract lets stay, never-ending commands"). The end is that of `close`, when all was stopped and had settled; at the
end of `clean` only what had been told to stop by then. Of each session that a start of ours made, violated if one of these
is left: *session*: the platform's last word on it is neither terminated nor failed; *object*: the ledger says `made` and no
`gone` after it; *process*: the ledger saw it begin, and not end; *command*: the platform's row of one of its commands is
neither completed nor failed, although that was settled. One violation a session; the labels count the kinds.

It must have been told to end: its stop was accepted or surely happened, or the platform refused each stop of it; or it should
not have been there at all: its start was refused, or was answered with another session. A command must end in any case.

Exempt: canaries, until the control has removed them (what had not been told to stop when `clean` ended); a session of
which the load never knew, since its start had no clear answer: it is told, and tidied.

Promise: none has to be stated. Ending means that nothing is left.

Needs. The rows and a ledger of objects covered until the end, which shows what a start makes and a stop ends; settling. At
least one session whose end was seen.

Witness. The command that should have ended it, and what is left.

Limits. A process that outlives its object is seen only where ends name
their process. Sessions that no start of this run made count as possible.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from chaosreprise.checker import observable, outcome, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.incarnations import made_by, population
from chaosreprise.checker.leftovers import Left, Remains
from chaosreprise.checker.verdict import Doubt, Finding, NotTested, Witness


class Residue(NamedTuple):
    """What is left of one session, and the command that should have ended it. `sure`: nothing could have hidden its end."""

    session: str
    row: int
    left: list[Left]
    sure: bool


def judge(case: Case) -> Finding:
    made = case.once(made_by)
    remains = Remains(case, case.once(population))
    found: list[Residue] = []
    ended = spared = unheard = 0
    for session, start in made.items():
        left = remains.of(session)
        if not left:
            ended += remains.ended(session)
        elif _unheard_of(case, session, start):
            unheard += 1
        elif told := _told(case, session, start):
            found += [Residue(session, told[0], left, told[1] and all(part.sure for part in left))]
        elif commands := _settled_commands(case, left):
            found.append(Residue(session, commands[0].row or start, commands, all(part.sure for part in commands)))
        elif case.stage == "clean":
            spared += 1
        elif case.settle.until(start) is not None:
            found.append(Residue(session, start, left, sure=False))
    strangers = remains.strangers(made)
    sure = [residue for residue in found if residue.sure]
    return Finding(
        count=(len(sure), len(found) + len(strangers)),
        baseline=sum(_is_baseline(case, residue) for residue in sure),
        labels=dict(Counter(kind for residue in sure for kind in {part.kind for part in residue.left})),
        exempt=spared + unheard,
        evidence=ended,
        witnesses=[_witness(case, residue) for residue in sure[: witness.LIMIT]],
        scope=[
            *_gap_doubts(case),
            *_doubts(found, strangers),
            *_unreported(case, made),
            *observable.unseen(case, _of_objects(case)),
        ],
        untested=_untested(unheard),
    )


def _unheard_of(case: Case, session: str, start: int) -> bool:
    """Whether the load never learned that there is such a session."""
    return case.commands.outcome[start] == "info" and not case.rows_of(session, "stop")


def _told(case: Case, session: str, start: int) -> tuple[int, bool] | None:
    """The command after which it should be gone, and whether it surely was told; None while nothing says that it should."""
    commands, stops = case.commands, case.rows_of(session, "stop")
    settled = [row for row in stops if case.settle.until(row) is not None]
    if heard := [row for row in settled if outcome.happened(case, row)]:
        return heard[-1], True
    orphan = commands.outcome[start] == "fail" or commands.session[start] != session
    if orphan and case.settle.until(start) is not None:
        return start, True
    if not settled or case.stage != "end":
        return None
    answers = [commands.answer[row] for row in settled]
    refused = all(
        answer is not None and answer.outcome == "fail" and answer.rule != outcome.UNCONNECTED for answer in answers
    )
    return settled[-1], refused


def _settled_commands(case: Case, left: Sequence[Left]) -> list[Left]:
    return [
        part
        for part in left
        if part.kind == "command" and part.row is not None and case.settle.until(part.row) is not None
    ]


def _is_baseline(case: Case, residue: Residue) -> bool:
    """Whether its end was due before the first fault was armed."""
    bound = case.contract.bounds.get(case.commands.op[residue.row], case.settle.settle_ns)
    return case.first_armed is None or case.commands.hi[residue.row] + bound <= case.first_armed


def _gap_doubts(case: Case) -> list[Doubt]:
    ledgers = {entry.ledger for entry in case.attributed.entries.values() if entry.mark not in ("b", "e")}
    ledgers |= case.processes
    if not _of_objects(case):
        why = "no ledger of objects is declared, so only the platform's own rows say what is left"
        do = "declare in `attribution` a ledger that shows what a start makes and a stop ends"
        return [Doubt(what="ledger", why=why, do=do)]
    return case.ledger_doubts(ledgers, ": something could be left that nobody saw begin")


def _of_objects(case: Case) -> list[str]:
    """The kinds that make and end objects, as far as a ledger shows these."""
    entries = case.attributed.entries.items()
    return sorted(op for op, entry in entries if entry.mark in ("made", "gone") and entry.level != "none")


def _doubts(found: Sequence[Residue], strangers: Sequence[str]) -> Iterator[Doubt]:
    if unsure := [residue for residue in found if not residue.sure]:
        names = ", ".join(residue.session for residue in unsure[:3])
        why = f"{len(unsure)} sessions may be left ({names}): nobody surely told them to end, or their end may have been missed"
        yield Doubt(
            what="residue", why=why, do="see why they were not stopped, and whether all ledgers were watched to the end"
        )
    if strangers:
        why = f"{len(strangers)} sessions are reported that no start of this run made, and have not ended ({strangers[0]})"
        yield Doubt(what="residue", why=why, do="find out whose they are; leave those of others out of the history")


def _unreported(case: Case, made: Mapping[str, int]) -> list[Doubt]:
    """Without a row of it nothing says that the platform let go of a session that it had accepted."""
    accepted = [session for session, start in made.items() if case.commands.outcome[start] == "ok"]
    never = [session for session in accepted if session not in case.reports.sessions]
    if not never or case.stage not in ("clean", "end"):
        return []
    why = f"the platform never reported {len(never)} of our sessions, such as {never[0]}: one could be left"
    return [Doubt(what="rows", why=why, do="see whether its rows carry the run's tag, and whether they were read")]


def _untested(unheard: int) -> list[NotTested]:
    if not unheard:
        return []
    why = f"the starts of {unheard} had no clear answer, so the load did not know that they are there"
    return [NotTested(what="the end of sessions that nobody stopped", why=why)]


def _witness(case: Case, residue: Residue) -> Witness:
    commands, row = case.commands, residue.row
    at, until = case.seconds(commands.hi[row]), case.watched_until
    answered = {"ok": "accepted", "fail": "refused", "info": "unclear"}[commands.outcome[row]]
    parts = ", ".join(part.say for part in residue.left)
    say = f"{witness.name_of(case, row)}: sent at {at:.3f} s, {answered}; at the end, at {case.seconds(until):.3f} s, there is left: {parts}"
    moments = [witness.moment(case, until, until, part.say, bad=True) for part in residue.left]
    return witness.scene(case, row, say, until, moments, baseline=_is_baseline(case, residue))


CHECK = Check(
    name="residue",
    promise=None,
    ledgers=("slots",),
    levels=("keyed", "counted", "state", "none"),
    early=False,
    says=("a session of ours was not gone at the end", "sessions of ours were not gone at the end"),
    judge=judge,
    baseline=False,
    criteria=("SS-2.2", "SS-3.2", "SS-3.3", "SI-1.1"),
)
