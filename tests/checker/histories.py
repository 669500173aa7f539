"""Histories made by hand: `complete()` is a whole correct run, which tests mutate; `Made` writes single events tersely.

Times are seconds since the start of the run. Sessions are on agents, generations of slots are counted, and rows follow
their commands, as on the lab.
"""

import copy
from collections import defaultdict
from collections.abc import Callable

import msgspec

from chaosreprise import checker
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
from chaosreprise.history.events import Attribution, Refusal
from chaosreprise.history.statements import Allowed, Claim, Objective, Situation
from chaosreprise.platform.streamspace_states import STATES as AUTOMATON

SECOND = 1_000_000_000
EPOCH = 1_000 * SECOND
BOOT = "b00t"
AGENTS = ("a1", "a2", "a3")
VICTIM = "a2"
SETTLE_S = 2.0
RESOURCES = {"memory": 2**27, "cpu": 100}
LATER = 0.02  # after which a sampler sees what happened
MARKS = {"start": ("made", "up"), "hibernate": ("down",), "wake": ("up",), "stop": ("down", "gone")}
STATES = {"start": "running", "hibernate": "hibernated", "wake": "running", "stop": "terminated"}
ATTRIBUTION = [
    Attribution(op="start", ledger="slots", level="keyed", mark="made"),
    Attribution(op="hibernate", ledger="slots", level="counted", mark="down", repeat=False),
    Attribution(op="wake", ledger="slots", level="counted", mark="up"),
    Attribution(op="stop", ledger="slots", level="counted", mark="gone", repeat=False),
    Attribution(op="step", ledger="workspaces", level="keyed", mark="e"),
]


def ns(seconds: float) -> int:
    return EPOCH + round(seconds * SECOND)


def contract(**changes) -> Contract:
    stated = {
        "sha": "0" * 64,
        "seed": 7,
        "require": ["lost", "duplicate"],
        "optional": [],
        "exposure": {"stop": 5, "hibernate": 5, "wake": 5},
        "objectives": [],
        "settle_ns": int(SETTLE_S * SECOND),
        "promises": {"durable": True, "at_most_once": True, "coalesce": False},
        "claims": [],
        "refusals": [],
        "attribution": ATTRIBUTION,
        "bounds": dict.fromkeys(("start", "stop", "hibernate", "wake", "step"), SECOND),
        "offline_ns": SECOND,
        "known": [],
        "experiment": "agent-failover",
        "platform": "embedded@local",
    }
    return Contract(**{**stated, **changes})


