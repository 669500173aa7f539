"""Tiny histories, written in a few lines: the examples of docs/checks.md, which are drawn there and judged by the tests.

Times are seconds. Everything is watched from 0 s to `end`, unless a gap says otherwise.
"""

from typing import Any, NamedTuple

from chaosreprise.history import (
    Answer,
    Contract,
    Coverage,
    Effect,
    Fault,
    History,
    Observe,
    Phase,
    Report,
    Segment,
    Stream,
    Submit,
    Timed,
)
from chaosreprise.history.events import Attribution, Mark, Op, Outcome, Place, Refusal, Resource, State

SECOND = 1_000_000_000
SETTLE_S = 2.0
SOON = 0.1
ATTRIBUTION = [
    Attribution(op="start", ledger="slots", level="keyed", mark="made"),
    Attribution(op="hibernate", ledger="slots", level="counted", mark="down", repeat=False),
    Attribution(op="wake", ledger="slots", level="counted", mark="up"),
    Attribution(op="stop", ledger="slots", level="counted", mark="gone", repeat=False),
    Attribution(op="step", ledger="workspaces", level="keyed", mark="e"),
]
PROMISES = {"durable": True, "at_most_once": True, "order": True, "streams": True, "coalesce": False}
ABSENT = Refusal(id="not-found", status=404, absent=True)
WATCHED = ("recorder", "load", "slots", "workspaces", "rows")


class Example(NamedTuple):
    """A tiny history and what happens in it, in a sentence."""

    says: str
    history: History


