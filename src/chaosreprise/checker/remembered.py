"""What a session had lost by what its own processes say: a later process has a new memory, and knows which files it found.

Each process leaves a line in its session's home before it speaks, and says how many there are then (`kept`), and whose (`found`). One that surely began
when another one had surely spoken for the last time found the line of that one, where it was left, or the files were lost.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from chaosreprise.checker.case import Case
from chaosreprise.checker.signs import processes
from chaosreprise.checker.verdict import Label
from chaosreprise.history import Sign


class Forgot(NamedTuple):
    """The last sign of one process and the first one of a later one."""

    session: str
    earlier: Sign
    later: Sign
    label: Label


def forgotten(
    case: Case, promised: Sequence[Label], bare: Collection[str], said_lost: Callable[[Case, str, int, int], bool]
) -> Iterator[Forgot]:
    """The first of each session and kind."""
    for session, each in sorted(case.once(processes).items()):
        for label in promised:
            if label == "files" and session in bare:
                continue
            found = (
                Forgot(session, earlier, later, label)
                for earlier, later in _after_one_another(each)
                if _is_lost(label, earlier, later) and not said_lost(case, session, earlier.lo, later.hi)
            )
            yield from [one for one in [next(found, None)] if one is not None]


def _after_one_another(each: Sequence[Sequence[Sign]]) -> Iterator[tuple[Sign, Sign]]:
    """Each process with each that surely had spoken for the last time before it began."""
    for later in sorted(each, key=lambda signs: signs[0].lo):
        yield from ((earlier[-1], later[0]) for earlier in each if earlier[-1].hi < later[0].lo)


def _is_lost(label: Label, earlier: Sign, later: Sign) -> bool:
    if label == "memory":
        return True
    if earlier.kept is None or later.kept is None:
        return False
    return later.kept <= earlier.kept or is_missing(earlier, later)


def is_missing(earlier: Sign, later: Sign) -> bool:
    """Whether something else stands where the earlier process had left its name. Not known where that is not told, or too long ago."""
    if earlier.kept is None or later.kept is None or later.found is None:
        return False
    place = earlier.kept - later.kept + len(later.found)
    return 0 <= place < len(later.found) and later.found[place] != earlier.inc[-1]


def heard_across(case: Case, moment: int, promised: Collection[str]) -> Iterator[str]:
    """Sessions that spoke of what is promised before and after it."""
    for session, each in sorted(case.once(processes).items()):
        signs = [sign for own in each for sign in own if "memory" in promised or sign.kept is not None]
        if any(sign.hi < moment for sign in signs) and any(sign.lo > moment for sign in signs):
            yield session


def found_home_before(case: Case, session: str, moment: int) -> bool:
    """Whether a process of it had told, before this moment, what its home had kept."""
    return any(own[0].kept is not None and own[0].hi < moment for own in case.once(processes).get(session, ()))


def found_home_after(case: Case, session: str, moment: int) -> bool:
    """Whether one that began after this moment did."""
    return any(own[0].kept is not None and own[0].lo > moment for own in case.once(processes).get(session, ()))
