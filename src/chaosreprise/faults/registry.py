"""Which faults there are: a module `<group>_<verb>.py` in this folder is the fault `<group>.<verb>`, by being there.

The modules of the machinery have one word for a name. A fault is imported when it is asked for.
"""

import importlib
import pkgutil

from chaosreprise import faults
from chaosreprise.errors import NotPossible
from chaosreprise.faults.base import Fault


def kinds() -> list[str]:
    return sorted(
        module.name.replace("_", ".", 1) for module in pkgutil.iter_modules(faults.__path__) if "_" in module.name
    )


def get(kind: str) -> Fault:
    """The fault of this kind. Raises NotPossible with those that there are."""
    if kind not in kinds():
        raise NotPossible(f"{kind!r} is no fault: expected one of {', '.join(kinds())}")
    fault: Fault = importlib.import_module(f"{faults.__name__}.{kind.replace('.', '_', 1)}").FAULT
    return fault
