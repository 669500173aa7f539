"""The faults of an open run, as its actions ask for them: made side by side, struck among commands in flight, undone.

Nothing is decided here: the plan says which components, the warden whether it may be, and both say why not.
"""

import concurrent.futures
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from chaosreprise.errors import NotPossible, RepriseError
from chaosreprise.faults import registry
from chaosreprise.faults.client import Warden
from chaosreprise.moments.commands import agent_of
from chaosreprise.run.child import Child
from chaosreprise.run.method import SESSIONS, Wanted
from chaosreprise.run.observing import Pretender
from chaosreprise.run.plan import FaultPlan, RunPlan

log = logging.getLogger("chaostoolkit")
ARMED_TICK_S, BACK_TICK_S = 0.002, 0.05
BACK_S = 60.0  # what is not back by then is said by whoever waits for its undo
STRUCK = ("injected", "proven", "undoing", "undone")
OVER = ("clean", "moot", "leaked")


class Breaker:
    """`faults` are those that are on: component -> the fault's name. `exposure` is what the experiment wants in flight."""

    def __init__(self, warden: Warden | Pretender, load: Child, plan: RunPlan, exposure: dict[str, int]) -> None:
        self._warden, self._load, self._plan, self._exposure = warden, load, plan, exposure
        self._numbers = itertools.count(1)
        self.faults: dict[str, str] = {}

    def inject(self, planned: FaultPlan) -> list[dict[str, Any]]:
        components = self._components(planned)
        turns = [[component] for component in components] if planned.wanted.one_by_one else [components]
        return [told for turn in turns for told in self._turn(planned, turn)]

    def _turn(self, planned: FaultPlan, components: list[str]) -> list[dict[str, Any]]:
        """Those that are hit at once; momentary ones are back when it returns."""
        numbers = {component: f"f{next(self._numbers)}" for component in components}
        told = self._strike(planned, numbers)
        if registry.get(planned.wanted.kind).momentary:
            told = self._side_by_side(self._undo_one, components)
        return told

    def undo(self, group: str, which: str) -> list[dict[str, Any]]:
        """`group` and `which` may be empty: all of them."""
        meant = [
            component
            for component in list(self.faults)
            if group in ("", registry.group_of(component)) and _is_meant(component, which)
        ]
        return self._side_by_side(self._undo_one, meant)

    def proven(self) -> list[str]:
        """The components that are broken at this moment."""
        return [
            component
            for component, number in list(self.faults.items())
            if self._warden.request("status", fault=number)["state"] == "proven"
        ]

    def until_back(self) -> int:
        """Wait until each momentary fault that has struck is over; when the last fault of all was, in ns of CLOCK_MONOTONIC, or 0."""
        deadline = time.monotonic() + BACK_S
        while True:
            try:
                known = self._warden.request("status").get("faults", [])
            except RepriseError:
                return 0  # nobody can say: so does the history
            struck = [one for one in known if one["state"] in STRUCK and registry.get(one["kind"]).momentary]
            if not struck or time.monotonic() > deadline:
                return max((one["hi"] for one in known if one["state"] in OVER), default=0)
            time.sleep(BACK_TICK_S)

    def _components(self, planned: FaultPlan) -> list[str]:
        """What a fault hits; sessions have their names now that the load has made them."""
        wanted = planned.wanted
        if wanted.group != "sessions":
            return planned.components
        names = self._load.ask("running", agent=planned.agents[0], count=wanted.count)["sessions"]
        if len(names) < int(wanted.count):
            raise NotPossible(
                f"{wanted.kind}: count = {wanted.count}: {planned.agents[0]} has {len(names)} running sessions in reserve: ask for fewer"
            )
        return [f"sessions/{name}" for name in names]

    def _strike(self, planned: FaultPlan, numbers: dict[str, str]) -> list[dict[str, Any]]:
        """All at once; once the faults are armed the commands are sent among which they strike, or which their moment needs."""
        wanted = planned.wanted
        hit = list(dict.fromkeys(agent for name in numbers if (agent := agent_of(name))))
        agents = hit or planned.agents or self._plan.load.agents
        prompts = wanted.prompts(len(self._plan.load.agents))
        with self._hushed(wanted.in_flight), concurrent.futures.ThreadPoolExecutor(len(numbers)) as pool:
            striking = [pool.submit(self._inject, wanted, name, number) for name, number in numbers.items()]
            if wanted.in_flight or prompts:
                self._until_armed(numbers.values(), striking)
            if wanted.in_flight:
                self._load.ask("burst", agents=agents, need=self._exposure, broken=list(numbers), share=wanted.share)
            if prompts:
                sessions = [name.partition("/")[2] for name in numbers] if wanted.group == SESSIONS else []
                self._load.ask("prompt", agents=agents, sessions=sessions, need=prompts)
            return [one.result() for one in striking]

    @contextlib.contextmanager
    def _hushed(self, in_flight: bool) -> Iterator[None]:
        """What is to be in flight is all that the load sends meanwhile, where that matters."""
        if in_flight:
            self._load.ask("hush", on=True)
        try:
            yield
        finally:
            if in_flight:
                self._load.ask("hush", on=False)

    def _until_armed(self, numbers: Collection[str], striking: list["concurrent.futures.Future[Any]"]) -> None:
        """Each fault is armed, or its injection is over."""
        while not all(one.done() for one in striking):
            armed = [
                one["fault"] for one in self._warden.request("status").get("faults", []) if one["state"] == "armed"
            ]
            if set(numbers) - set(armed) <= {
                number for number, one in zip(numbers, striking, strict=True) if one.done()
            }:
                return
            time.sleep(ARMED_TICK_S)

    def _inject(self, wanted: Wanted, component: str, number: str) -> dict[str, Any]:
        answer = self._warden.request(
            "inject",
            fault=number,
            kind=wanted.kind,
            on=component,
            hold_ns=int(wanted.hold_s * 1e9),
            args=wanted.args,
            at=wanted.waits_for(self._exposure),
        )
        self.faults[component] = number
        took_ms = (answer["hi"] - answer["lo"]) / 1e6
        if not answer.get("observed_only"):
            when = f" {answer['moment']['say']}" if wanted.at is not None else ""
            log.info(
                f"fault     {wanted.kind} on {component}{when}, proven after {took_ms:.1f} ms: {_seen(answer['proof'])}"
            )
        return {"fault": number, **answer}

    def _undo_one(self, component: str) -> dict[str, Any]:
        number = self.faults.get(component)
        if number is None:
            return {"fault": None}
        answer = self._warden.request("undo", fault=number)
        self.faults.pop(component, None)  # an interrupted rollback may be at it too
        if not answer.get("observed_only"):
            within = answer.get("target", {}).get("within")  # where nobody brings it back but the platform
            log.info(f"fault     undone: {component} {f'is left to {within}' if within else 'is whole again'}")
        return {"fault": number, **answer}

    def _side_by_side(self, work: Callable[[str], dict[str, Any]], components: list[str]) -> list[dict[str, Any]]:
        """The results in the order of the components; all are tried before the first error is raised."""
        if not components:
            return []
        with concurrent.futures.ThreadPoolExecutor(len(components)) as pool:
            return [done.result() for done in [pool.submit(work, component) for component in components]]


def _is_meant(component: str, which: str) -> bool:
    """By its name, by what follows its group, or by what that begins with: `agents` are all links to agents."""
    name = component.partition("/")[2]
    return which in ("", component, name) or name.startswith(f"{which}/")


def _seen(proof: dict[str, Any] | None) -> str:
    """What proved a fault, for people."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in (proof or {}).items())
