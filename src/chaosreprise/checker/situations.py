"""When something that a contract names surely held, as spans of time: what `refusal` judges calls in.

*No agent online*: every agent that the platform ever reported, or that a fault hit, was away. An agent is away from the report that says so
until the next one that calls it online; one that a fault has taken away or frozen is away from the proof on, given the
time in which a platform must notice (`offline_ns`), until its undo begins or the platform calls it back online.
*No agent fits*: the same of those that may be of the cluster and the platform that a start asks for.
*Broken*: a fault on the command's path is proven and its undo has not begun.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from chaosreprise.checker import exposure, ways
from chaosreprise.checker.case import Case
from chaosreprise.checker.life import AGENTS, ONLINE, SESSIONS, Life
from chaosreprise.history.statements import WISH, Place, When

NO_AGENT: When = "no-agent-online"
NO_FIT: When = "no-agent-fits"
GROUPS: dict[When, str] = {
    "agent-broken": AGENTS,
    "session-broken": SESSIONS,
    "control-plane-broken": "control-plane",
    "database-broken": "database",
}


class Span(NamedTuple):
    """A time in which it held. `sure` up to there: later, a gap in what the platform reports could hide its end."""

    lo: int
    hi: int
    sure: int


def without_agents(case: Case, asks: Mapping[Place, str] = MappingProxyType({})) -> list[Span]:
    """The times in which no agent was online that may be what is asked for; none where nobody says which agents there are."""
    if not case.reports.agents:
        return []
    agents = {*case.reports.agents, *(life.agent for life in case.lives if life.agent)}
    found: list[tuple[int, int]] | None = None
    for agent in sorted(agent for agent in agents if _may_fit(case, agent, asks)):
        away = _merged([*_reported_away(case, agent), *_taken_away(case, agent)])
        found = away if found is None else _both(found, away)
    if found is None:  # nobody is what is asked for, ever
        found = [(case.start, case.watch.horizon)]
    return [Span(lo, hi, _sure(case, lo, hi)) for lo, hi in found]


def without_fitting(case: Case, row: int) -> list[Span]:
    """The times in which no agent was online of the cluster and the platform that a start asks for; none if it asks for neither."""
    asks = {what: asked for what, asked in case.commands.asks[row].items() if what != WISH}
    return without_agents(case, asks) if asks else []


def _may_fit(case: Case, agent: str, asks: Mapping[Place, str]) -> bool:
    """Whether no row of this agent says that it is something else."""
    reports = case.reports.agents.get(agent, ())
    return all(report.fields.get(what, asked) == asked for report in reports for what, asked in asks.items())


def while_broken(case: Case, row: int, when: When) -> Iterator[Span]:
    """The times in which a fault of this group was on the command's path."""
    for life in case.lives:
        if life.component.startswith(GROUPS[when]) and _crosses(case, row, life):
            lo, hi = exposure.window(case, life)
            yield Span(lo, hi, hi)


def _crosses(case: Case, row: int, life: Life) -> bool:
    session = case.commands.session[row]
    return exposure.crosses(case, row, life) or life.component == f"{SESSIONS}{session}"


def _reported_away(case: Case, agent: str) -> Iterator[tuple[int, int]]:
    reports = case.reports.agents.get(agent, [])
    since = None
    for report in reports:
        if report.state != ONLINE and since is None:
            since = report.hi
        elif report.state == ONLINE and since is not None:
            yield since, report.lo
            since = None
    if since is not None:
        yield since, case.watch.horizon


def _taken_away(case: Case, agent: str) -> Iterator[tuple[int, int]]:
    for life in case.lives:
        if life.agent == agent and life.away:
            lo, hi = exposure.window(case, life)
            yield lo + case.contract.offline_ns, hi


def _sure(case: Case, lo: int, hi: int) -> int:
    """Up to where the platform's agents were watched."""
    sources = {reports[-1].source for reports in case.reports.agents.values()}
    gaps = [gap for source in sources for gap in case.watch.gaps(source, lo, hi)] + ways.gaps(case, lo, hi)
    return max(lo, min(gap.lo for gap in gaps)) if gaps else hi


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for lo, hi in sorted(span for span in spans if span[0] < span[1]):
        if found and lo <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], hi)
        else:
            found.append((lo, hi))
    return found


def _both(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> list[tuple[int, int]]:
    spans = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return [(lo, hi) for lo, hi in spans if lo < hi]
