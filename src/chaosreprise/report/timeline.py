"""The timeline of a run as an inline SVG: phases, the fault's window, a lane for the control plane and one for each agent.

In the control plane's lane: answers by outcome. In an agent's: each lifecycle command from its submission to its effect, and
steps by their number below. What a witness is about is drawn in the colour of a failure and links to the witness.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from html import escape

from chaosreprise.checker import Verdict
from chaosreprise.checker.case import Case
from chaosreprise.checker.life import AGENTS, ONLINE
from chaosreprise.checker.witness import agent_of, name_of
from chaosreprise.history.events import LIFECYCLE

WIDTH, LEFT, RIGHT, TOP = 1160, 112, 12, 26
PLANE, ROWS, ROW, STEPS, GAP = 46, 12, 6, 16, 16
LANE = ROWS * ROW + STEPS + 10
BIN = 3  # pixels of one column of a histogram
LIMIT = 4000  # lifecycle commands drawn; beyond that a page is no help
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
OUTCOMES = ("ok", "fail", "info")
ELSEWHERE = "elsewhere"


class Timeline:
    """One drawing. `svg` is the whole of it."""

    def __init__(self, case: Case, verdict: Verdict) -> None:
        self._case, self._verdict = case, verdict
        self._from, self._to = _bounds(case, verdict)
        self._witnessed = _witnessed(verdict)
        self._lanes = self._lane_tops()
        self._height = TOP + PLANE + GAP + len(self._lanes) * (LANE + GAP) + 24

    def svg(self) -> str:
        parts = [
            *self._phases(),
            *self._plane(),
            *self._lane_frames(),
            *self._faults(),
            *self._steps(),
            *self._commands(),
            *self._axis(),
        ]
        head = f'<svg viewBox="0 0 {WIDTH} {self._height}" role="img" aria-label="Timeline of the run">'
        return "\n".join([head, *parts, "</svg>"])

    def _x(self, seconds: float) -> float:
        share = (seconds - self._from) / (self._to - self._from)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)

    def _lane_tops(self) -> dict[str, int]:
        """The top of each agent's lane; one more for commands whose agent nobody named."""
        agents = {life.agent for life in self._case.lives if life.agent} | set(self._case.reports.agents)
        names = sorted(agents)
        rows = [row for row, op in enumerate(self._case.commands.op) if op in LIFECYCLE]
        if any(agent_of(self._case, row) not in agents for row in rows):
            names.append(ELSEWHERE)
        return {name: TOP + PLANE + GAP + number * (LANE + GAP) for number, name in enumerate(names)}

    def _phases(self) -> Iterator[str]:
        for number, phase in enumerate(self._verdict.phases):
            x, end = self._x(phase.begin), self._x(phase.end if phase.end is not None else self._to)
            width = max(end - x, 0.5)
            shade = "even" if number % 2 else "odd"
            yield f'<rect class="phase {shade}" x="{x}" y="0" width="{width:.1f}" height="{self._height - 20}"/>'
            if width > 7 * len(phase.name):
                yield f'<text class="phase" x="{x + 4}" y="15">{escape(phase.name)}</text>'

    def _faults(self) -> Iterator[str]:
        """Each by its name, where no other name is in the way: all have titles."""
        named_until: dict[float, float] = {}
        for fault in self._verdict.faults:
            if fault.proven is None:
                continue
            until = fault.undoing or fault.undone or (self._to, self._to)
            x, end = self._x(fault.proven[0]), self._x(until[1])
            lane = self._lanes.get(fault.component.removeprefix(AGENTS))
            y, height = (TOP, PLANE) if lane is None else (lane, LANE)
            title = escape(f"{fault.component}: {fault.kind}, {fault.proven[0]:.3f} s to {until[1]:.3f} s")
            yield f'<rect class="fault" x="{x}" y="{y}" width="{max(end - x, 1):.1f}" height="{height}"><title>{title}</title></rect>'
            if named_until.get(y, 0.0) <= x:
                named_until[y] = x + 7 * len(fault.kind)
                yield f'<text class="fault" x="{x + 4}" y="{y - 4}">{escape(fault.kind)}</text>'

    def _plane(self) -> Iterator[str]:
        yield f'<text class="lane" x="8" y="{TOP + 18}">control plane</text>'
        yield f'<text class="note" x="8" y="{TOP + 32}">answers</text>'
        yield f'<rect class="lane" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{PLANE}"/>'
        bins: dict[str, Counter[int]] = {name: Counter() for name in OUTCOMES}
        commands = self._case.commands
        for answer, outcome in zip(commands.answer, commands.outcome, strict=True):
            if answer is not None:
                bins[outcome][self._bin(answer.hi)] += 1
        total = Counter[int]()
        for counted in bins.values():
            total.update(counted)
        yield from _stacked(bins, max(total.values(), default=1), TOP + PLANE, PLANE - 4)

    def _lane_frames(self) -> Iterator[str]:
        for name, top in self._lanes.items():
            yield f'<rect class="lane" x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{LANE}"/>'
            yield f'<text class="lane" x="8" y="{top + 18}">{escape(name[:14])}</text>'
            if name != ELSEWHERE:
                yield f'<text class="note" x="8" y="{top + LANE - 4}">steps</text>'
            yield from self._absences(name, top)

    def _absences(self, agent: str, top: int) -> Iterator[str]:
        """A line along the lane where the platform itself called the agent anything but online."""
        reports = self._case.reports.agents.get(agent, [])
        for number, report in enumerate(reports):
            after = reports[number + 1] if number + 1 < len(reports) else None
            if report.state == ONLINE:
                continue
            x = self._x(self._case.seconds(report.hi))
            end = self._x(self._case.seconds(after.hi) if after else self._to)
            title = escape(f"the platform says: {agent} {report.state}")
            yield f'<rect class="away" x="{x}" y="{top}" width="{max(end - x, 1):.1f}" height="3"><title>{title}</title></rect>'

    def _steps(self) -> Iterator[str]:
        commands = self._case.commands
        bins: dict[str, Counter[int]] = defaultdict(Counter)
        for row, op in enumerate(commands.op):
            session = commands.session[row]
            if op == "step" and session is not None:
                bins[self._case.reports.first_owner(session) or ELSEWHERE][self._bin(commands.hi[row])] += 1
        highest = max((n for counted in bins.values() for n in counted.values()), default=1)
        for agent, counted in bins.items():
            if agent in self._lanes:
                yield from _stacked({"step": counted}, highest, self._lanes[agent] + LANE, STEPS - 2)

    def _commands(self) -> Iterator[str]:
        rows = [row for row, op in enumerate(self._case.commands.op) if op in LIFECYCLE]
        busy: dict[str, list[float]] = {name: [-1.0] * ROWS for name in self._lanes}
        for row in sorted(rows, key=lambda row: self._case.commands.lo[row])[:LIMIT]:
            agent = agent_of(self._case, row) or ELSEWHERE
            lane = agent if agent in busy else ELSEWHERE
            if lane in busy:
                yield self._command(row, lane, busy[lane])

    def _command(self, row: int, lane: str, busy: list[float]) -> str:
        """One command on the first free line of its lane; without an effect it ends in a cross."""
        case, effect = self._case, self._case.attributed.effect_of[row]
        x = self._x(case.seconds(case.commands.lo[row]))
        end = self._x(case.seconds(effect.hi)) if effect else x + 8
        cmd, op = case.commands.cmd[row], case.commands.op[row]
        anchor, bad = self._witnessed.get(cmd, ("", ()))
        tail = max([end, *(self._x(at) for at in bad)])
        line = min(range(ROWS), key=lambda number: (busy[number] > x, number if busy[number] <= x else busy[number]))
        busy[line] = tail + 6
        y = self._lanes[lane] + 8 + line * ROW
        style = f"cmd {op} {case.commands.outcome[row]}" + (" bad" if anchor else "")
        title = escape(
            f"{name_of(case, row)}, submitted {case.seconds(case.commands.lo[row]):.3f} s, " + self._result(row)
        )
        mark = _mark(op, end, y) if effect else _cross(end, y)
        rings = "".join(f'<circle cx="{self._x(at)}" cy="{y}" r="4.5"/>' for at in bad)
        drawn = f'<g class="{style}"><title>{title}</title><path d="M{x} {y}H{tail}"/>{mark}{rings}</g>'
        return f'<a href="#{anchor}">{drawn}</a>' if anchor else drawn

    def _result(self, row: int) -> str:
        effect, outcome = self._case.attributed.effect_of[row], self._case.commands.outcome[row]
        if effect is not None:
            return f"effect {self._case.seconds(effect.hi):.3f} s"
        return {"ok": "accepted, no effect", "fail": "refused", "info": "no clear answer, no effect"}[outcome]

    def _axis(self) -> Iterator[str]:
        step = next((tick for tick in TICKS if (self._to - self._from) / tick <= 24), TICKS[-1])
        number = int(self._from / step)
        y = self._height - 6
        while number * step <= self._to:
            at = number * step
            if at >= self._from:
                x = self._x(at)
                yield f'<path class="tick" d="M{x} {TOP}V{self._height - 20}"/>'
                yield f'<text class="tick" x="{x}" y="{y}">{at:g} s</text>'
            number += 1

    def _bin(self, moment: int) -> int:
        return int((self._x(self._case.seconds(moment)) - LEFT) // BIN)


def _bounds(case: Case, verdict: Verdict) -> tuple[float, float]:
    """The time that is drawn: from the first submission or phase to the last phase or effect."""
    begins = [case.seconds(case.first_submit), *(phase.begin for phase in verdict.phases)]
    ends = [case.seconds(case.last_sign), *(phase.end for phase in verdict.phases if phase.end is not None)]
    begin, end = max(0.0, min(begins)), max([*ends, *begins])
    return begin, max(end, begin + 0.001)


def _witnessed(verdict: Verdict) -> dict[str, tuple[str, tuple[float, ...]]]:
    """Of each command that has a witness: its anchor, and the moments of what should not be."""
    return {
        witness.cmd: (f"w-{name}-{number}", tuple(moment.hi for moment in witness.moments if moment.bad))
        for name, found in verdict.checks.items()
        for number, witness in enumerate(found.witnesses)
    }


def _stacked(bins: dict[str, Counter[int]], highest: int, bottom: int, room: int) -> Iterator[str]:
    """Columns, one path a class; several classes stand on each other."""
    below: Counter[int] = Counter()
    for name, counted in bins.items():
        path = []
        for column, n in sorted(counted.items()):
            y = bottom - below[column] * room / highest
            path.append(
                f"M{LEFT + column * BIN} {y:.1f}v{-max(n * room / highest, 1):.1f}h{BIN - 1}v{max(n * room / highest, 1):.1f}z"
            )
        below.update(counted)
        if path:
            yield f'<path class="bins {name}" d="{"".join(path)}"/>'


def _mark(op: str, x: float, y: float) -> str:
    """A triangle up for a start, down for a hibernation, a diamond for a wake, a square for a stop."""
    shapes = {
        "start": f"M{x - 3} {y + 3}L{x} {y - 3}L{x + 3} {y + 3}z",
        "hibernate": f"M{x - 3} {y - 3}L{x} {y + 3}L{x + 3} {y - 3}z",
        "wake": f"M{x - 3} {y}L{x} {y - 3}L{x + 3} {y}L{x} {y + 3}z",
        "stop": f"M{x - 2.5} {y - 2.5}h5v5h-5z",
    }
    return f'<path class="mark" d="{shapes[op]}"/>'


def _cross(x: float, y: float) -> str:
    return f'<path class="none" d="M{x - 3} {y - 3}l6 6m0 -6l-6 6"/>'


def legend() -> Sequence[tuple[str, str]]:
    """Each mark as a small drawing, and what it means."""
    drawn: list[tuple[str, str]] = [(f'<g class="cmd {op} ok">{_mark(op, 7, 7)}</g>', op) for op in LIFECYCLE]
    drawn.append((f'<g class="cmd ok">{_cross(7, 7)}</g>', "no effect"))
    drawn.append((f'<g class="cmd bad"><path d="M1 7H12"/>{_mark("wake", 10, 7)}</g>', "violation"))
    drawn.append(('<rect class="fault" x="1" y="1" width="12" height="12"/>', "broken, as proven"))
    drawn.append(('<rect class="away" x="1" y="5" width="12" height="3"/>', "called away by the platform"))
    return [(f'<svg width="14" height="14" viewBox="0 0 14 14">{shape}</svg>', text) for shape, text in drawn]
