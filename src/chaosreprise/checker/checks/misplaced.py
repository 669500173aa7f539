"""misplaced: a new session did not get the cluster, the region or the platform that was asked for.

Definition (from the promise that sessions go where they are asked to go). A start that asks for a cluster or a platform must get an agent
of it, or be refused. One that asks for a region must get an agent there if one is online, of the cluster and platform that are
asked for beside it, too. Violated if the session's row first names an agent that is another one by the rows of agents; for
a region only if one that fits was surely there: online by its rows, and by no fault broken, from a second before the start was sent
until a second after its row was seen.

Promise: `placement`.

Needs. Rows of sessions and agents, of these with their cluster, region or platform; of each that was asked for one start
whose agent is known, and for a region one that got it or could have got it.

Witness. The start, what it asked for, and what its agent is.

Limits. That an agent is full is not seen: a region is held against the platform although its agents may have had no room. What was placed anew
before the first look at its row is taken to have been placed there. An agent that was of two clusters in one run is of none.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, get_args

from chaosreprise.checker import witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.incarnations import made_by
from chaosreprise.checker.life import ONLINE
from chaosreprise.checker.verdict import Doubt, Finding, Witness
from chaosreprise.history.statements import WISH, Place

MARGIN = 1_000_000_000  # in which what a platform knows of an agent stands in its row, on a busy machine
Is = dict[str, dict[Place, str]]


class Placed(NamedTuple):
    """A start that asked for something: what its agent is instead; `instead` is None where that is what was asked for."""

    row: int
    what: Place
    agent: str
    instead: str | None
    at: int


def judge(case: Case) -> Finding:
    judged = list(_judged(case))
    wrong = [placed for placed in judged if placed.instead is not None]
    return Finding(
        count=(len(wrong), len(wrong)),
        evidence=len(judged),
        witnesses=[_witness(case, placed) for placed in wrong[: witness.LIMIT]],
        scope=list(_doubts(case, judged)),
    )


def _judged(case: Case) -> Iterator[Placed]:
    are, commands = _agents(case), case.commands
    for session, row in case.once(made_by).items():
        owned = next((report for report in case.reports.sessions.get(session, ()) if report.owner), None)
        if owned is None or owned.owner is None or commands.op[row] != "start":
            continue
        for what, asked in commands.asks[row].items():
            found = are.get(owned.owner, {}).get(what)
            if found == asked:
                yield Placed(row, what, owned.owner, None, owned.hi)
            elif found is not None and (what != WISH or _another(case, are, row, owned.hi)):
                yield Placed(row, what, owned.owner, found, owned.hi)


def _agents(case: Case) -> Is:
    """What each agent is, as far as its rows always said the same."""
    found: Is = {}
    for agent, reports in case.reports.agents.items():
        for what in get_args(Place):
            said = {str(report.fields[what]) for report in reports if what in report.fields}
            if len(said) == 1:
                found.setdefault(agent, {})[what] = said.pop()
    return found


def _another(case: Case, are: Is, row: int, seen: int) -> bool:
    """Whether an agent that is all that was asked for was surely there when the start was placed."""
    lo, hi, asks = case.commands.lo[row] - MARGIN, seen + MARGIN, case.commands.asks[row]
    return any(asks.items() <= is_.items() and _was_there(case, agent, lo, hi) for agent, is_ in are.items())


def _was_there(case: Case, agent: str, lo: int, hi: int) -> bool:
    reports = case.reports.agents[agent]
    before = [report for report in reports if report.hi <= lo]
    said = [*before[-1:], *(report for report in reports if lo < report.hi and report.lo <= hi)]
    if not before or any(report.state != ONLINE for report in said) or case.watch.gaps(reports[0].source, lo, hi):
        return False
    return not any(
        life.began is not None
        and life.agent in (None, agent)
        and life.began <= hi
        and (life.undone is None or lo <= life.undone.hi)
        for life in case.lives
    )


def _doubts(case: Case, judged: list[Placed]) -> Iterator[Doubt]:
    if case.stage not in ("clean", "end"):
        return
    known, asked = (
        Counter(placed.what for placed in judged),
        Counter(what for asks in case.commands.asks for what in asks),
    )
    if not asked:
        do = "state in `workload` the shares of creates that ask: asks"
        yield Doubt(what="misplaced", why="no create asked for a cluster, a region or a platform", do=do)
    for what in sorted({*asked} - {*known}):
        why = f"of {asked[what]} creates that asked for a {what} none could be judged"
        yield Doubt(
            what="misplaced",
            why=why,
            do=f"see whether the rows of agents say their {what}, and which agents were there",
        )


def _witness(case: Case, placed: Placed) -> Witness:
    asked = case.commands.asks[placed.row][placed.what]
    say = (
        f"{witness.name_of(case, placed.row)}: asked for {placed.what} {asked}, and placed on {placed.agent} of {placed.what} {placed.instead} "
        f"at {case.seconds(placed.at):.3f} s"
    )
    moment = witness.moment(
        case,
        case.commands.lo[placed.row],
        placed.at,
        f"placed on {placed.agent} of {placed.what} {placed.instead}",
        bad=True,
    )
    return witness.scene(case, placed.row, say, placed.at, [moment], baseline=False)


CHECK = Check(
    name="misplaced",
    promise="placement",
    ledgers=("rows",),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("a session was not placed where it was asked for", "sessions were not placed where they were asked for"),
    judge=judge,
    baseline=False,
    criteria=("SS-7.2", "SS-7.3", "SS-7.5"),
)
