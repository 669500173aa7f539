"""What is done to each run of a torture: pure, from the seed and the number of the draw alone.

So a log that ends anywhere can be gone on with.
"""

import functools
import random
from typing import NamedTuple

STATES = ("planned", "armed", "injected", "proven", "undoing", "undone", "clean")
TOOL, WARDEN, KEEPER = "tool", "warden", "keeper"
WITHOUT_KEEPER = ((TOOL,), (WARDEN,), (TOOL, WARDEN))
WITH_KEEPER = ((KEEPER,), (TOOL, KEEPER), (WARDEN, KEEPER), (TOOL, WARDEN, KEEPER))
# A deck is 100 draws: 84 without the keeper (each combination 4 times), 10 with it, since a new lab takes 2 s, and 6 in
# which nobody is killed but the whole run is frozen for a moment.
DECK, KEEPERS, FROZEN = 100, 10, 6
TROUBLED = 0.12  # of the draws: the target itself is in trouble
DOUBLE = 0.12  # of the draws: there is a second fault, on another component
LATEST_S = 0.02
LONGEST_GAP_S = 0.3  # about as long as an undo takes


class Draw(NamedTuple):
    """`who` is killed, in this order, `delay_s` after the ledger shows `state`; nobody: tool and warden are frozen for `freeze_s`.

    `gap_s` is between one kill and the next. `heal_killed_s`: if `heal` is needed, one is killed so long after its start first.
    `trouble`: `broken` (the target is stopped before anything begins), or the state at which the target is killed by
    somebody else. `guarded`: the warden keeps to the platform file. The picks are shares of the kinds of fault, and of
    the components that such a fault can hit; the second ones are for a fault beside the first.
    """

    n: int
    seed: int
    who: tuple[str, ...]
    state: str
    delay_s: float
    gap_s: float
    freeze_s: float
    heal_killed_s: float | None
    whole: bool
    trouble: str | None
    kind_pick: float
    on_pick: float
    second: tuple[float, float] | None
    hold_s: float
    plan_first: bool
    bye_only: bool
    guarded: bool


def draw(seed: int, n: int, whole_every: int) -> Draw:
    """Number `n` of this seed; every `whole_every`th is a whole `chaos run`, 0: none is."""
    rng = random.Random(f"torture {seed} {n}")
    who, state = _deck(seed, n // DECK)[n % DECK]
    whole = whole_every > 0 and n % whole_every == whole_every - 1
    troubles = ("broken", *STATES[: min(4, STATES.index(state) + 1)])
    trouble = rng.choice(troubles) if rng.random() < TROUBLED and not whole else None
    return Draw(
        n=n,
        seed=seed,
        who=tuple(rng.sample(who, len(who))),
        state=state,
        delay_s=LATEST_S * rng.random() ** 3,  # most states are over within a few ms
        gap_s=rng.choice((0.0, rng.uniform(0, LONGEST_GAP_S))),
        freeze_s=rng.uniform(0.2, 0.8),
        heal_killed_s=rng.choice((None, rng.uniform(0, LONGEST_GAP_S))),
        whole=whole,
        trouble=trouble,
        kind_pick=rng.random(),
        on_pick=rng.random(),
        second=(rng.random(), rng.random()) if rng.random() < DOUBLE and not whole else None,
        hold_s=rng.uniform(0.05, 0.2),
        plan_first=rng.random() < 0.3 or "planned" in (state, trouble),
        bye_only=rng.random() < 0.25,
        guarded=rng.random() < 0.1,  # it costs a second until the adapter is imported
    )


@functools.cache
def _deck(seed: int, number: int) -> list[tuple[tuple[str, ...], str]]:
    """Who and when. With the keeper, every combination is there once in 28 draws of it, over the decks."""
    cards: list[tuple[tuple[str, ...], str]] = [(who, state) for who in WITHOUT_KEEPER for state in STATES] * 4
    keepers = [(who, state) for who in WITH_KEEPER for state in STATES]
    random.Random(f"keepers {seed}").shuffle(keepers)
    cards += [keepers[(KEEPERS * number + i) % len(keepers)] for i in range(KEEPERS)]
    rng = random.Random(f"deck {seed} {number}")
    cards += [((), rng.choice(STATES)) for _ in range(FROZEN)]
    rng.shuffle(cards)
    return cards
