"""The faults of an open run, as its actions ask for them: made side by side, struck among commands in flight, undone.

Nothing is decided here: the plan says which components, the warden whether it may be, and both say why not.
"""

import concurrent.futures
import itertools
import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from chaosreprise.errors import NotPossible
from chaosreprise.faults import registry
from chaosreprise.faults.client import Warden
from chaosreprise.run.child import Child
from chaosreprise.run.method import Wanted
from chaosreprise.run.observing import Pretender
from chaosreprise.run.plan import FaultPlan, RunPlan

log = logging.getLogger("chaostoolkit")
ARMED_TICK_S = 0.002


class Breaker:
    """`faults` are those that are on: component -> the fault's name. `exposure` is what the experiment wants in flight."""

    def __init__(self, warden: Warden | Pretender, load: Child, plan: RunPlan, exposure: dict[str, int]) -> None:
        self._warden, self._load, self._plan, self._exposure = warden, load, plan, exposure
        self._numbers = itertools.count(1)
        self.faults: dict[str, str] = {}

    def inject(self, planned: FaultPlan) -> list[dict[str, Any]]:
        components = self._components(planned)
        numbers = {component: f"f{next(self._numbers)}" for component in components}
        told = self._strike(planned.wanted, numbers, planned.agents)
        if registry.get(planned.wanted.kind).momentary:
            told = self._side_by_side(self._undo_one, components)
        return told

    def undo(self, group: str, which: str) -> list[dict[str, Any]]:
        """`group` and `which` may be empty: all of them."""
        meant = [
            component
            for component in list(self.faults)
            if group in ("", registry.group_of(component)) and which in ("", component, component.partition("/")[2])
        ]
        return self._side_by_side(self._undo_one, meant)

    def proven(self) -> list[str]:
        """The components that are broken at this moment."""
        return [
            component
            for component, number in self.faults.items()
            if self._warden.request("status", fault=number)["state"] == "proven"
        ]

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

    def _strike(self, wanted: Wanted, numbers: dict[str, str], agents: list[str]) -> list[dict[str, Any]]:
        """All at once; with commands in flight: once the faults are armed these are sent, and they strike among them."""
        with concurrent.futures.ThreadPoolExecutor(len(numbers)) as pool:
            striking = [pool.submit(self._inject, wanted, name, number) for name, number in numbers.items()]
            if wanted.in_flight:
                self._until_armed(numbers.values(), striking)
                self._load.ask("burst", agents=agents or self._plan.load.agents, need=self._exposure)
            return [one.result() for one in striking]

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
            after=self._exposure if wanted.in_flight else {},
        )
        self.faults[component] = number
        took_ms = (answer["hi"] - answer["lo"]) / 1e6
        if not answer.get("observed_only"):
            log.info(f"fault     {wanted.kind} on {component}, proven after {took_ms:.1f} ms: {_seen(answer['proof'])}")
        return {"fault": number, **answer}

    def _undo_one(self, component: str) -> dict[str, Any]:
        number = self.faults.get(component)
        if number is None:
            return {"fault": None}
        answer = self._warden.request("undo", fault=number)
        self.faults.pop(component, None)  # an interrupted rollback may be at it too
        if not answer.get("observed_only"):
            log.info(f"fault     undone: {component} is whole again")
        return {"fault": number, **answer}

    def _side_by_side(self, work: Callable[[str], dict[str, Any]], components: list[str]) -> list[dict[str, Any]]:
        """The results in the order of the components; all are tried before the first error is raised."""
        if not components:
            return []
        with concurrent.futures.ThreadPoolExecutor(len(components)) as pool:
            return [done.result() for done in [pool.submit(work, component) for component in components]]


def _seen(proof: dict[str, Any] | None) -> str:
    """What proved a fault, for people."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in (proof or {}).items())
