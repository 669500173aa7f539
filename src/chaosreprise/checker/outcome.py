"""What became of the commands that nobody answered clearly (`info`): happened, absent, or still open.

*Happened*: an effect that can only be its own, or a row of the platform that can only be its own and says completed.
*Absent*: no effect, in covered time until settled. Everything else is open: once or not at all.
"""

from collections.abc import Sequence

from chaosreprise.checker.attribution import begin_mark
from chaosreprise.checker.case import Case
from chaosreprise.checker.coverage import Gap
from chaosreprise.checker.matching import sweep
from chaosreprise.checker.table import FINISHED

UNCONNECTED = "unconnected"  # the rule of a call that reached nobody


def resolve(case: Case) -> dict[int, bool | None]:
    """For each unclear command but reads: whether it happened; None: nobody knows."""
    if case.unclear is None:
        rows = [
            row for row, kind in enumerate(case.commands.outcome) if kind == "info" and case.commands.op[row] != "read"
        ]
        ambiguous = _ambiguous(case)
        case.unclear = {row: None if row in ambiguous else _resolve(case, row) for row in rows}
    return case.unclear


def happened(case: Case, row: int) -> bool | None:
    """Whether this command happened, by its answer or by what was found later."""
    outcome = case.commands.outcome[row]
    return resolve(case).get(row) if outcome == "info" else outcome == "ok"


def claimed(case: Case, row: int) -> bool:
    """Nobody was told, but exactly one row of the platform is left for it, and that says completed.

    A row that was not there yet when the command was settled is somebody else's, such as a second stop by who tidies up.
    """
    commands, session, op = case.commands, case.commands.session[row], case.commands.op[row]
    if session is None or commands.outcome[row] != "info":
        return False
    unclear = [other for other in case.rows_of(session, op) if commands.outcome[other] == "info"]
    left = [name for name in case.unnamed_rows(session, op) if not _came_later(case, row, name)]
    return len(unclear) == 1 and [case.rows_said[session, op][name] for name in left] == [FINISHED]


def _came_later(case: Case, row: int, name: str) -> bool:
    """Whether this row of the platform was surely not there yet when the command was settled."""
    first, until = case.reports.commands[name][0], case.settle.until(row)
    return until is not None and first.lo > until and not case.watch.gaps(first.source, case.commands.lo[row], until)


def gaps(case: Case, row: int, until: int) -> list[Gap]:
    """Where its effect could have been missed: gaps of its ledgers, or of its session there, from submission to `until`."""
    lo, session, found = case.commands.lo[row], case.commands.session[row], []
    for ledger in case.shown_by(case.commands.op[row]):
        found += case.watch.gaps(ledger, lo, until, dead_or_alive=True)
        if session is not None:
            found += case.watch.gaps(f"{ledger}/{session}", lo, until)
    return found


def _resolve(case: Case, row: int) -> bool | None:
    if case.attributed.effect_of[row] is not None or claimed(case, row):
        return True
    until = case.settle.until(row)
    decided = until is not None and case.attributed.level(case.commands.op[row]) != "none"
    if not decided or until is None or begun(case, row) or gaps(case, row, until):
        return None
    return False


def begun(case: Case, row: int) -> bool:
    """Whether the mark before its payload was seen, as only steps leave one."""
    entry = case.attributed.entries.get(case.commands.op[row])
    return entry is not None and (entry.ledger, case.commands.key[row], begin_mark(entry)) in case.effects.keyed


def _ambiguous(case: Case) -> set[int]:
    """Unclear commands that share a session and kind, so that it is not known which of them acted."""
    found: set[int] = set()
    for group, rows in case.attributed.groups.items():
        unclear = [row for row in rows if case.commands.outcome[row] == "info"]
        if unclear and _undecided(case, group, rows, unclear):
            found.update(unclear)
    return found


def _undecided(case: Case, group: tuple[str, str], rows: Sequence[int], unclear: Sequence[int]) -> bool:
    effects = [transition.hi for transition in case.attributed.of[group]]
    able = [row for row in rows if case.commands.outcome[row] != "fail"]
    if case.attributed.level(case.commands.op[rows[0]]) == "state":
        return bool(effects) and len(able) > 1
    last, _ = sweep(able, case.commands.lo, effects, lambda row: int(row in unclear))
    first, _ = sweep(able, case.commands.lo, effects, lambda row: int(row not in unclear))
    surely = sum(row in last for row in unclear)
    return surely < len(unclear) and any(row in first for row in unclear)
