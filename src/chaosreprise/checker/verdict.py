"""What judging ends in: a value of three, with counts, witnesses, scopes and what was not tested. Plain data.

All times in here are seconds since the start of the run, so that a verdict can be read without its history.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from chaosreprise.history.events import Level

Value = Literal["true", "false", "unknown"]
Stage = Literal["baseline", "during", "clean", "end"]
Label = Literal[
    "silent",
    "reported",
    "stuck",
    "stale",
    "answer",
    "hang",
    "accepted",
    "denied",
    "shrunk",
    "memory",
    "cpu",
    "files",
    "place",
    "process",
    "id",
    "twice",
]
Span = tuple[float, float]

VERSION = 1
CONFIDENCE = 0.95


def merge(values: Iterable[Value]) -> Value:
    """False beats unknown beats true; of nothing at all nothing is known."""
    found = set(values)
    if "false" in found:
        return "false"
    return "true" if found == {"true"} else "unknown"


def excludes_above(n: int) -> float | None:
    """The lowest rate of loss that 0 of `n` excludes with 95 % confidence: (1 - rate) ** n = 0.05."""
    return round(1 - (1 - CONFIDENCE) ** (1 / n), 4) if n > 0 else None


class Doubt(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Why something is unknown: about what, the reason, the next step, and the time that it concerns."""

    what: str
    why: str
    do: str
    window: Span | None = None


class NotTested(msgspec.Struct, kw_only=True, frozen=True):
    what: str
    why: str


class Moment(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One event of a witness, between `lo` and `hi`; `bad` marks what should not be, or is missing."""

    lo: float
    hi: float
    what: str
    bad: bool = False


class Acted(msgspec.Struct, kw_only=True, frozen=True):
    """One effect of a witness: when, in which ledger and object, by which incarnation of a process."""

    lo: float
    hi: float
    ledger: str
    object: str
    inc: list[Any] | None


class Witness(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The smallest set of events that shows one violation. `row` is the platform's own word on the command.

    `kind`: the sentence by which a known violation is recognised, where `say` is another one in each run.
    """

    say: str
    cmd: str
    op: str
    session: str | None
    agent: str | None = None
    row: str | None = None
    label: Label | None = None
    baseline: bool = False
    moments: list[Moment] = []
    effects: list[Acted] = []
    kind: str = ""


class Finding(msgspec.Struct, kw_only=True):
    """What one check found. `count` is a range: what is surely violated, and what might be.

    `promised`: whether the platform promises it; a violation of what it does not promise is only told. `known` of the
    witnesses are of violations that somebody has accepted; `besides`: where all are, the value without them.
    """

    value: Value = msgspec.field(default="unknown", name="verdict")
    count: tuple[int, int] = (0, 0)
    level: Level = "none"
    levels: dict[str, Level] = {}
    required: bool = True
    promised: bool = True
    baseline: int = 0
    labels: dict[str, int] = {}
    exempt: int = 0
    evidence: int = 0
    witnesses: list[Witness] = []
    scope: list[Doubt] = []
    known: int = 0
    besides: Value | None = None
    untested: list[NotTested] = []


class KnownTold(msgspec.Struct, kw_only=True, frozen=True):
    """An entry for a known violation: how many witnesses it covers; `gone`: the check was judged, and it covers none any more."""

    check: str
    match: str
    why: str
    expires: str
    seen: int
    gone: bool


class KindExposure(msgspec.Struct, kw_only=True):
    """Commands of one kind whose path crossed what was broken. `measure` is the one of the two that `need` is about.

    `happened`: of those of `measure`, how many did; 0 lost of so many excludes what `excludes_above` says. `shows_repeat`:
    whether acting twice could be seen, so that they expose `duplicate` too.
    """

    in_flight: int = 0
    during: int = 0
    need: int = 0
    measure: Literal["during", "in_flight"] = "during"
    happened: int = 0
    excludes_above: float | None = None
    shows_repeat: bool = False

    @property
    def n(self) -> int:
        return self.during if self.measure == "during" else self.in_flight


class FaultTold(msgspec.Struct, kw_only=True):
    """One fault: when it was proven and undone, by whom, how it ended, and what it was exposed to. `moment`: what it waited for."""

    fault: str
    kind: str
    component: str
    end: str
    proven: Span | None = None
    undoing: Span | None = None
    undone: Span | None = None
    by: str | None = None
    moment: str | None = None
    exposure: dict[str, KindExposure] = {}


class PhaseTold(msgspec.Struct, kw_only=True):
    name: str
    begin: float
    end: float | None = None


class Counts(msgspec.Struct, kw_only=True):
    """Commands and steps, without reads. `undecided` are those of which nobody knows whether they happened.

    `happened` and `absent` had no clear answer either, but the ledgers decide them.
    """

    sent: int = 0
    accepted: int = 0
    refused: int = 0
    undecided: int = 0
    happened: int = 0
    absent: int = 0
    reads: int = 0
    by_op: dict[str, int] = {}


class Evidence(msgspec.Struct, kw_only=True):
    """Effects by ledger and the objects that they were seen on; `lag_ms` is how late the load was at the 99th percentile.

    `skipped` are the steps and reads that the load could not send in time, and so did not send.
    """

    effects: dict[str, int] = {}
    objects: dict[str, int] = {}
    reports: int = 0
    lag_ms: float | None = None
    skipped: int = 0


class Watched(msgspec.Struct, kw_only=True):
    """How long the platform was watched after the later of the last undo and the load's last command, until the drain's end."""

    seconds: float
    after: Literal["heal", "last command"]


class Recovery(msgspec.Struct, kw_only=True):
    """How one fault was recovered from: intervals in seconds, `since` and `source` for each by its name; null: not seen.

    `at_least`: what surely took longer than that, and was not seen to end. `limits`: what the experiment allows at most.
    """

    fault: str
    component: str
    noticed: Span | None = None
    elsewhere: Span | None = None
    first_success: Span | None = None
    drained: Span | None = None
    normal: Span | None = None
    since: dict[str, str] = {}
    source: dict[str, str] = {}
    notes: dict[str, str] = {}
    why_not: dict[str, str] = {}
    at_least: dict[str, float] = {}
    limits: dict[str, float] = {}


class Verdict(msgspec.Struct, kw_only=True):
    """The verdict on a history at a stage of its run.

    `settings` and `definitions` tell which runs can be compared: what experiment and platform state, but for the seed and
    whose they are, and how the checks that were asked for are defined.
    """

    value: Value = msgspec.field(name="verdict")
    version: int = VERSION
    why: list[str] = []
    stage: Stage
    run: str = ""
    experiment: str = ""
    platform: str = ""
    seed: int | None = None
    started: float | None = None
    settings: str = ""
    definitions: str = ""
    phases: list[PhaseTold] = []
    checks: dict[str, Finding] = {}
    doubts: list[Doubt] = []
    exposed: Value = "unknown"
    exposure: dict[str, KindExposure] = {}
    faults: list[FaultTold] = []
    counts: Counts = msgspec.field(default_factory=Counts)
    evidence: Evidence = msgspec.field(default_factory=Evidence)
    watch: Watched | None = None
    recovery: list[Recovery] = []
    known: list[KnownTold] = []
    not_tested: list[NotTested] = []

    def to_json(self) -> dict[str, Any]:
        """What verdict.json holds."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built
