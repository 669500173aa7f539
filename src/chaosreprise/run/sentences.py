"""What is said of a platform, as lines for people: state, what it is about, the sentence, and what to do next."""

import textwrap
from collections.abc import Iterable

import msgspec

from chaosreprise.platform.said import Said

WIDTH = 110
STATE, ABOUT = 9, 27  # columns
MANY = {
    "fault": "faults",
    "check": "checks",
    "experiment": "experiments",
    "criterion": "criteria",
    "component": "components",
    "link": "links",
    "refused": "refused",
    "answer": "answers",
}


def lines(said: Iterable[Said]) -> list[str]:
    return [line for one in together(said) for line in _wrapped(one)]


def together(said: Iterable[Said]) -> list[Said]:
    """Of many things one line for all of which the same is said, where the first of them stands."""
    names: dict[Said, list[str]] = {}
    for one in said:
        alike = msgspec.structs.replace(one, name="") if one.about in MANY else one
        names.setdefault(alike, []).append(one.name)
    return [
        msgspec.structs.replace(one, about=MANY.get(one.about, one.about), say=f"{', '.join(own)}: {one.say}")
        if len(own) > 1
        else msgspec.structs.replace(one, name=own[0])
        for one, own in names.items()
    ]


def _wrapped(one: Said) -> list[str]:
    label = f"{one.about} {one.name}".strip()
    head = f"{one.state:<{STATE}}{label:<{ABOUT}} " if len(label) <= ABOUT else f"{one.state:<{STATE}}{label}: "
    text = f"{one.say} -> {one.do}" if one.do else one.say
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * (STATE + ABOUT + 1),
        break_long_words=False,
        break_on_hyphens=False,
    )
