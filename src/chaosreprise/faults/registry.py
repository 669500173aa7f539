"""Which faults there are: a module `<verb>.py` in `kinds` is the fault `<group>.<verb>` of each group that it names.

Being there is its registration. A fault is imported when it is asked for.
"""

import functools
import importlib
import inspect
import pkgutil
from typing import Any, NamedTuple

from chaosreprise.errors import NotPossible
from chaosreprise.faults import kinds as package
from chaosreprise.faults.base import Fault

LOAD = "load"  # its actions break nothing
ACTIONS = "chaosreprise.actions."


class Entry(NamedTuple):
    """A fault as the reference shows it: the first line of its module says what it does, the rest is `about` it."""

    verb: str
    does: str
    about: str
    fault: Fault


@functools.cache
def verbs() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def entries() -> list[Entry]:
    """All faults, for the reference."""
    return [_entry(verb) for verb in verbs()]


def kinds() -> list[str]:
    return sorted(f"{group}.{entry.verb}" for entry in entries() for group in entry.fault.groups)


def get(kind: str) -> Fault:
    """The fault of this kind. Raises NotPossible with those that there are."""
    group, _, verb = kind.partition(".")
    if verb in verbs() and group in (fault := _entry(verb).fault).groups:
        return fault
    raise NotPossible(f"{kind!r} is no fault: expected one of {', '.join(kinds())}")


def action(provider: Any) -> str | None:
    """The name of an action of ours, such as `agents.crash` or `load.drain`; None for whatever else an experiment names."""
    module = str(provider.get("module")) if isinstance(provider, dict) else ""
    if not module.startswith(ACTIONS):
        return None
    return f"{module.removeprefix(ACTIONS).replace('_', '-')}.{provider.get('func')}"


def is_fault(name: str) -> bool:
    """Whether an action of this name is a fault: nothing that the load does is one."""
    group, _, verb = name.partition(".")
    return verb in verbs() and group != LOAD


def group_of(component: str) -> str:
    """The group of a component: `agents` of `agents/a1`."""
    return component.partition("/")[0]


def _entry(verb: str) -> Entry:
    module = importlib.import_module(f"{package.__name__}.{verb}")
    does, _, about = (inspect.getdoc(module) or "").partition("\n\n")
    return Entry(verb, does, about, module.FAULT)
