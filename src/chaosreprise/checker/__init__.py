"""What judges a history: columns, checks, exposure, the verdict.

`judge` is a pure function of a recorded history: no environment, no files, no clock. A wrong pass is the worst that it
could do, a wrong fail the second; unknown is honest. A new check is one module in `checks` with a `CHECK`.
"""

from chaosreprise.checker.judging import judge, stage_of
from chaosreprise.checker.registry import asks, known, lacking, needs
from chaosreprise.checker.verdict import (
    Doubt,
    FaultTold,
    Finding,
    KindExposure,
    KnownTold,
    Recovery,
    Stage,
    Value,
    Verdict,
    Witness,
    merge,
)

__all__ = [
    "Doubt",
    "FaultTold",
    "Finding",
    "KindExposure",
    "KnownTold",
    "Recovery",
    "Stage",
    "Value",
    "Verdict",
    "Witness",
    "asks",
    "judge",
    "known",
    "lacking",
    "merge",
    "needs",
    "stage_of",
]
