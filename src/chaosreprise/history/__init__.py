"""The recorded history: the events, one writer a segment, readers that also follow a growing one.

`docs/history.md` is the public description. A history is all that a verdict is made of.
"""

from chaosreprise.history.events import (
    Answer,
    Contract,
    Coverage,
    Effect,
    Event,
    Fault,
    Observe,
    Phase,
    Report,
    Segment,
    Sign,
    Stream,
    Submit,
    Timed,
)
from chaosreprise.history.reader import History, Tail, load, schema
from chaosreprise.history.writer import Recording, Writer

__all__ = [
    "Answer",
    "Contract",
    "Coverage",
    "Effect",
    "Event",
    "Fault",
    "History",
    "Observe",
    "Phase",
    "Recording",
    "Report",
    "Segment",
    "Sign",
    "Stream",
    "Submit",
    "Tail",
    "Timed",
    "Writer",
    "load",
    "schema",
]
