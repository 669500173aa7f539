"""The facts of a run beside its checks: counts, evidence, phases, the watch, what was not tested, and the reasons in words."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from chaosreprise.checker import exempt, exposure, outcome, ways
from chaosreprise.checker.attribution import STRENGTH
from chaosreprise.checker.case import Case
from chaosreprise.checker.registry import checks
from chaosreprise.checker.table import number
from chaosreprise.checker.verdict import (
    Counts,
    Evidence,
    Finding,
    NotTested,
    PhaseTold,
    Stage,
    Verdict,
    Watched,
)
from chaosreprise.history import History, Observe
from chaosreprise.history.events import LEFT, Contract, Level, Phase

FAMILIES = ("agents", "control plane", "database", "network", "sessions")
"""What a platform of this kind can lose; a fault's family is its kind up to the dot."""


def blank(history: History, stage: Stage) -> Verdict:
    """A verdict with nothing in it but whose it is."""
    verdict = Verdict(value="unknown", stage=stage)
    if history.segments:
        first = min(history.segments, key=lambda segment: segment.mono)
        verdict.run, verdict.started = first.run, first.wall / 1e9
    if contract := history.contract:
        verdict.experiment, verdict.platform, verdict.seed = contract.experiment, contract.platform, contract.seed
        verdict.settings, verdict.definitions = _settings(contract), _definitions(contract)
    return verdict


def facts(case: Case, verdict: Verdict) -> None:
    """Fill in everything that is no judgement."""
    verdict.phases = _phases_told(case)
    verdict.counts = _counts(case)
    verdict.evidence = _evidence(case)
    verdict.watch = _watch(case)
    verdict.faults = exposure.tell(case)
    verdict.exposure = exposure.in_all(case)


def _settings(contract: Contract) -> str:
    """Known violations excuse and change nothing else, so they are no setting."""
    plain = msgspec.structs.replace(contract, seed=0, experiment="", platform="", known=[])
    return _digest(msgspec.json.encode(plain, order="sorted"))


def _definitions(contract: Contract) -> str:
    """By the words of the checks' modules, and of what they share."""
    asked = [check for name in {*contract.require, *contract.optional} if (check := checks().get(name)) is not None]
    modules = sorted([check.judge.__module__ for check in asked] + [exempt.__name__, exposure.__name__])
    return _digest(*((sys.modules[name].__doc__ or "").encode() for name in modules))


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def phases(history: History) -> list[Phase]:
    return [event for event in history.events if isinstance(event, Phase)]


def weakest(levels: Iterable[Level]) -> Level:
    """The weakest attribution among the kinds that a check judged."""
    return min((level for level in levels if level != "none"), key=lambda level: STRENGTH[level], default="none")


def not_tested(case: Case, verdict: Verdict) -> list[NotTested]:
    """Kinds of faults and commands that this run says nothing about, and checks that were not asked for or had no evidence."""
    asked = {*case.contract.require, *case.contract.optional}
    found = [NotTested(what=name, why="the experiment does not ask for it") for name in checks() if name not in asked]
    for name, finding in verdict.checks.items():
        found += finding.untested
        if finding.value == "unknown" and not finding.required:
            found.append(NotTested(what=name, why=finding.scope[0].why if finding.scope else "the run is unknown"))
    if kinds := exposure.kinds_not_exposed(case):
        what = f"{', '.join(kinds)} through the fault"
        found.append(NotTested(what=what, why="the contract asks for no exposure of it"))
    broken = {fault.kind.partition(".")[0].replace("_", " ") for fault in verdict.faults if fault.proven is not None}
    if others := [family for family in FAMILIES if family not in broken]:
        found.append(NotTested(what=f"faults of {', '.join(others)}", why="none in this run"))
    return [*found, *_ways(case), *_left(case)]


def _ways(case: Case) -> Iterator[NotTested]:
    for gap in ways.gaps(case, case.start, case.last_sign):
        since, until = case.span(gap.lo, min(gap.hi, case.last_sign))
        why = f"it was not open from {since:.3f} s to {until:.3f} s, which is held against nobody ({gap.why})"
        yield NotTested(what=f"calls by {gap.of}", why=why)


