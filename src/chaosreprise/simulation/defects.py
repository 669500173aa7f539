"""Defects by name, one seam each: the checks must find them, and accuse nothing else."""

from typing import NamedTuple

from chaosreprise.simulation.adapter import SimulatedAdapter
from chaosreprise.simulation.agent import Agent
from chaosreprise.simulation.control import ControlPlane
from chaosreprise.simulation.slots import Slots


class Defect(NamedTuple):
    """`check` finds it; `also` are those that a run with it breaks as well. `kind`: the fault that brings it to light."""

    name: str
    check: str
    kind: str
    why: str
    also: tuple[str, ...] = ()
    control: type[ControlPlane] = ControlPlane
    agent: type[Agent] = Agent
    slots: type[Slots] = Slots
    adapter: type[SimulatedAdapter] = SimulatedAdapter


NONE = Defect("none", "", "", "the platform as it should be")
DEFECTS: dict[str, Defect] = {}
