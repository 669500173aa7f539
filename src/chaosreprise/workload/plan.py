"""The plan of a load: pure, from the seed and what the experiment asks for.

Where sessions can be hibernated, on each agent: one canary, one session for steps, and a reserve of running and of hibernated sessions that the fault's
window uses up, n + 1 of each where n is the exposure asked for. Beside them one start-stop and hibernate-wake cycle an
agent in the baseline, and one start an agent while the fault is on.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from chaosreprise.errors import BadInput

DEFAULT_EXPOSURE = 5
OPEN_LOOP = ("step", "read", "list")
WAITING = ("stop", "hibernate", "wake")  # the kinds that can wait for an absent agent; a start goes elsewhere
STEPS = ("step",)  # where sessions can't be hibernated, steps are what a fault meets


class Workload(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What the experiment says of its load. `mix` are the rates of open-loop operations, each per second.

    `creates`: so many more of them in the baseline, and as many each time that commands are sent; each is stopped again at once.
    `sleepers`: so many sessions on each agent hibernate and wake again and again, and are asked before and after; about
    half of all sessions then have no persistent home.
    `seed`: a whole number from 0, also as text (it comes from REPRISE_SEED); empty or absent: drawn.
    """

    sessions: Annotated[int, Meta(ge=1, le=10000, description="a whole number from 1 to 10000")] = 48
    reserve: Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")] | None = None
    mix: dict[str, Annotated[float, Meta(ge=0, le=10000, description="a rate from 0 to 10000 per second")]] = (
        msgspec.field(default_factory=lambda: {"step": 30.0, "read": 15.0})
    )
    creates: Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")] = 0
    sleepers: Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")] = 0
    seed: int | str | None = None


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """What the load will do. `starts` is the total of creates, `queue` the longest queue of commands that one agent can get.

    Beside `reserve` running and as many hibernated sessions an agent has `ends` and `wakes` more of them, for moments, and
    `sleepers` that hibernate and wake all the time.
    """

    seed: int
    agents: list[str]
    reserve: int
    ends: int
    wakes: int
    per_agent: int
    starts: int
    queue: int
    mix: dict[str, float]
    users: list[str]
    creates: int = 0
    sleepers: int = 0
    settle_s: float = 0.0
    hibernates: bool = True


def make(
    workload: Workload,
    exposure: dict[str, int],
    agents: list[str],
    users: list[str],
    max_sessions: int,
    max_rps: float,
    seed: int,
    prompts: Mapping[str, int] = MappingProxyType({}),
    hibernates: bool = True,
) -> Plan:
    """Raises BadInput when the load does not fit the budget, with the sum that does not fit.

    `prompts`: what moments need besides, on each agent; of starts in all. `hibernates`: whether sessions can be hibernated.
    """
    _check(workload, exposure, max_rps, hibernates)
    if not hibernates:
        return _of_steps(workload, exposure, agents, users, max_sessions, seed)
    reserve = (
        workload.reserve
        or max(exposure.get("hibernate", 0), exposure.get("wake", 0), -(-exposure.get("stop", 0) // 2)) + 1
    )
    ends, wakes = prompts.get("hibernate", 0) + prompts.get("stop", 0), prompts.get("wake", 0)
    sleepers = workload.sleepers
    per_agent = 2 + 2 * reserve + ends + wakes + sleepers
    starts = len(agents) * (per_agent + 2) + 2 * workload.creates + prompts.get("start", 0)
    limit = min(workload.sessions, max_sessions)
    if starts > limit:
        moments = f" + {ends + wakes} for moments" if ends + wakes else ""
        creates = f" + 2 x {workload.creates} creates" if workload.creates else ""
        moments += f" + {sleepers} that sleep" if sleepers else ""
        raise BadInput(
            f"{starts} sessions are needed ({len(agents)} agents x (1 canary + 1 for steps + 2 x {reserve} in reserve{moments} + 2 cycles){creates}): "
            f"workload.sessions = {workload.sessions}, budget.max_sessions = {max_sessions}: lower the exposure or raise the limits"
        )
    queue = max(
        4 * reserve + 2 * (ends + wakes) + sleepers, 2 * (len(agents) + workload.creates)
    )  # the pairs of the victim; the starts of the window with their stops
    return Plan(
        seed=seed,
        agents=sorted(agents),
        reserve=reserve,
        ends=ends,
        wakes=wakes,
        per_agent=per_agent,
        starts=starts,
        queue=queue,
        mix=workload.mix,
        users=users,
        creates=workload.creates,
        sleepers=sleepers,
    )


def _check(workload: Workload, exposure: dict[str, int], max_rps: float, hibernates: bool) -> None:
    """Raises BadInput for what is asked for and can't be had here."""
    if unknown := sorted(set(workload.mix) - set(OPEN_LOOP)):
        raise BadInput(f"workload.mix.{unknown[0]}: not an open-loop operation: known are {', '.join(OPEN_LOOP)}")
    if unknown := sorted(set(exposure) - set(WAITING if hibernates else STEPS)):
        known = ", ".join(WAITING if hibernates else STEPS)
        raise BadInput(f"exposure.{unknown[0]}: this platform can't be exposed to a fault by it: known are {known}")
    rate = sum(workload.mix.values())
    if rate > max_rps:
        raise BadInput(
            f"workload.mix asks for {rate:g} requests per second: budget.max_rps = {max_rps:g}: ask for less"
        )
    for name in ("sleepers", "creates"):
        if not hibernates and (n := getattr(workload, name)):
            raise BadInput(
                f"workload.{name} = {n}: goes only where sessions can be hibernated, and here they can't: leave it out"
            )


def _of_steps(
    workload: Workload, exposure: dict[str, int], agents: list[str], users: list[str], max_sessions: int, seed: int
) -> Plan:
    """One canary, one session for open-loop steps, and a reserve on each agent: each of it takes one slow step at a time."""
    reserve = workload.reserve or exposure.get("step", 0) + 1
    starts = len(agents) * (2 + reserve)
    limit = min(workload.sessions, max_sessions)
    if starts > limit:
        raise BadInput(
            f"{starts} sessions are needed ({len(agents)} agents x (1 canary + 1 for steps + {reserve} in reserve)): "
            f"workload.sessions = {workload.sessions}, budget.max_sessions = {max_sessions}: lower the exposure or raise the limits"
        )
    return Plan(
        seed=seed,
        agents=sorted(agents),
        reserve=reserve,
        ends=0,
        wakes=0,
        per_agent=2 + reserve,
        starts=starts,
        queue=2,
        mix={name: rate for name, rate in workload.mix.items() if name == "step"},
        users=users or [""],
        hibernates=False,
    )