def _left(case: Case) -> Iterator[NotTested]:
    for event in case.history.events:
        if isinstance(event, Observe) and (event.source, event.signal) == ("owner", LEFT):
            told = event.value if isinstance(event.value, list) else []
            yield from (NotTested(what=f"left behind: {what}", why="nothing says that it must go") for what in told)


def why(verdict: Verdict) -> list[str]:
    """The reasons of a verdict, the ones that decided it first."""
    false = {name: found for name, found in verdict.checks.items() if found.value == "false"}
    broken = [_violation(name, found) for name, found in false.items() if found.besides is None]
    known = [f"{_violation(name, found)}; known" for name, found in false.items() if found.besides is not None]
    if verdict.value == "false":
        return [*broken, *known]
    if verdict.value == "true":
        return [_held(verdict), *(f"{reason}; not promised, so only told" for reason in broken), *known]
    reasons = [f"{doubt.what}: {doubt.why}" for doubt in verdict.doubts]
    for name, found in verdict.checks.items():
        value = found.value if found.besides is None else found.besides
        if value == "false" and found.required:
            reasons.append(f"{_violation(name, found)}; required, but not promised by the platform")
        elif value == "unknown" and found.required:
            reasons += [f"{name}: {doubt.what}: {doubt.why}" for doubt in found.scope]
    return list(dict.fromkeys([*reasons, *known]))


def _violation(name: str, found: Finding) -> str:
    count = found.count[0]
    labels = ", ".join(f"{label} {n}" for label, n in sorted(found.labels.items()))
    says = checks()[name].says[0 if count == 1 else 1]
    text = f"{name} {count}: {says}" + (f" ({labels})" if labels else "")
    if found.baseline == count:
        return f"baseline: {text}, before anything was broken"
    return text + (f"; {found.baseline} of them in the baseline" if found.baseline else "")


def _held(verdict: Verdict) -> str:
    names = ", ".join(f"no {name}" for name, found in verdict.checks.items() if found.value == "true")
    if verdict.watch is None:
        return names or "nothing against it so far"
    return f"{names} within {verdict.watch.seconds:.1f} s after {verdict.watch.after}"


def _phases_told(case: Case) -> list[PhaseTold]:
    found: list[PhaseTold] = []
    for phase in case.table.phases:
        if phase.edge == "begin":
            found.append(PhaseTold(name=phase.name, begin=case.seconds(phase.lo)))
        else:
            open_ones = [told for told in found if told.name == phase.name and told.end is None]
            for told in open_ones[-1:]:
                told.end = case.seconds(phase.hi)
    return found


def _counts(case: Case) -> Counts:
    commands = case.commands
    outcomes = Counter(result for op, result in zip(commands.op, commands.outcome, strict=True) if op != "read")
    unclear = Counter(outcome.resolve(case).values())
    by_op = Counter(commands.op)
    reads = by_op.pop("read", 0)
    return Counts(
        sent=sum(by_op.values()),
        accepted=outcomes["ok"],
        refused=outcomes["fail"],
        undecided=unclear[None],
        happened=unclear[True],
        absent=unclear[False],
        reads=reads,
        by_op=dict(sorted(by_op.items())),
    )


def _evidence(case: Case) -> Evidence:
    told = {event.signal: event.value for event in case.table.observed if event.source == "load"}
    numbers = {signal: found for signal, value in told.items() if (found := number(value)) is not None}
    return Evidence(
        effects=dict(sorted(case.effects.count.items())),
        objects={ledger: len(names) for ledger, names in sorted(case.effects.objects.items())},
        reports=case.reports.count,
        lag_ms=numbers.get("lag_ms"),
        skipped=int(numbers.get("skipped", 0)),
    )


def _watch(case: Case) -> Watched | None:
    group = case.settle.groups.get("drain")
    if group is None or group.since is None or group.until is None or group.ended is None:
        return None
    after_heal = case.settle.healed is not None and case.settle.healed == group.since
    seconds = round((group.ended - group.since) / 1e9, 3)
    return Watched(seconds=seconds, after="heal" if after_heal else "last command")
