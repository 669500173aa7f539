"""Exposure: which commands crossed what was broken while it surely was. Without them nothing was tested.

*during*: submitted surely after the fault was proven, and surely before its undo began or the platform saw the agent back.
*in flight*: submitted surely before it struck, and not surely finished when it was proven (for a restart: when it was asked
to end; a pod is, once the API says so); nothing was at an agent that the platform surely called away when it was struck.
Only commands count that were accepted or happened (a refused one tests nothing), are not exempt, and cross the broken
component: for an agent, or its link, the session's row named it when the command was sent, and was watched then (a start:
the row that it made). Where the store is away, or read-only, nothing should be accepted: there every call counts that
reached the platform, and its answer is what is tested. A held fault needs n *during* of each kind in the contract's
`exposure`, a crash or restart n *in flight*; 0 lost of n accepted ones excludes, with 95 % confidence, only loss rates
above 1 - 0.05 ** (1/n).
"""

from collections.abc import Iterator

from chaosreprise.checker import exempt, moments, outage, outcome
from chaosreprise.checker.attribution import shows_repeat
from chaosreprise.checker.case import Case
from chaosreprise.checker.life import LINKS, ONLINE, SESSIONS, Life
from chaosreprise.checker.table import FAILED, FINISHED
from chaosreprise.checker.verdict import Doubt, FaultTold, KindExposure, Span, excludes_above
from chaosreprise.history.events import STORE, Fault


def tell(case: Case) -> list[FaultTold]:
    """Every fault with what it was exposed to."""
    return [_told(case, life) for life in case.lives]


def in_all(case: Case) -> dict[str, KindExposure]:
    """By kind, over all proven faults; a command that crossed two of them counts once."""
    proven = [life for life in case.lives if life.proven is not None]
    measure_in_flight = bool(proven) and all(life.momentary for life in proven)
    found = _empty(case, in_flight=measure_in_flight)
    in_flight: set[int] = set()
    during: set[int] = set()
    for life in proven:
        in_flight.update(rows_in_flight(case, life))
        during.update(rows_during(case, life))
    return _filled(case, found, in_flight, during)


def window(case: Case, life: Life) -> tuple[int, int]:
    """When it surely was broken: until its undo began, or the platform called the agent online again. Empty: (0, -1)."""
    if life.proven is None or life.lasted_until is None:
        return 0, -1
    lo, hi = life.proven.hi, life.lasted_until
    if life.component.startswith(LINKS) and not life.away:
        return lo, hi  # an agent whose link is slow, or comes and goes, may well be online
    before = None
    for report in case.reports.agents.get(life.agent or "", ()):
        if report.state == ONLINE and before not in (None, ONLINE) and report.hi > lo:
            return lo, min(hi, report.lo)
        before = report.state
    return lo, hi


def rows_during(case: Case, life: Life) -> Iterator[int]:
    lo, hi = window(case, life)
    commands = case.commands
    for row, submitted in enumerate(commands.lo):
        if lo <= submitted and commands.hi[row] <= hi and (_tried(case, row, life) or _counts(case, row, life)):
            yield row


def rows_in_flight(case: Case, life: Life) -> Iterator[int]:
    struck = life.struck
    if life.proven is None or struck is None or _was_away(case, life, life.proven):
        return
    commands = case.commands
    for row, submitted in enumerate(commands.hi):
        if submitted > life.proven.lo:
            continue
        if _unfinished(case, row, struck) and _counts(case, row, life):
            yield row


def _was_away(case: Case, life: Life, proven: Fault) -> bool:
    """Whether the agent surely was not online when it was struck: then nothing was in its hands."""
    began, before = life.states.get("injected", proven).lo, None
    if life.component.startswith(LINKS):
        return False
    for report in case.reports.agents.get(life.agent or "", ()):
        if report.hi > began:
            return before not in (None, ONLINE) and (report.state != ONLINE or report.lo >= began)
        before = report.state
    return before not in (None, ONLINE)


def _unfinished(case: Case, row: int, struck: int) -> bool:
    """Whether it surely had not acted when the fault struck; where no ledger would show that, by its row, which must have been seen."""
    if case.attributed.level(case.commands.op[row]) != "none":
        effect = case.attributed.effect_of[row]
        return effect is None or effect.lo >= struck
    reports = case.reports.commands.get(case.commands.platform_id(row) or "", [])
    ended = next((report for report in reports if report.state in (FINISHED, FAILED)), None)
    return bool(reports) and (ended is None or ended.lo >= struck)


def doubts(case: Case) -> list[Doubt]:
    """What keeps the exposure from being enough."""
    if case.contract.observe:
        return []  # there was nothing to be exposed to, and that is said once
    needs = case.contract.exposure
    if not needs or any(n < 1 for n in needs.values()):
        why = "the contract asks for no exposure" if not needs else f"the contract asks for an exposure of {needs}"
        return [
            Doubt(what="exposure", why=why, do="say in `exposure` how many commands of which kind must cross the fault")
        ]
    found = []
    for pool in _pools(case):
        found += _missing(case, pool)
    return found


def _pools(case: Case) -> list[list[Life]]:
    """The proven faults, each for itself; those of one kind on sessions together, since a session has few commands."""
    pools: dict[str, list[Life]] = {}
    for life in case.lives:
        if life.proven is not None:
            pools.setdefault(life.kind if life.component.startswith(SESSIONS) else life.fault, []).append(life)
    return list(pools.values())


