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
from chaosreprise.history.events import Place

DEFAULT_EXPOSURE = 5
OPEN_LOOP = ("step", "read", "list")
WAITING = ("stop", "hibernate", "wake")  # the kinds that can wait for an absent agent; a start goes elsewhere
STEPS = ("step",)  # where sessions can't be hibernated, steps are what a fault meets
SLOW_S = 0.8  # a fault strikes some 20 ms after it has seen the steps that it waits for, 0.1 s on a busy machine
SLOW_PODS_S = 2.0  # a busy node ends a container a second after its pod's deletion; services wait longer for an answer


class Workload(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What the experiment says of its load. `mix` are the rates of open-loop operations, each per second.

    `creates`: so many more of them in the baseline, and as many each time that commands are sent; each is stopped again at once.
    `sleepers`: so many sessions on each agent hibernate and wake again and again, and are asked before and after; about
    half of all sessions then have no persistent home.
    `seed`: a whole number from 0, also as text (it comes from REPRISE_SEED); empty or absent: drawn. `noisy`: in the baseline, and each
    time that commands are sent, the steps of one more session write past their interpreter's `print` as well.
    `asks`: the shares of creates, but for those that make the load's own sessions, which ask for a cluster, a region or a platform.
    `crowd`: how many creates come at once for one user, who has no other sessions, whenever commands are sent.
    """

    sessions: Annotated[int, Meta(ge=1, le=10000, description="a whole number from 1 to 10000")] = 48
    reserve: Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")] | None = None
    mix: dict[str, Annotated[float, Meta(ge=0, le=10000, description="a rate from 0 to 10000 per second")]] = (
        msgspec.field(default_factory=lambda: {"step": 30.0, "read": 15.0})
    )
    asks: dict[Place, Annotated[float, Meta(ge=0, le=1, description="a share from 0 to 1")]] = {}
    creates: Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")] = 0
    sleepers: Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")] = 0
    crowd: Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")] = 0
    seed: int | str | None = None
    noisy: bool = False


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """What the load will do. `starts` is the total of creates, `queue` the longest queue of commands that one agent can get.
    `crowd` of them come at once for the user `crowded`.

    Beside `reserve` running and as many hibernated sessions an agent has `ends` and `wakes` more of them, for moments, and
    `sleepers` that hibernate and wake all the time. Where there are steps only, one for a fault to strike takes `slow_s`.
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
    steps: bool = True
    noisy: bool = False
    slow_s: float = SLOW_S
    asks: dict[Place, float] = {}
    crowd: int = 0
    crowded: str = ""


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
    a_user: int | None = None,
    steps: bool = True,
) -> Plan:
    """Raises BadInput when the load does not fit the budget, with the sum that does not fit.

    `prompts`: what moments need besides, on each agent; of starts in all. `hibernates`: whether sessions can be hibernated.
    `a_user`: how many of them the platform allows each user, where that is known. `steps`: whether code can be run in them; else none is sent.
    """
    _check(workload, exposure, users, max_rps, hibernates)
    if not hibernates:
        return _of_steps(workload, exposure, agents, users, max_sessions, seed)
    reserve = (
        workload.reserve
        or max(exposure.get("hibernate", 0), exposure.get("wake", 0), -(-exposure.get("stop", 0) // 2)) + 1
    )
    ends, wakes = prompts.get("hibernate", 0) + prompts.get("stop", 0), prompts.get("wake", 0)
    sleepers, creates, crowd = workload.sleepers, workload.creates, workload.crowd
    per_agent = 2 + 2 * reserve + ends + wakes + sleepers
    starts = len(agents) * (per_agent + 2) + 2 * creates + prompts.get("start", 0) + crowd
    if starts > min(workload.sessions, max_sessions):
        moments = f" + {ends + wakes} for moments" if ends + wakes else ""
        moments += f" + {sleepers} that sleep" if sleepers else ""
        beside = f" + 2 x {creates} creates" if creates else ""
        beside += f" + a crowd of {crowd}" if crowd else ""
        raise BadInput(
            f"{starts} sessions are needed ({len(agents)} agents x (1 canary + 1 for steps + 2 x {reserve} in reserve{moments} + 2 cycles){beside}): "
            f"workload.sessions = {workload.sessions}, budget.max_sessions = {max_sessions}: lower the exposure or raise the limits"
        )
    queue = max(
        4 * reserve + 2 * (ends + wakes) + sleepers + crowd, 2 * (len(agents) + creates)
    )  # the pairs of the victim; the starts of the window with their stops
    made = Plan(
        seed=seed,
        agents=sorted(agents),
        reserve=reserve,
        ends=ends,
        wakes=wakes,
        per_agent=per_agent,
        starts=starts,
        queue=queue,
        mix={name: rate for name, rate in workload.mix.items() if steps or name not in STEPS},
        steps=steps,
        users=users[:-1] if crowd else users,
        asks=workload.asks,
        creates=creates,
        sleepers=sleepers,
        crowd=crowd,
        crowded=users[-1] if crowd else "",
    )
    return _within(a_user, made)


def _check(workload: Workload, exposure: dict[str, int], users: list[str], max_rps: float, hibernates: bool) -> None:
    """Raises BadInput for what makes no sense, however large the platform is, or can't be had here."""
    if unknown := sorted(set(workload.mix) - set(OPEN_LOOP)):
        raise BadInput(f"workload.mix.{unknown[0]}: not an open-loop operation: known are {', '.join(OPEN_LOOP)}")
    kinds = WAITING if hibernates else STEPS
    if unknown := sorted(set(exposure) - set(kinds)):
        known = ", ".join(kinds)
        raise BadInput(f"exposure.{unknown[0]}: this platform can't be exposed to a fault by it: known are {known}")
    rate = sum(workload.mix.values())
    if rate > max_rps:
        raise BadInput(
            f"workload.mix asks for {rate:g} requests per second: budget.max_rps = {max_rps:g}: ask for less"
        )
    for name in ("asks", "crowd", "creates", "sleepers"):
        if not hibernates and (stated := getattr(workload, name)):
            raise BadInput(
                f"workload.{name} = {stated}: goes only where sessions can be hibernated, and here they can't: leave it out"
            )
    if (asking := sum(workload.asks.values())) > 1:
        raise BadInput(
            f"workload.asks = {workload.asks}: {asking:g} in all: one create asks for one thing: expected 1 at most"
        )
    if workload.crowd and len(users) < 2:
        raise BadInput(
            f"workload.crowd = {workload.crowd}: it is for a user without other sessions: name two in budget.users"
        )


def _within(a_user: int | None, plan: Plan) -> Plan:
    """The same plan, if its users may have so many sessions. Raises BadInput."""
    starts = plan.starts - plan.crowd
    if a_user is not None and starts > a_user * len(plan.users):
        raise BadInput(
            f"{starts} sessions are needed: budget.users names {len(plan.users)} for them, of whom each may have {a_user} "
            "(budget.sessions_a_user): name more users, or lower the exposure"
        )
    return plan


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
        noisy=workload.noisy,
    )