class Made:
    """A history under construction. Each method adds events and returns what a test may want to change."""

    def __init__(self, **changes) -> None:
        self.contract: Contract | None = contract(**changes)
        self.events: list[Timed] = []
        self.torn: list[str] = []
        self.segments = [
            Segment(
                v=1, writer=name, run="r1", boot=BOOT, host="h", pid=10 + i, mono=EPOCH, wall=1_800_000_000 * SECOND
            )
            for i, name in enumerate(("owner", "load", "recorder", "warden"))
        ]
        self.gen: dict[str, int] = defaultdict(int)
        self.owner: dict[str, str] = {}
        self.pids = iter(range(1000, 10**9))
        self.lives: dict[str, list[list]] = defaultdict(list)  # by session: [begin, end, process]
        self.steps: dict[str, int] = defaultdict(int)  # by session, and by process
        self.count = 0

    def history(self) -> History:
        events = sorted(self.events, key=lambda event: (event.hi, event.lo))
        return History(list(self.segments), self.contract, events, list(self.torn))

    def copy(self) -> "Made":
        twin = copy.copy(self)
        twin.events = [copy.copy(event) for event in self.events]
        twin.contract = copy.copy(self.contract)
        twin.torn, twin.gen, twin.owner = list(self.torn), self.gen.copy(), dict(self.owner)
        twin.lives = copy.deepcopy(self.lives)
        twin.steps = self.steps.copy()
        return twin

    def add(self, event: Timed) -> Timed:
        self.events.append(event)
        return event

    def cover(self, of: str, at: float, on: bool = True, why: str = "", since: float | None = None) -> None:
        lo = ns(at if since is None else since)
        self.add(Coverage(lo=lo, hi=ns(at), of=of, on=on, why=why or ("watching" if on else "done")))

    def gap(self, of: str, since: float, until: float, why: str = "it shrank") -> None:
        self.cover(of, since, on=False, why=why)
        self.cover(of, until, on=True)

    def phase(self, name: str, begin: float, end: float) -> None:
        self.add(Phase(lo=ns(begin), hi=ns(begin), name=name, edge="begin"))
        self.add(Phase(lo=ns(end), hi=ns(end), name=name, edge="end"))

    def fault(
        self, component: str, states: dict[str, float], fault: str = "f1", kind: str = "agents.take_away"
    ) -> None:
        for state, at in states.items():
            by = "run" if state == "undone" else None
            inc = [BOOT, 1, 4711, 99]
            self.add(
                Fault(lo=ns(at), hi=ns(at), fault=fault, kind=kind, component=component, state=state, by=by, inc=inc)
            )

    def agent(self, name: str, state: str, at: float) -> None:
        self.add(Report(lo=ns(at - LATER), hi=ns(at), source="rows", about="agent", id=name, state=state, owner=name))

    def session(self, name: str, state: str, at: float, key: str | None = None) -> None:
        fields = {"user": "u1", **({"key": key} if key else {})}
        self.add(
            Report(
                lo=ns(at - LATER),
                hi=ns(at),
                source="rows",
                about="session",
                id=name,
                state=state,
                owner=self.owner.get(name),
                fields=fields,
            )
        )

    def row(self, command: str, session: str, op: str, state: str, at: float, error: str | None = None) -> None:
        fields = {"session": session, "action": f"{op}_session", **({"error": error} if error else {})}
        owner = self.owner.get(session)
        self.add(
            Report(
                lo=ns(at - LATER),
                hi=ns(at),
                source="rows",
                about="command",
                id=command,
                state=state,
                owner=owner,
                fields=fields,
            )
        )

    def effect(self, op: str, session: str, at: float, key: str | None = None, gen: int | None = None) -> list[Effect]:
        """The marks that the keeper leaves for one transition."""
        if gen is None:
            self.gen[session] += 1
            gen = self.gen[session]
        return [
            self.add(
                Effect(
                    lo=ns(at),
                    hi=ns(at),
                    ledger="slots",
                    object=session,
                    session=session,
                    mark=mark,
                    gen=gen,
                    key=key if mark == "made" else None,
                    inc=inc,
                    limits=RESOURCES if mark == "up" else {},
                )
            )
            for mark in MARKS[op]
            for inc in self._incs(session, mark, at)
        ]

    def _incs(self, session: str, mark: str, at: float) -> list:
        """The processes that a mark names: `up` begins one more, `down` ends all that live then."""
        if mark in ("made", "gone"):
            return [None]
        living = self.living(session, at)
        if mark == "down" and living:
            for life in self.lives[session]:
                life[1] = min(life[1], at) if life[2] in living else life[1]
            return living
        new = [BOOT, 1, next(self.pids), 99]
        if mark == "up":
            self.lives[session].append([at, 1e9, new])
        return [new]

    def living(self, session: str, at: float) -> list:
        return [inc for begin, end, inc in self.lives.get(session, ()) if begin <= at < end]

    def submit(self, op: str, session: str | None, at: float, key: str | None = None, agent: str | None = None) -> str:
        self.count += 1
        cmd = f"cmd-{self.count:04d}"
        path = ["control-plane", "database"]
        if op not in ("step", "read", "start") and session is not None:
            path.append(f"agents/{agent or self.owner.get(session, '?')}")
        self.add(
            Submit(lo=ns(at), hi=ns(at), cmd=cmd, op=op, session=session, key=key or cmd, intended=ns(at), path=path)
        ).resources = RESOURCES if op == "start" else {}
        return cmd

    def answer(self, cmd: str, at: float, outcome: str = "ok", session: str | None = None, **more) -> Answer:
        platform_id = more.pop("id", f"p-{cmd}" if outcome == "ok" else None)
        rule = "wrong-state" if outcome == "fail" else None
        return self.add(
            Answer(lo=ns(at), hi=ns(at), cmd=cmd, outcome=outcome, session=session, id=platform_id, rule=rule, **more)
        )

    def command(
        self,
        op: str,
        session: str,
        at: float,
        effect: float | None = 0.05,
        outcome: str = "ok",
        row: str | None = "completed",
        agent: str | None = None,
    ) -> str:
        """One lifecycle command with its answer, its effect and its row. `effect`: seconds after the submission."""
        if op == "start":
            self.owner[session] = agent or self.owner.get(session) or AGENTS[0]
        key = f"key-{session}" if op == "start" else None
        cmd = self.submit(op, None if op == "start" else session, at, key=key, agent=agent if op != "start" else None)
        self.answer(cmd, at + 0.004, outcome, session=session if op == "start" and outcome == "ok" else None)
        if outcome == "ok":
            self.row(f"p-{cmd}", session, op, "pending", at + LATER)
            if op == "start":
                self.session(session, "pending", at + LATER, key=key)
        if effect is not None:
            self.effect(op, session, at + effect, key=key)
            self.session(session, STATES[op], at + effect + LATER, key=key if op == "start" else None)
        if outcome == "ok" and row and row != "pending":
            done = at + (effect or 0.05) + LATER
            self.row(f"p-{cmd}", session, op, row, done, error="agent not connected" if row == "failed" else None)
        return cmd

    def read(self, session: str | None, at: float, outcome: str = "ok", took: float = 0.01, **more) -> str:
        """A read of one session, or of the list that is then `listed`."""
        cmd = self.submit("read", session, at)
        answer = self.answer(cmd, at + took, outcome, id=None, **more)
        answer.rule = "not-found" if outcome == "fail" else None
        return cmd

    def stream(
        self, session: str, since: float, until: float | None, state: str = "closed", path=None, wide=0.0
    ) -> None:
        """A held stream; `until` None: nothing says how it ended."""
        path = ["control-plane", f"sessions/{session}"] if path is None else path
        more = {"stream": f"stream-{session}", "session": session, "path": path}
        self.add(Stream(lo=ns(since), hi=ns(since), state="open", **more))
        if until is not None:
            self.add(Stream(lo=ns(until - wide), hi=ns(until), state=state, **more))

    def step(self, session: str, at: float, outcome: str = "ok", marks: str = "be") -> str:
        cmd = self.submit("step", session, at)
        inc = next(iter(self.living(session, at)), None) or [BOOT, 1, next(self.pids), 99]
        for number, mark in enumerate(marks):
            t = ns(at + 0.001 + number * 0.001)
            event = Effect(
                lo=t, hi=t, ledger="workspaces", object=session, session=session, mark=mark, key=cmd, inc=inc
            )
            self.add(event)
        self.answer(cmd, at + 0.01, outcome, result=self.remembered(cmd, session, str(inc[2])))
        return cmd

    def remembered(self, cmd: str, session: str, process: str) -> str:
        """What a step prints: its key, what the process knows, how large the session's ledger was, and its content then and now."""
        self.steps[process] += 1
        self.steps[session] += 1
        size = 200 * self.steps[session]
        return f"{cmd} {process} {self.steps[process]} {size} {size}:{size:016x} {size + 200}:{size + 200:016x}"

    # -- finding and changing what is there

    def find(self, kind: type[Timed], holds: Callable[..., bool] = lambda event: True) -> list:
        return [event for event in self.events if isinstance(event, kind) and holds(event)]

    def drop(self, kind: type[Timed], holds: Callable[..., bool] = lambda event: True) -> list:
        """Remove events, and return them; at least one must be there."""
        found = self.find(kind, holds)
        assert found, f"no such {kind.__name__}"
        self.events = [event for event in self.events if not (isinstance(event, kind) and holds(event))]
        return found

    def drop_effects(self, session: str, mark: str) -> list[Effect]:
        """Remove the transitions of a session that have this mark, whole generations."""
        marked = {effect.gen for effect in self.find(Effect, lambda e: e.session == session and e.mark == mark)}
        return self.drop(Effect, lambda e: e.session == session and e.gen in marked)

    def commands(self, op: str, since: float = 0.0, until: float = 1e6, agent: str | None = None) -> list[Submit]:
        return self.find(
            Submit,
            lambda e: (
                e.op == op
                and ns(since) <= e.lo <= ns(until)
                and (agent is None or f"agents/{agent}" in e.path or self.owner.get(e.session or "") == agent)
            ),
        )