class Tiny:
    """A history under construction; commands are named c1, c2, ... in the order in which they are written down."""

    def __init__(self, end: float = 8.0, **stated: Any) -> None:
        self._end, self._stated = end, stated
        self._events: list[Timed] = []
        self._count = 0
        self._gaps: list[tuple[str, float, float]] = []
        self.watched = list(WATCHED)

    @property
    def sent(self) -> int:
        """How many commands there are so far."""
        return self._count

    def send(
        self,
        at: float,
        op: Op,
        session: str | None,
        *,
        agent: str | None = None,
        took: float | None = SOON,
        outcome: Outcome = "ok",
        made: str | None = None,
        status: int | None = None,
        error: str | None = None,
        listed: list[str] | None = None,
        says: str | None = None,
        asks: dict[Place, str] | None = None,
        resources: dict[Resource, int] | None = None,
        rule: str | None = None,
        user: str | None = None,
    ) -> str:
        """A command and its answer, `took` seconds later; None: none came. `made`: the session of a start. A refusal with status 404
        says that there is no such session; a read without a session is answered with what is `listed`, a step with what it `says`."""
        self._count += 1
        cmd = f"c{self._count}"
        path = ["control-plane", "database", *([f"agents/{agent}"] if agent else [])]
        lo = round(at * SECOND)
        sent = Submit(lo=lo, hi=lo, cmd=cmd, op=op, session=session, user=user, key=cmd, intended=lo, path=path)
        sent.asks, sent.resources = asks or {}, resources or {}
        self._events.append(sent)
        if took is not None:
            rule = rule or (None if outcome != "fail" else "not-found" if status == ABSENT.status else "wrong-state")
            answered = Answer(
                lo=lo, hi=round((at + took) * SECOND), cmd=cmd, outcome=outcome, id=f"p{self._count}", rule=rule
            )
            answered.session, answered.status, answered.error, answered.listed = made, status, error, listed
            answered.result = says
            self._events.append(answered)
        return cmd

    def effect(
        self,
        at: float,
        session: str,
        *marks: Mark,
        gen: int | None = None,
        key: str | None = None,
        ledger: str = "slots",
        pid: int | None = None,
        until: float | None = None,
        limits: dict[Resource, int | None] | None = None,
    ) -> None:
        """Marks of one change, of a process `pid`, at some moment from `at` to `until`."""
        lo, hi = round(at * SECOND), round((until or at) * SECOND)
        for mark in marks:
            inc = ["boot", 1, pid, 1] if pid is not None else None
            made = Effect(
                lo=lo, hi=hi, ledger=ledger, object=session, session=session, mark=mark, gen=gen, key=key, inc=inc
            )
            made.limits = limits or {}
            self._events.append(made)

    def says(self, at: float, about: str, name: str, state: str, owner: str | None = None, **fields: Any) -> None:
        """A report of the platform: first seen at `at`, and not a tenth of a second before."""
        hi = round(at * SECOND)
        lo = max(0, hi - SECOND // 10)
        report = Report(lo=lo, hi=hi, source="rows", about=about, id=name, state=state, owner=owner, fields=fields)  # type: ignore[arg-type]
        self._events.append(report)

    def sample(self, at: float, source: str, signal: str, value: float) -> None:
        moment = round(at * SECOND)
        self._events.append(Observe(lo=moment, hi=moment, source=source, signal=signal, value=value))

    def held(self, session: str, since: float, until: float, state: str, *path: str) -> None:
        """A stream of a session over these components, that was `closed` or `broke`: then it was last alive a tenth of a second before."""
        for which, at, width in (("open", since, 0.0), (state, until, SOON if state == "broke" else 0.0)):
            hi = round(at * SECOND)
            lo = hi - round(width * SECOND)
            told = Stream(lo=lo, hi=hi, stream=f"stream {session}", state=which, session=session, path=list(path))  # type: ignore[arg-type]
            self._events.append(told)

    def broken(self, component: str, since: float, until: float, kind: str = "agents.take_away") -> None:
        """A fault that is proven at `since`, and undone at `until`."""
        states: dict[State, float] = {
            "armed": since,
            "injected": since,
            "proven": since,
            "undoing": until,
            "undone": until,
            "clean": until,
        }
        for state, at in states.items():
            moment = round(at * SECOND)
            by = "run" if state == "undone" else None
            self._events.append(
                Fault(
                    lo=moment,
                    hi=moment,
                    fault=f"{component} {kind}",
                    kind=kind,
                    component=component,
                    state=state,
                    by=by,
                )
            )

    def phase(self, name: str, begin: float, end: float) -> None:
        for edge, at in (("begin", begin), ("end", end)):
            moment = round(at * SECOND)
            self._events.append(Phase(lo=moment, hi=moment, name=name, edge=edge))  # type: ignore[arg-type]

    def settled(self, drained: float) -> None:
        """The phases that settle what was sent before: `drain` until then, and the others until the end."""
        self.phase("drain", drained - SETTLE_S, drained)
        self.phase("clean", drained, self._end - SOON)
        self.phase("close", self._end - SOON, self._end)

    def gap(self, of: str, since: float, until: float) -> None:
        self._gaps.append((of, since, until))

    def history(self) -> History:
        stated: dict[str, Any] = {
            "sha": "", "seed": 1, "require": [], "optional": [], "exposure": {}, "objectives": [],
            "settle_ns": round(SETTLE_S * SECOND), "promises": PROMISES, "claims": [], "refusals": [ABSENT],
            "attribution": ATTRIBUTION, "bounds": dict.fromkeys(("start", "stop", "hibernate", "wake", "step"), SECOND),
            "offline_ns": SECOND, "known": [],
        }  # fmt: skip
        events = sorted([*self._coverage(), *self._events], key=lambda event: (event.hi, event.lo))
        segment = Segment(v=1, writer="example", run="example", boot="boot", host="host", pid=1, mono=0, wall=0)
        return History([segment], Contract(**{**stated, **self._stated}), events, [])

    def _coverage(self) -> list[Coverage]:
        edges = [(of, at, on, "") for of in self.watched for at, on in ((0.0, True), (self._end, False))]
        edges += [(of, at, on, "not read") for of, lo, hi in self._gaps for at, on in ((lo, False), (hi, True))]
        return [
            Coverage(lo=moment, hi=moment, of=of, on=on, why=why or ("watching" if on else "done"))
            for of, at, on, why in edges
            for moment in (round(at * SECOND),)
        ]
