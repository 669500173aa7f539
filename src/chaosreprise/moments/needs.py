"""What a moment needs to come, so that a plan can refuse what never would: commands, a victim that they cross, what shows them."""

from collections.abc import Collection
from typing import get_args

from chaosreprise.history.events import Op
from chaosreprise.moments.grammar import FRAMES, ROWS, At, Lifecycle, Moment

CROSSES: dict[str, tuple[str, ...]] = {
    "agents": get_args(Lifecycle),
    "links/agents": get_args(Lifecycle),
    "sessions": ("stop", "hibernate", "step"),
    "links/sessions": ("step",),
}
"""The kinds that cross a component of such a group, or such a link; all cross what is not here. A session that is broken runs."""


def needed(at: At | None) -> dict[Op, int]:
    """How many commands of each kind must be sent for it to come."""
    found: dict[Op, int] = {}
    for event, _ in at.events() if isinstance(at, Moment) else []:
        found[event.op] = max(found.get(event.op, 0), event.n)
    return found


def unreachable(at: At | None, group: str) -> str | None:
    """Why it can't come for a fault on this group of components, or this link, and what to say instead."""
    if not isinstance(at, Moment):
        return None
    for event, _ in at.events():
        if event.whose == "victim" and event.op not in CROSSES.get(group, get_args(Op)):
            return f'a {event.op} crosses nothing of {group}: say "of": "any" if anybody\'s will do'
        if event.whose == "victim" and group == "sessions" and event.op != "step" and event.n > 1:
            return f"a session has one {event.op} in a run: leave n out"
    if at.agent is not None and at.whose == "victim" and group not in ("agents", "links/agents"):
        return 'it is on no agent: say "of": "any" for whichever agent is shown so'
    return None


def wants_frames(at: At | None) -> bool:
    """Whether it needs somebody who reads along on links."""
    stages = [stage for event, until in at.events() for stage in (event.stage, until)] if isinstance(at, Moment) else []
    return any(stage in FRAMES for stage in stages)


def unseen(at: At | None, effects: Collection[str], rows: bool, frames: bool) -> str | None:
    """What shows that it has come, and is not there: `effects` are the kinds of commands whose effects are seen."""
    if not isinstance(at, Moment):
        return None
    if at.agent is not None and not rows:
        return "evidence of the platform's rows, in which agents are shown"
    for event, until in at.events():
        for stage in (event.stage, until):
            if stage in ROWS and not rows:
                return f"evidence of the platform's rows, which show {stage!r}"
            if stage in FRAMES and not frames:
                return f"links to agents with taps, which show {stage!r}"
            if stage in ("b", "effect") and event.op not in effects:
                return f"evidence of a ledger that shows the effects of a {event.op}"
    return None
