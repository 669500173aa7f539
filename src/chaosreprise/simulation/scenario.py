"""What one simulated run is: drawn from its seed, so that many seeds see many platforms, faults and ways to be watched."""

import random
from dataclasses import dataclass, field, replace

TAKE_AWAY, PAUSE, CRASH = "agents.take_away", "agents.pause", "agents.crash"
CONTROL_CRASH, SESSION_CRASH = "control-plane.crash", "sessions.crash"
REFUSE, HANG = "database.refuse", "database.hang"
OUTAGES = (REFUSE, HANG)
KINDS = (TAKE_AWAY, PAUSE, CRASH, CONTROL_CRASH, SESSION_CRASH, *OUTAGES)
MOMENTARY = (CRASH, CONTROL_CRASH, SESSION_CRASH)
BASELINE_S, HOLD_S, QUIET_S = 0.8, 1.6, 0.4
SETTLE_S, BOUND_S, OFFLINE_S = 1.5, 1.2, 0.5
UP_S = 0.3  # for how long the health page may call the database up that is away
STORE_S = 0.25  # after which the control plane gives up a database that hangs
NOTICED_S = 0.3  # after which the control plane takes a silent agent for gone
BACKOFF_S = 0.1
MIX = {"step": 12.0, "read": 12.0, "list": 8.0}  # a second: a run without one of each is as good as impossible


@dataclass(frozen=True, slots=True)
class Scenario:
    """`unclear`: the share of answers that are lost once something is broken; `unclear_to_the_end`: also while it is cleaned up.

    `flaps`: connections that break by themselves. `silent`: nobody tells the control plane that an agent has died.
    `coalesces`: the platform may drop what a later command has overtaken, and says so. `slow` stretches all that it does.
    `stalls`: times in which the recorder can't look; `gap`: a source that is not watched for a while, and says so.
    `polled`: the ledgers have no stamps of their own, so that effects are known from one look to the next.
    """

    seed: int
    kind: str = TAKE_AWAY
    agents: int = 2
    all_agents: bool = False
    exposure: int = 1
    unclear: float = 0.0
    flaps: int = 0
    redelivers: bool = False
    coalesces: bool = False
    stalls: int = 0
    gap: str | None = None
    unclear_to_the_end: bool = False
    polled: bool = False
    silent: bool = False
    slow: float = 1.0
    hz: float = 50.0
    hold_s: float = HOLD_S
    mix: dict[str, float] = field(default_factory=lambda: dict(MIX))

    @property
    def momentary(self) -> bool:
        return self.kind in MOMENTARY

    @property
    def clear(self) -> bool:
        """Whether all that happens can be known, and counts as exposed: a correct platform then gives true, not only never false.

        A recorder that stalls while an agent gets lost does not know what that agent was given just before, and what after.
        """
        hides = self.unclear or self.gap or self.coalesces or self.all_agents or self.polled
        return not hides and not (self.stalls and self.kind in (TAKE_AWAY, PAUSE))


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    drawn = random.Random(f"{seed} scenario")
    kind = drawn.choice(KINDS)
    return Scenario(
        seed=seed,
        kind=kind,
        agents=drawn.choice((2, 2, 3)),
        all_agents=kind == TAKE_AWAY and drawn.random() < 0.2,
        exposure=drawn.choice((1, 1, 2, 3)),
        unclear=drawn.uniform(0.02, 0.3) if drawn.random() < 0.3 else 0.0,
        flaps=drawn.choice((0, 0, 0, 1, 3)),
        redelivers=drawn.random() < 0.3,
        coalesces=drawn.random() < 0.15,
        stalls=drawn.choice((0, 0, 0, 1, 3)),
        gap=drawn.choice(("slots", "workspaces", "rows")) if drawn.random() < 0.1 else None,
        slow=drawn.uniform(0.5, 1.5),
        hz=drawn.choice((10.0, 20.0, 50.0)),
        unclear_to_the_end=drawn.random() < 0.3,
        polled=drawn.random() < 0.15,
        silent=drawn.random() < 0.3,
    )


def plain(seed: int, kind: str = TAKE_AWAY, **more: object) -> Scenario:
    """A run of this kind in which nothing hides anything: what a planted defect must be found in."""
    drawn = draw(seed)
    base = Scenario(seed=seed, kind=kind, agents=3, exposure=drawn.exposure, slow=drawn.slow, hold_s=2 * HOLD_S)
    return replace(base, **more)  # type: ignore[arg-type]