def _told(case: Case, life: Life) -> FaultTold:
    exposure = _empty(case, in_flight=life.momentary)
    in_flight, during = set(rows_in_flight(case, life)), set(rows_during(case, life))
    return FaultTold(
        fault=life.fault,
        kind=life.kind,
        component=life.component,
        end=life.end,
        proven=_span(case, life.proven),
        undoing=_span(case, life.states.get("undoing")),
        undone=_span(case, life.undone),
        by=life.undone.by if life.undone else None,
        moment=waited.say if (waited := moments.of(life)) is not None else None,
        exposure=_filled(case, exposure, in_flight, during),
    )


def _span(case: Case, event: Fault | None) -> Span | None:
    return case.span(event.lo, event.hi) if event is not None else None


def _empty(case: Case, *, in_flight: bool) -> dict[str, KindExposure]:
    entries = case.attributed.entries
    return {
        kind: KindExposure(
            need=need,
            measure="in_flight" if in_flight else "during",
            shows_repeat=shows_repeat(entries.get(kind)),
        )
        for kind, need in case.contract.exposure.items()
    }


def _filled(
    case: Case, found: dict[str, KindExposure], in_flight: set[int], during: set[int]
) -> dict[str, KindExposure]:
    for row in in_flight | during:
        kind = case.commands.op[row]
        if kind not in found:
            found[kind] = KindExposure(shows_repeat=shows_repeat(case.attributed.entries.get(kind)))
        found[kind].in_flight += row in in_flight
        found[kind].during += row in during
    for name, exposure in found.items():
        measured = in_flight if exposure.measure == "in_flight" else during
        exposure.happened = sum(
            case.commands.op[row] == name and outcome.happened(case, row) is True for row in measured
        )
        exposure.excludes_above = excludes_above(exposure.happened)
    return found


def _tried(case: Case, row: int, life: Life) -> bool:
    """Whether the platform answered while nothing could be kept."""
    asked = case.commands.op[row] != "read" and STORE in case.commands.path[row]
    return asked and outage.takes_no_writes(life) and outage.surely_in(case, row, life) and outage.answered(case, row)


def _counts(case: Case, row: int, life: Life) -> bool:
    if case.commands.op[row] == "read" or not crosses(case, row, life):
        return False
    if not (outcome.happened(case, row) or outcome.begun(case, row)) or not _owner_known(case, row, life):
        return False
    return case.attributed.effect_of[row] is not None or exempt.reason(case, row) is None


def crosses(case: Case, row: int, life: Life) -> bool:
    """Whether the command's path crosses the broken component; for an agent its session's row must say so as well."""
    path, session = case.commands.path[row], case.commands.session[row]
    agent = life.agent
    if life.partial:
        return False
    if agent is None:
        return life.component in path
    if session is None:
        return False
    if case.commands.op[row] == "start":
        return case.reports.first_owner(session) == agent
    return life.component in path and case.reports.owner_at(session, case.commands.hi[row]) == agent


def _missing(case: Case, pool: list[Life]) -> list[Doubt]:
    momentary = pool[0].momentary
    count = _empty(case, in_flight=momentary)
    in_flight = {row for life in pool for row in rows_in_flight(case, life)}
    during = {row for life in pool for row in rows_during(case, life)}
    exposure = _filled(case, count, in_flight, during)
    found = []
    for kind, need in case.contract.exposure.items():
        have, when = exposure[kind].n, "in flight when it broke" if momentary else "while it was broken"
        if have < need:
            on = pool[0].component if len(pool) == 1 else f"{len(pool)} sessions"
            why = f"{have} of {need} {kind} commands crossed {on} {when}{_wrong_ones(case, pool, kind)}"
            longer = "look at their ledger more often (evidence.NAME.hz)" if momentary else "hold the fault longer"
            do = f"{longer}, keep more sessions in reserve on it, or ask for less in `exposure`"
            found.append(Doubt(what=kind, why=why, do=do))
    return found


def _wrong_ones(case: Case, pool: list[Life], kind: str) -> str:
    """How many were sent in time but do not count, and why."""
    if pool[0].momentary:
        return ""
    lo, hi = window(case, pool[0])
    commands = case.commands
    sent = [
        row for row, op in enumerate(commands.op) if op == kind and lo <= commands.lo[row] and commands.hi[row] <= hi
    ]
    refused = sum(commands.outcome[row] == "fail" for row in sent)
    elsewhere = sum(not any(crosses(case, row, life) for life in pool) for row in sent)
    unseen = sum(not any(_owner_known(case, row, life) for life in pool) for row in sent)
    words = {"crossed others": elsewhere, "were refused": refused, "were sent while nobody saw whose they were": unseen}
    reasons = [f"{n} {word}" for word, n in words.items() if n]
    return f" ({len(sent)} were sent then: {', '.join(reasons)})" if reasons else ""


def _owner_known(case: Case, row: int, life: Life) -> bool:
    """An agent's exposure rests on the row that names it: that must have been watched when the command was sent."""
    if life.agent is None or case.commands.op[row] == "start":
        return True
    lo, hi = case.commands.lo[row], case.commands.hi[row] + 1
    return not any(case.watch.gaps(source, lo, hi) for source in case.reports.sources)


def kinds_not_exposed(case: Case) -> list[str]:
    """Kinds that the load sent and the contract does not want exposed."""
    return sorted({op for op in case.commands.op if op != "read" and op not in case.contract.exposure})