PROVEN, UNDOING, UNDONE = 5.02, 8.0, 8.1
STEADY, METHOD, DRAIN, CLEAN, CLEANED, CLOSE, CLOSED, END = 1.0, 5.0, 9.5, 12.5, 15.5, 16.0, 19.0, 19.5


def complete(n: int = 5, seconds_of_steps: float = 6.0, steps_hz: float = 10.0, **changes) -> Made:
    """A whole correct run of agent-failover: `n` pairs of hibernate and stop, and `n` of wake and stop, while a2 is away."""
    made = Made(**changes)
    made.cover("recorder", 0.0, why="opened")
    for of in ("slots", "workspaces", "rows"):
        made.cover(of, 0.01)
    made.cover("warden", 0.02, why="opened")
    made.cover("load", 0.05, why="opened")
    for agent in AGENTS:
        made.agent(agent, "online", 0.04)
    running, hibernated = _open(made, n)
    _baseline(made)
    for number in range(int(seconds_of_steps * steps_hz)):
        made.step(f"s-{AGENTS[number % 3]}-stepper", 1.5 + number / steps_hz)
        made.answer(
            made.submit("read", f"s-{AGENTS[number % 3]}-stepper", 1.55 + number / steps_hz), 1.56 + number / steps_hz
        )
    _fault(made, running, hibernated)
    _end(made, running, hibernated)
    return made


