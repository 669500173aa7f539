"""A platform in virtual time, correct or with a defect by name: thousands of whole runs a minute to try the checks on.

It speaks the adapter protocol, so the load of a real run drives it, and what is recorded is a history like any other.
Everything follows from one seed: the same seed gives the same history, byte for byte.
"""

from chaosreprise.simulation.defects import DEFECTS, Defect
from chaosreprise.simulation.recording import Recorded
from chaosreprise.simulation.run import simulate
from chaosreprise.simulation.scenario import Scenario, draw

__all__ = ["DEFECTS", "Defect", "Recorded", "Scenario", "draw", "simulate"]
