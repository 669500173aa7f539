"""`judge`: a verdict from a history and nothing else.

The stages: `baseline` (evidence, and no violation by what is due), `during` (only what can't be taken back), `clean`
(everything, while the run's processes still live and its canaries stay), `end` (everything, when all has ended).
False beats unknown beats true. What crashes is unknown, never a pass.
"""

from collections.abc import Callable
from typing import Final

from chaosreprise.checker import accepted, evidence, exposure, moments, outage, tell
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.registry import checks
from chaosreprise.checker.verdict import Doubt, Finding, Stage, Value, Verdict, merge
from chaosreprise.history import Contract, History

Condition = Callable[[Case], list[Doubt]]
ALWAYS: Final[tuple[Condition, ...]] = (evidence.required, evidence.processes, evidence.consistent)
CONDITIONS: Final[dict[Stage, tuple[Condition, ...]]] = {
    "baseline": (*ALWAYS, evidence.cycles),
    "during": ALWAYS,
    "clean": (
        *ALWAYS,
        evidence.faults,
        moments.doubts,
        outage.leaks,
        evidence.settled,
        evidence.sources,
        evidence.successes,
    ),
    "end": (
        *ALWAYS,
        evidence.faults,
        moments.doubts,
        outage.leaks,
        evidence.settled,
        evidence.sources,
        evidence.successes,
    ),
}
EFFECTS = "slots"  # what a check needs that looks at effects, whatever their ledger is called
EXPOSED: Final[tuple[Stage, ...]] = ("clean", "end")


def judge(history: History, stage: Stage) -> Verdict:
    """The verdict on this history at this stage of its run. Pure: the same history gives the same verdict anywhere."""
    verdict = tell.blank(history, stage)
    broken_off = evidence.broken_off(history)
    contract = history.contract
    if contract is None:
        why = "the history has no contract: nothing says what the run had to show"
        verdict.doubts = broken_off or [Doubt(what="contract", why=why, do="see docs/history.md, `contract`")]
        return _concluded(verdict)
    try:
        case = Case(history, contract, stage)
        tell.facts(case, verdict)
    except Exception as error:  # noqa: BLE001 a history that can't be put in order is unknown, never a traceback or a pass
        verdict.doubts = [_crash("history", error)]
        return _concluded(verdict)
    lacking = [doubt for condition in CONDITIONS[stage] for doubt in _guarded_doubts(condition, case)]
    if stage in EXPOSED:
        thin = _guarded_doubts(exposure.doubts, case)
        proven = any(fault.proven is not None for fault in verdict.faults)
        verdict.exposed = "unknown" if thin or not proven else "true"
        lacking += thin
    verdict.doubts = [*(broken_off or lacking), *accepted.doubts(history)]
    verdict.checks = {name: _finding(case, contract, name) for name in _asked(contract, stage)}
    _demote(verdict)
    accepted.apply(verdict, history)
    verdict.not_tested = tell.not_tested(case, verdict)
    return _concluded(verdict)


def stage_of(history: History) -> Stage:
    """The stage that a growing history has reached, by its phases."""
    seen = {(phase.name, phase.edge) for phase in tell.phases(history)}
    if ("close", "end") in seen:
        return "end"
    if ("clean", "end") in seen:
        return "clean"
    return "during" if ("method", "begin") in seen else "baseline"


def _asked(contract: Contract, stage: Stage) -> list[str]:
    names = dict.fromkeys([*contract.require, *contract.optional])
    built = checks()
    return [name for name in names if name not in built or _can_judge(built[name], stage)]


def _can_judge(check: Check, stage: Stage) -> bool:
    return check.early if stage == "during" else check.baseline or stage != "baseline"


def _finding(case: Case, contract: Contract, name: str) -> Finding:
    """What this check finds, and its value: false if anything is surely violated, true only if nothing might be."""
    check = checks().get(name)
    if check is None:
        why = f"there is no check {name!r}: known are {', '.join(checks())}"
        found = Finding(scope=[Doubt(what=name, why=why, do="correct its name in `require` or `optional`")])
    else:
        found = _guarded(check, case)
        found.promised = check.promise is None or contract.promises.get(check.promise) is True
        found.level = tell.weakest(found.levels.values())
    found.required = name in contract.require
    if check is not None and not found.evidence and not found.scope and case.stage != "during":
        why = "not one effect was seen that it could judge"
        found.scope = [Doubt(what=name, why=why, do="see whether the ledgers of effects are the right ones")]
    lowest, highest = found.count
    found.value = "false" if lowest else "unknown" if highest or found.scope else "true"
    return found


def _guarded(check: Check, case: Case) -> Finding:
    try:
        found = check.judge(case)
    except Exception as error:  # noqa: BLE001 a check that crashes is unknown, never a pass and never the end of the others
        return Finding(scope=[_crash(check.name, error)])
    blind = EFFECTS in check.ledgers and all(entry.level == "none" for entry in case.contract.attribution)
    blind = blind and not case.contract.signs  # by which some of them judge
    if blind and found.scope and not found.count[1]:
        found.scope, found.untested = [_blind(check.name)], []
    return found


def _blind(name: str) -> Doubt:
    """Where no effect of any kind is known: one reason, which says more than that of each kind."""
    why = f"no evidence of kind {EFFECTS}: no ledger shows what commands really did"
    return Doubt(what=name, why=why, do=f"add [evidence.{EFFECTS}], or another ledger of effects, to the platform file")


def _guarded_doubts(condition: Condition, case: Case) -> list[Doubt]:
    try:
        return condition(case)
    except Exception as error:  # noqa: BLE001 likewise for a condition on the run
        return [_crash(condition.__name__, error)]


def _crash(what: str, error: Exception) -> Doubt:
    do = "report it as a bug of Reprise, with the history"
    return Doubt(what=what, why=f"judging it crashed: {type(error).__name__}: {error}", do=do)


def _demote(verdict: Verdict) -> None:
    """No check is true in a run that is unknown as a whole."""
    for found in verdict.checks.values():
        if verdict.doubts and found.value == "true":
            found.value = "unknown"


def _weight(found: Finding) -> Value:
    """What a finding does to the verdict: only a made promise can be broken, and only what is required can be lacking; what is known decides nothing."""
    value = found.value if found.besides is None else found.besides
    if value == "false":
        return "false" if found.promised else "unknown" if found.required else "true"
    return value if found.required else "true"


def _concluded(verdict: Verdict) -> Verdict:
    values = [_weight(found) for found in verdict.checks.values()]
    verdict.value = merge(["unknown" if verdict.doubts else "true", *values]) if values else "unknown"
    if verdict.stage in ("baseline", "during") and not values and not verdict.doubts:
        verdict.value = "true"
    verdict.why = tell.why(verdict)
    return verdict
