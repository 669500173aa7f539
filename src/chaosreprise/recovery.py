"""The recovery of a run, for its reports: what `checker.recovered` measures, filled into the verdict."""

from chaosreprise.checker import Recovery, Verdict, recovered
from chaosreprise.checker.case import Case
from chaosreprise.history import History


def add(verdict: Verdict, history: History) -> Verdict:
    """Fill in `verdict.recovery`, and return the verdict."""
    if any(fault.proven is not None for fault in verdict.faults):
        verdict.recovery = measure(history)
    return verdict


def measure(history: History) -> list[Recovery]:
    """One entry a proven fault; none without a contract."""
    return [] if history.contract is None else recovered.measure(Case(history, history.contract, "end"))
