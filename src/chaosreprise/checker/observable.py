"""Kinds of commands whose effects are not known well enough for a check, told the same way by each check that looks at effects."""

from collections.abc import Iterable

from chaosreprise.checker.case import Case
from chaosreprise.checker.verdict import Doubt, NotTested
from chaosreprise.history.events import Level

COUNTABLE: tuple[Level, ...] = ("keyed", "counted")


def why_not(level: Level) -> str:
    return "only the end state is known" if level == "state" else "no ledger shows its effect"


def unobservable(case: Case, what: str) -> list[Doubt]:
    """Kinds of the exposure whose effects can't be counted: `what` of them could not be seen."""
    if case.stage not in ("clean", "end"):
        return []
    return [
        Doubt(
            what=op,
            why=f"{op} {what}: {why_not(case.attributed.level(op))}",
            do="give the platform file a ledger that counts it",
        )
        for op in sorted(case.contract.exposure)
        if case.attributed.level(op) not in COUNTABLE
    ]


def unseen(case: Case, kinds: Iterable[str]) -> list[Doubt]:
    """Kinds of which not one was seen to take effect: nobody knows whether the ledger would show it, or is the wrong one."""
    if case.stage not in ("clean", "end"):
        return []
    rows = zip(case.commands.op, case.commands.outcome, case.attributed.effect_of, strict=True)
    seen = {op for op, outcome, effect in rows if outcome != "fail" and effect is not None}
    return [
        Doubt(
            what=op,
            why=f"not one {op} was seen to take effect in this run",
            do=f"see whether the platform accepts {op}, and whether the ledger of its effects is the right one",
        )
        for op in sorted(set(kinds) - seen)
    ]


def key_answered(case: Case, row: int) -> str | None:
    """The first word that a step was answered with."""
    answer = case.commands.answer[row]
    words = (answer.result or "").split() if answer is not None and case.commands.op[row] == "step" else []
    return words[0] if words else None


def misses_steps(case: Case) -> bool:
    """Whether steps answered with their own key, and so ran, while their ledger shows not one of the run: it is the wrong ledger."""
    steps = [row for row, op in enumerate(case.commands.op) if op == "step"]
    return all(case.attributed.effect_of[row] is None for row in steps) and any(
        key_answered(case, row) == case.commands.key[row] for row in steps
    )


def untested(case: Case, what: str) -> list[NotTested]:
    """The same of kinds that were sent and need no exposure."""
    return [
        NotTested(what=f"{op} {what}", why=why_not(case.attributed.level(op)))
        for op in kinds(case)
        if case.attributed.level(op) not in COUNTABLE and op not in case.contract.exposure
    ]


def kinds(case: Case) -> list[str]:
    """The kinds that were sent, but reads."""
    return sorted({op for op in case.commands.op if op != "read"})


def shown(case: Case) -> list[str]:
    """Those of them whose effects some ledger shows."""
    return [op for op in kinds(case) if case.attributed.level(op) != "none"]


def ledgers(case: Case) -> set[str]:
    """Those in which effects can be counted."""
    return {entry.ledger for entry in case.attributed.entries.values() if entry.level in COUNTABLE}
