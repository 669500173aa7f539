"""The interpreters of sessions that no keeper runs: each is found by what the last step of its session has left.

A step of ours says in which process it ran (`steps`). That is believed only of a process that lives, with that start time,
below an agent or the data plane of this stack: so a process of somebody else is never named.
"""

import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from chaosreprise.platform.file import DESCENDANTS, SESSIONS, Platform
from chaosreprise.platform.ledgers import LEDGER_FILE, StepLine
from chaosreprise.procs import Incarnation, children, family

HOSTS = ("agents", "data-plane")
END = 4096  # bytes of a ledger in which its last line surely stands


class Interpreter(NamedTuple):
    """`host` is the component below which it runs."""

    session: str
    inc: Incarnation
    host: str


def are_meant(platform: Platform) -> bool:
    """Whether the platform file says that its sessions are such processes."""
    entry = platform.file.components.get(SESSIONS)
    return entry is not None and entry.how == DESCENDANTS


def of(platform: Platform, components: Mapping[str, Incarnation | None]) -> Iterator[Interpreter]:
    """Those that live, below these components."""
    hosts = {name: inc for name, inc in components.items() if inc and name.partition("/")[0] in HOSTS}
    everybody = children()
    below = {inc: name for name, host in hosts.items() for inc in family(host, everybody)[1:]}
    for evidence in platform.file.evidence.values():
        if evidence.kind != "files":
            continue
        for ledger in sorted((platform.folder / (evidence.path or "")).glob(f"*/{LEDGER_FILE}")):
            inc = _last(ledger)
            if inc in below:
                yield Interpreter(ledger.parent.name, inc, below[inc])


def _last(ledger: pathlib.Path) -> Incarnation | None:
    """In which process the last whole line was written; None where nothing of ours can be read."""
    try:
        with ledger.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - END))
            lines = file.read().split(b"\n")[:-1]
        return Incarnation(*msgspec.json.decode(lines[-1], type=StepLine).inc)
    except (OSError, IndexError, TypeError, msgspec.DecodeError):
        return None
