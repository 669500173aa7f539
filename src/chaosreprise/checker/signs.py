"""What the processes of sessions said of themselves: `sign` in a history, of our sessions.

A process surely lived from when its first sign was made at the latest to when its last one was made at the earliest. Silence is no end: a link that
is cut looks the same. A session that surely ran for a while and of which nothing was heard then was not watched.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from chaosreprise.checker.case import Case
from chaosreprise.checker.incarnations import Incarnation, made_by
from chaosreprise.checker.verdict import Doubt
from chaosreprise.history import Effect, Sign

RUNNING = "running"
HEARD_WITHIN = 10_000_000_000  # ns, of a process that runs, on a busy machine


def processes(case: Case) -> dict[str, list[list[Sign]]]:
    """By session, the signs of each of its processes, in the order of their numbers. Ask for it by `Case.once(processes)`."""
    ours = {*case.our_sessions, *case.once(made_by)}
    found: dict[tuple[str, str], list[Sign]] = defaultdict(list)
    for sign in case.table.signs:
        if sign.session in ours and sign.ledger in case.contract.signs:
            found[sign.session, str(sign.inc)].append(sign)
    by_session: dict[str, list[list[Sign]]] = defaultdict(list)
    for (session, _), signs in found.items():
        by_session[session].append(sorted(signs, key=lambda sign: sign.number))
    return by_session


def lives(case: Case) -> dict[str, list[Incarnation]]:
    """By session, in the order in which they surely had begun."""
    found = {session: [_life(session, signs) for signs in each] for session, each in case.once(processes).items()}
    for each in found.values():
        each.sort(key=lambda life: (life.lo, life.hi))
    return found


def _life(session: str, signs: Sequence[Sign]) -> Incarnation:
    """An end is one only where the process had been asked for it."""
    first, last = signs[0], signs[-1]
    begin = Effect(lo=first.lo, hi=first.hi, ledger=first.ledger, object=str(first.inc[0]), mark="up", inc=first.inc)
    asked = [sign for sign in signs if sign.ending]
    ends = tuple(
        Effect(lo=sign.lo, hi=sign.hi, ledger=sign.ledger, object=begin.object, mark="down", inc=sign.inc)
        for sign in asked[:1]
    )
    end = ends[0] if ends else None
    return Incarnation(str(first.inc), session, begin, first.hi, last.lo, end, by_name=bool(ends), ends=ends)


def unheard(case: Case) -> Iterator[Doubt]:
    """Sessions that were reported to run, for so long that their process must have spoken, and did not."""
    silent = [
        (session, lo)
        for session in case.our_sessions
        for lo, hi in _ran(case, session)
        if not _heard(case, session, lo, hi)
    ]
    if silent:
        session, since = silent[0]
        count = len({name for name, _ in silent})
        why = f"{count} sessions ran and no process of theirs was heard of, the first {session}, since {case.seconds(since):.3f} s"
        do = "see whether control.template is that of the witness, and whether its pods reach the address in `listen`"
        yield Doubt(what=f"ledger {' and '.join(case.contract.signs)}", why=why, do=do)


def _ran(case: Case, session: str) -> Iterator[tuple[int, int]]:
    """When it surely was running, by its rows, for long enough."""
    reports = case.reports.sessions.get(session, ())
    for number, report in enumerate(reports):
        until = reports[number + 1].lo if number + 1 < len(reports) else case.watched_until
        if report.state == RUNNING and until - report.hi >= HEARD_WITHIN:
            yield report.hi, until


def _heard(case: Case, session: str, lo: int, hi: int) -> bool:
    return any(sign.hi >= lo and sign.lo <= hi for signs in case.once(processes).get(session, ()) for sign in signs)


def doubts(case: Case, suffix: str) -> list[Doubt]:
    """When nobody listened, and who was not heard."""
    if case.stage not in ("clean", "end"):
        return case.ledger_doubts(case.contract.signs, suffix)
    return [*case.ledger_doubts(case.contract.signs, suffix), *unheard(case)]
