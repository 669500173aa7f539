"""What a check is. One module of `checks` a check, with `CHECK = Check(...)`; being there is the registration (`registry`)."""

from collections.abc import Callable
from dataclasses import dataclass

from chaosreprise.checker.case import Case
from chaosreprise.checker.verdict import Finding
from chaosreprise.history.events import Level


@dataclass(frozen=True, slots=True)
class Check:
    """`judge` gives count, witnesses, evidence and doubts; the value follows from them, in one place (`judge`).

    `promise`: the promise of the platform that a violation breaks; None: the contract itself states what is judged, so that
    it is always made. `asks`: the list of the contract without which there is nothing to judge. `ledgers`: the kinds of
    evidence that it can't do without. `levels`: the attribution that a kind needs to be judged. `early`: what it finds
    can't be taken back, so that it is judged during the method too. `baseline`: whether there is something to judge before
    anything was broken. `says`: one violation, and several, in words. `criteria`: the ids of those that it proves, or a part
    of them, when an experiment that suits them asks for it.
    """

    name: str
    promise: str | None
    ledgers: tuple[str, ...]
    levels: tuple[Level, ...]
    early: bool
    says: tuple[str, str]
    judge: Callable[[Case], Finding]
    asks: str = ""
    baseline: bool = True
    criteria: tuple[str, ...] = ()
