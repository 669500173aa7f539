"""How a platform recovered from each proven fault: intervals with their source, as wide as what was observed allows.

*noticed*: the platform itself reported the broken agent as anything but online; since the proof. *elsewhere*: the first start
that was sent after the proof and took effect on another agent; since the proof. *first success*: the first effect of a
command that the fault was exposed to, *drained*: the last one; *normal*: answers are as fast as before (`normal`). These
since the start of the undo, which is a moment, while being undone is as wide as the broken component takes to come back. A
command that never took effect leaves the fault undrained. None of this decides a verdict, unless the experiment states an
objective for it.
"""

from collections.abc import Iterable

from chaosreprise.checker import exposure as exposures
from chaosreprise.checker import normal as latency
from chaosreprise.checker import outage, outcome, ways
from chaosreprise.checker.attribution import Transition
from chaosreprise.checker.case import SECOND, Case, sooner
from chaosreprise.checker.life import ONLINE, Life
from chaosreprise.checker.verdict import Recovery, Span
from chaosreprise.history.events import LIFECYCLE, Fault

PROVEN = "proven"
UNDOING = "undoing"


def measure(case: Case) -> list[Recovery]:
    """One entry a proven fault."""
    return [_of(case, life) for life in case.lives if life.proven is not None]


def _of(case: Case, life: Life) -> Recovery:
    found = Recovery(fault=life.fault, component=life.component, limits=_limits(case))
    _notice(case, life, found)
    _elsewhere(case, life, found)
    _success(case, life, found)
    _normal(case, life, found)
    return found


def _limits(case: Case) -> dict[str, float]:
    """The strictest that an objective states for each figure."""
    limits: dict[str, float] = {}
    for stated in case.objectives:
        if stated.recovery and stated.max is not None:
            name = stated.recovery.removesuffix("_s")
            limits[name] = min(stated.max, limits.get(name, stated.max))
    return limits


def _notice(case: Case, life: Life, found: Recovery) -> None:
    proven = life.proven
    if life.agent is None or proven is None:
        return
    began = life.states.get("injected", proven).lo
    reports = case.reports.agents.get(life.agent, [])
    before = [report for report in reports if report.hi < began]
    if before and before[-1].state != ONLINE:
        found.why_not["noticed"] = f"{life.agent} was reported {before[-1].state} before the fault"
        return
    gone = next((report for report in reports if report.hi >= began and report.state != ONLINE), None)
    if gone is None:
        found.why_not["noticed"] = f"{life.agent} was never reported as gone"
        return
    found.noticed = _since(case, proven, gone.lo, gone.hi)
    silence_s = case.contract.offline_ns / SECOND
    early = [stated.max or 0.0 for stated in case.contract.objectives if sooner(stated, silence_s)]
    if early:
        found.notes["noticed"] = f"{min(early):g} s were stated, silence shows here within {silence_s:g} s"
    _told(found, "noticed", PROVEN, f"the platform's {gone.source}")


def _elsewhere(case: Case, life: Life, found: Recovery) -> None:
    proven = life.proven
    if life.agent is None or proven is None:
        return
    commands = case.commands
    for row, op in enumerate(commands.op):
        effect, session = case.attributed.effect_of[row], commands.session[row]
        if op != "start" or effect is None or session is None or commands.lo[row] < proven.hi:
            continue
        owner = case.reports.first_owner(session)
        if owner is not None and owner != life.agent:
            found.elsewhere = _since(case, proven, effect.lo, effect.hi)
            _told(found, "elsewhere", PROVEN, f"ledger {effect.effects[0].ledger}, start of {session} on {owner}")
            return
    found.why_not["elsewhere"] = "no start took effect on another agent after the proof"


def _success(case: Case, life: Life, found: Recovery) -> None:
    healing = life.healing
    if healing is None:
        found.why_not["drained"] = found.why_not["first_success"] = "the fault was not undone"
        return
    rows = {*exposures.rows_during(case, life), *exposures.rows_in_flight(case, life)}
    rows = {row for row in rows if case.attributed.level(case.commands.op[row]) != "none"}
    if outage.takes_no_writes(
        life
    ):  # what was not accepted leaves nothing to drain, and steps do not wait for the store
        rows = {row for row in rows if outcome.happened(case, row) and case.commands.op[row] in LIFECYCLE}
        if not rows:
            return
    effects = [case.attributed.effect_of[row] for row in rows]
    missing = sum(effect is None for effect in effects)
    after = sorted(_after(effects, healing), key=lambda effect: effect.hi)
    if not after:
        found.why_not["drained"] = found.why_not["first_success"] = "no exposed command took effect after the undo"
        return
    source = f"ledger {after[0].effects[0].ledger}"
    found.first_success = _since(case, healing, after[0].lo, after[0].hi)
    _told(found, "first_success", UNDOING, source)
    if missing:
        found.why_not["drained"] = f"{missing} of {len(effects)} exposed commands never took effect"
        return
    found.drained = _since(case, healing, max(effect.lo for effect in after), after[-1].hi)
    _told(found, "drained", UNDOING, source)


def _normal(case: Case, life: Life, found: Recovery) -> None:
    told, healing = latency.find(case, life), life.healing
    if told.why_not:
        found.why_not["normal"] = told.why_not
        if told.since is not None and healing is not None:
            found.at_least["normal"] = _since(case, healing, told.since, told.since)[0]
    elif healing is not None:
        found.normal = (0.0, 0.0) if told.note else _since(case, healing, told.lo, told.hi)
        _told(found, "normal", UNDOING, told.source)
        if told.note:
            found.notes["normal"] = told.note


def _after(effects: Iterable[Transition | None], healing: Fault) -> list[Transition]:
    return [effect for effect in effects if effect is not None and effect.hi >= healing.lo]


def _since(case: Case, event: Fault, lo: int, hi: int) -> Span:
    """From the event to a moment of [lo, hi], in seconds; what came before it counts as 0. Nothing may have got through to the
    platform while a way there was not open."""
    return round(ways.without(case, event.hi, max(lo, event.hi)) / 1e9, 6), round(max(0, hi - event.lo) / 1e9, 6)


def _told(found: Recovery, name: str, since: str, source: str) -> None:
    found.since[name], found.source[name] = since, source
