"""What a session had lost by what keeps its files: its claim, from when that is made, and what its processes were given.

A session that asked for files that outlive a hibernation has a claim of its own, which may go when the session was told to end, and not before.
Each process of it is given that: what an earlier one had, a later one has too. What stands in it nobody sees here.
"""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from chaosreprise.checker import witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.coverage import EVER
from chaosreprise.checker.incarnations import BEGINS, row_before
from chaosreprise.checker.verdict import Doubt, Witness
from chaosreprise.history import Effect


class Unkept(NamedTuple):
    """A session without what keeps its files, as `seen`; `made` is its claim."""

    session: str
    made: Effect
    seen: Effect
    say: str


def unkept(case: Case, bare: Collection[str], said_lost: Callable[[Case, str, int, int], bool]) -> Iterator[Unkept]:
    """The first of each session."""
    for session in sorted(seen(case, bare)):
        found = [*_gone(case, session), *_not_given(case, session)]
        found = [one for one in found if not said_lost(case, session, one.made.lo, one.seen.hi)]
        yield from sorted(found, key=lambda one: one.seen.hi)[:1]


def _gone(case: Case, session: str) -> Iterator[Unkept]:
    made = {one.object: one for one in _claims(case, session) if one.mark == "made"}
    for one in _claims(case, session):
        if one.mark == "gone" and one.object in made and one.hi < _told_to_end(case, session):
            yield Unkept(
                session, made[one.object], one, f"its claim {one.object} was gone, and nobody had told it to end"
            )


def _not_given(case: Case, session: str) -> Iterator[Unkept]:
    """A process that began without a claim of its session that an earlier one had, or without any."""
    own = {_name(one): one for one in _claims(case, session) if one.mark == "made"}
    before: set[str] = set()
    for one in begun_in(case, session):
        has = own.keys() & {*one.homes}
        if one.hi < _told_to_end(case, session) and (lacks := before - has or (set() if has else {*own})):
            yield Unkept(session, own[min(lacks)], one, f"{_process(one)} was not given its claim {min(lacks)}")
        before |= has


def begun_in(case: Case, session: str) -> list[Effect]:
    """The beginnings of its processes, in their order."""
    effects = case.effects.sessions.get((case.contract.processes, session), ())
    return sorted((one for one in effects if one.mark in BEGINS), key=lambda one: (one.hi, one.lo))


def seen(case: Case, bare: Collection[str]) -> set[str]:
    """Sessions of which a claim was seen to be made, that asked for one."""
    return {
        one for one in case.our_sessions if one not in bare and any(each.mark == "made" for each in _claims(case, one))
    }


def had(case: Case, session: str, moment: int) -> bool:
    """Whether its claim surely was there then, and it had not been told to end."""
    made = (one.hi for one in _claims(case, session) if one.mark == "made")
    return min(made, default=EVER) < moment < _told_to_end(case, session)


def doubts(case: Case, bare: Collection[str]) -> Iterator[Doubt]:
    if case.stage not in ("clean", "end"):
        return
    yield from case.ledger_doubts([case.contract.homes], ": a claim may have come or gone")
    ran = [session for session in case.our_sessions if session not in bare and begun_in(case, session)]
    if lacking := sorted({*ran} - seen(case, bare)):
        why = f"of {len(lacking)} of {len(ran)} sessions that asked for a home no claim was seen, such as {lacking[0]}"
        do = "see whether they have one, with the labels of their session; if homes are kept elsewhere, take it out of the evidence"
        yield Doubt(what=case.contract.homes, why=why, do=do)


def told(case: Case, found: Unkept) -> Witness:
    seen, made = found.seen, found.made
    say = f"session {found.session}: from {case.seconds(seen.lo):.3f} s to {case.seconds(seen.hi):.3f} s: {found.say}"
    moments = [
        witness.moment(case, made.lo, made.hi, f"{made.object} made"),
        witness.moment(case, seen.lo, seen.hi, found.say, bad=True),
    ]
    baseline = case.first_armed is None or seen.hi < case.first_armed
    row = row_before(case, found.session, seen.hi)
    return witness.scene(case, row, say, seen.hi, moments, baseline=baseline, label="files")


def _told_to_end(case: Case, session: str) -> int:
    """When the first stop of it was sent that was not refused."""
    stops = (row for row in case.rows_of(session, "stop") if case.commands.outcome[row] != "fail")
    return min((case.commands.lo[row] for row in stops), default=EVER)


def _claims(case: Case, session: str) -> list[Effect]:
    return case.effects.sessions.get((case.contract.homes, session), [])


def _name(one: Effect) -> str:
    return one.object.rpartition(".")[0]


def _process(one: Effect) -> str:
    return witness.process_of(one.inc) or "a process of it"
