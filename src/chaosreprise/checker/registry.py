"""The checks that are built: every module of this package that has a `CHECK`."""

import functools
import importlib
import pkgutil

from chaosreprise import checker
from chaosreprise.checker.check import Check


@functools.cache
def checks() -> dict[str, Check]:
    """All checks by name, in the order of their names."""
    found = {}
    for entry in pkgutil.iter_modules(checker.__path__):
        module = importlib.import_module(f"{checker.__name__}.{entry.name}")
        check = getattr(module, "CHECK", None)
        if isinstance(check, Check):
            found[check.name] = check
    return found
