"""The checks that are built: every module of `checks`. And what a plan needs to know of them."""

import functools
import importlib
import pkgutil
from collections.abc import Iterable, Sequence

from chaosreprise.checker.attribution import strongest
from chaosreprise.checker.check import Check
from chaosreprise.errors import BadInput
from chaosreprise.history.events import Attribution


@functools.cache
def checks() -> dict[str, Check]:
    """All checks by name, in the order of their names."""
    package = importlib.import_module(f"{__package__}.checks")
    found = {}
    for entry in pkgutil.iter_modules(package.__path__):
        check = importlib.import_module(f"{package.__name__}.{entry.name}").CHECK
        found[check.name] = check
    return found


def known() -> list[str]:
    """The names that `require` and `optional` may hold."""
    return list(checks())


def needs(name: str) -> tuple[str, ...]:
    """The kinds of ledger that this check can't do without. Raises BadInput for a name that is no check."""
    return _check(name).ledgers


def asks(name: str) -> str | None:
    """The list of the contract without which this check has nothing to judge. Raises BadInput for a name that is no check."""
    return _check(name).asks or None


def lacking(require: Sequence[str], exposure: Iterable[str], attribution: Sequence[Attribution]) -> list[str]:
    """Why this platform's evidence is not enough for these checks: one sentence each, to refuse a run before any fault.

    Raises BadInput for a name that is no check.
    """
    entries = strongest(attribution)
    found = []
    for name in require:
        check = _check(name)
        for kind in sorted(exposure):
            level = entries[kind].level if kind in entries else "none"
            if level not in check.levels:
                found.append(
                    f"the required check {name!r} can't judge {kind}: its effects are known at level {level!r} only"
                )
    return found


def _check(name: str) -> Check:
    if name not in checks():
        raise BadInput(f"{name!r} is not a check: known are {', '.join(checks())}")
    return checks()[name]
