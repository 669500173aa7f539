"""One line of a conformance test, and what it costs where it does not hold."""

from typing import NamedTuple

from chaosreprise.checker.registry import checks
from chaosreprise.platform.said import Said


class Shown(NamedTuple):
    """`costs`: the checks that can't be trusted where it is not ok."""

    said: Said
    costs: tuple[str, ...]


def judged_by(ledger: str) -> tuple[str, ...]:
    return tuple(name for name, check in checks().items() if ledger in check.ledgers)


def well(about: str, name: str, say: str) -> Shown:
    return Shown(Said(about=about, name=name, say=say), ())


def wrong(about: str, name: str, say: str, costs: tuple[str, ...]) -> Shown:
    return Shown(Said(about=about, name=name, state="not ok", say=say), costs)