def _open(made: Made, n: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    running: dict[str, list[str]] = {}
    hibernated: dict[str, list[str]] = {}
    for agent in AGENTS:
        names = [f"s-{agent}-canary", f"s-{agent}-stepper"]
        running[agent] = [f"s-{agent}-run{i}" for i in range(n)]
        hibernated[agent] = [f"s-{agent}-hib{i}" for i in range(n)]
        for number, name in enumerate([*names, *running[agent], *hibernated[agent]]):
            made.command("start", name, 0.1 + number * 0.01, agent=agent)
        for number, name in enumerate(hibernated[agent]):
            made.command("hibernate", name, 0.5 + number * 0.01)
    return running, hibernated


def _baseline(made: Made) -> None:
    made.phase("baseline", STEADY, METHOD)
    for number, agent in enumerate(AGENTS):
        name = f"s-{agent}-cycle"
        made.command("start", name, 1.1 + number * 0.01, agent=agent)
        for at, op in ((1.5, "hibernate"), (2.0, "wake"), (2.5, "stop")):
            made.command(op, name, at + number * 0.01)


def _fault(made: Made, running: dict[str, list[str]], hibernated: dict[str, list[str]]) -> None:
    made.phase("method", METHOD, UNDONE)
    made.phase("quiet", UNDONE, DRAIN)
    states = {"planned": 0.5, "armed": 5.0, "injected": 5.01, "proven": PROVEN, "undoing": UNDOING, "undone": UNDONE}
    made.fault(f"agents/{VICTIM}", {**states, "clean": 8.15})
    made.agent(VICTIM, "offline", 5.08)
    made.agent(VICTIM, "online", 8.14)
    for number, name in enumerate(running.pop(VICTIM)):
        made.command("hibernate", name, 5.3 + number * 0.1, effect=3.0 - number * 0.05)
        made.command("stop", name, 5.32 + number * 0.1, effect=3.1 - number * 0.05)
    for number, name in enumerate(hibernated.pop(VICTIM)):
        made.command("wake", name, 5.35 + number * 0.1, effect=3.0 - number * 0.05)
        made.command("stop", name, 5.37 + number * 0.1, effect=3.1 - number * 0.05)
    made.command("start", "s-new", 5.6, agent="a1")
    made.command("stop", "s-new", 5.7, effect=0.1)


def _end(made: Made, running: dict[str, list[str]], hibernated: dict[str, list[str]]) -> None:
    made.phase("drain", DRAIN, CLEAN)
    made.phase("clean", CLEAN, CLEANED)
    rest = [name for group in (running, hibernated) for names in group.values() for name in names]
    for number, name in enumerate([*rest, *(f"s-{agent}-stepper" for agent in AGENTS)]):
        made.command("stop", name, CLEAN + 0.05 + number * 0.01)
    for number, agent in enumerate(AGENTS):
        made.command("hibernate", f"s-{agent}-canary", 15.6 + number * 0.01)
        made.command("wake", f"s-{agent}-canary", 15.7 + number * 0.01)
    made.phase("close", CLOSE, CLOSED)
    for number, agent in enumerate(AGENTS):
        made.command("stop", f"s-{agent}-canary", CLOSE + 0.1 + number * 0.01)
    made.add(Observe(lo=ns(19.1), hi=ns(19.1), source="load", signal="lag_ms", value=0.4))
    made.cover("load", 19.1, on=False)
    for of in ("slots", "workspaces", "rows"):
        made.cover(of, 19.3, on=False)
    made.cover("recorder", END, on=False)
    made.cover("warden", END, on=False)


OBJECTIVES = [
    Objective(name="steps", latency="answer", op="step", quantile=0.9, max=1),
    Objective(name="wakes", latency="effect", op="wake", max=5),
    Objective(name="noticed", recovery="noticed_s", max=1),
    Objective(name="drained", recovery="drained_s", max=5),
    Objective(name="punctual", signal="load.lag_ms", max=20),
]
SITUATION = Situation(
    name="absent agent", when="agent-broken", ops=["stop"], allow=[Allowed(status=0)], within_s=1
)  # the answers of these histories have no status


ABSENT = Refusal(id="not-found", status=404, absent=True)
CLAIM = Claim(name="agents in rows", signal="rows.agents", says=["online"], within_s=1)
AWAY, BACK = 8.6, 9.0  # the outage of the database
HELD = "s-a1-canary"
MOST = 13  # sessions of one user are active in the baseline, where n is 1


def outage(made: Made, kind: str = "database.take_away") -> Made:
    """The database is away for a while: what is sent meanwhile is answered with an error, reads before and after find it all."""
    states = {"armed": AWAY - 0.02, "injected": AWAY - 0.01, "proven": AWAY, "undoing": BACK, "undone": BACK + 0.02}
    made.fault("database", {**states, "clean": BACK + 0.03}, fault="f2", kind=kind)
    canaries = [f"s-{agent}-canary" for agent in AGENTS]
    for at in (1.2, BACK + 0.3):
        made.read(HELD, at, result="running")
        made.read(None, at, listed=canaries)
    for number, op in enumerate(("hibernate", "wake", "stop")):
        made.answer(
            made.submit(op, "s-a1-out", AWAY + 0.02 + number * 0.05), AWAY + 0.03 + number * 0.05, "info", status=500
        )
    made.read(HELD, AWAY + 0.2, "info", status=500)
    made.read(None, AWAY + 0.25, "info", status=500)
    return made


def thorough(*require: str, **changes) -> Made:
    """A whole correct run on which every check has something to judge; by default all are required."""
    stated = {
        "require": list(require) or checker.known(),
        "exposure": {"stop": 1, "hibernate": 1, "wake": 1},
        "promises": dict.fromkeys(("durable", "at_most_once", "order", "streams", "memory", "files", "placement"), True)
        | {"limits": ["memory", "cpu"]},
        "states": AUTOMATON,
        "objectives": OBJECTIVES,
        "situations": [SITUATION],
        "refusals": [ABSENT],
        "claims": [CLAIM],
        "quota": MOST,
    }
    made = outage(complete(n=1, **{**stated, **changes}))
    placed(made, made.command("start", "s-a1-out", 1.05, agent="a1"), "a1")
    refused(made, 1.3)
    made.command("stop", "s-a1-out", CLEAN + 0.6)
    made.stream(HELD, 1.3, 16.05)
    made.read("s-a3-hib0", 2.9, result="hibernated")
    return made


def placed(made: Made, cmd: str, agent: str) -> None:
    """This start asked for all that its agent is."""
    places = {name: {"cluster": "c1", "region": f"r-{name}", "platform": "docker"} for name in AGENTS}
    for report in made.find(Report, lambda e: e.about == "agent"):
        report.fields = places[report.id]
    made.find(Submit, lambda e: e.cmd == cmd)[0].asks = places[agent]


def refused(made: Made, at: float) -> None:
    """One session more than their user may have."""
    cmd = made.submit("start", None, at)
    made.find(Submit, lambda e: e.cmd == cmd)[0].user = "u1"
    made.answer(cmd, at + 0.01, "fail").rule = "quota"


WRITERS = {Submit: "load", Answer: "load", Stream: "load", Phase: "owner", Fault: "warden"}


def segments(history: History) -> dict[str, list[bytes]]:
    """The lines of a history by writer, each event with the one whose business it is."""
    lines = {segment.writer: [msgspec.json.encode(segment)] for segment in history.segments}
    if history.contract is not None:
        lines["owner"].append(msgspec.json.encode(history.contract))
    for event in history.events:
        of = getattr(event, "of", None)
        writer = of if of in ("load", "warden") else WRITERS.get(type(event), "recorder")
        lines[writer].append(msgspec.json.encode(event))
    return lines
