"""A history as a small drawing of text: a line for each command, each thing in a ledger, each thing reported, fault and gap.

s          0         2         4
c1 wake s1 >ok
slots s1            up
"""

from collections.abc import Callable

from chaosreprise.history import Answer, Coverage, Effect, Fault, History, Observe, Report, Stream, Submit

WIDTH = 66
SECOND = 1e9
NEEDED = ("recorder", "load")


class Lane:
    """One line, or more where words would stand on each other."""

    def __init__(self, label: str, scale: float) -> None:
        self.label, self._scale = label, scale
        self.rows: list[list[str]] = []

    def put(self, lo: float, text: str, since: float | None = None) -> None:
        """A word at a moment; from `since` on a line leads to it."""
        at = round(lo * self._scale)
        if since is not None and (begin := round(since * self._scale)) < at:
            text, at = "-" * (at - begin) + text, begin
        for row in self.rows:
            if all(cell == " " for cell in row[max(0, at - 1) : at + len(text) + 1]):
                break
        else:
            row = [" "] * (WIDTH + 40)
            self.rows.append(row)
        row[at : at + len(text)] = text

    def fill(self, lo: float, hi: float, sign: str) -> None:
        self.put(lo, sign * max(1, round(hi * self._scale) - round(lo * self._scale)))


def draw(history: History) -> str:
    """The drawing, a line a row, without an empty end."""
    seconds = max(event.hi for event in history.events) / SECOND
    scale = WIDTH / seconds
    lanes: dict[str, Lane] = {}

    def lane(label: str) -> Lane:
        return lanes.setdefault(label, Lane(label, scale))

    names = {event.cmd: event for event in history.events if isinstance(event, Submit)}
    answers = {event.cmd: event for event in history.events if isinstance(event, Answer)}
    for submit in names.values():
        _command(lane(_called(submit, answers.get(submit.cmd))), submit, answers.get(submit.cmd))
    for marks in _changes(history):
        first = marks[0]
        pid = f" pid {first.inc[2]}" if first.inc else ""
        word = "+".join(effect.mark for effect in marks)
        lane(f"{first.ledger} {first.object}").put(first.hi / SECOND, f"{word}{pid}", first.lo / SECOND)
    for event in history.events:
        hi = event.hi / SECOND
        if isinstance(event, Report):
            owner = f" {event.owner}" if event.owner and event.about == "session" else ""
            lane(f"rows {event.id}").put(hi, f"{event.state}{owner}")
        elif isinstance(event, Observe):
            lane(f"{event.source}.{event.signal}").put(hi, f"{event.value:g}")
        elif isinstance(event, Stream):
            begun = next(one.hi for one in history.events if isinstance(one, Stream) and one.stream == event.stream)
            lane(event.stream).put(hi, event.state, begun / SECOND if event.state != "open" else None)
    _spans(history, lane)
    left = max(len(label) for label in lanes) + 1
    lines = [f"{'s':<{left}}{_axis(seconds, scale)}"]
    for one in lanes.values():
        lines += [
            f"{one.label if not number else '':<{left}}{''.join(row)}".rstrip() for number, row in enumerate(one.rows)
        ]
    return "\n".join(lines)


def _called(submit: Submit, answer: Answer | None) -> str:
    session = submit.session or (answer.session if answer else None) or ""
    return f"{submit.cmd} {'list' if submit.op == 'read' and not session else submit.op} {session}".rstrip()


def _command(lane: Lane, submit: Submit, answer: Answer | None) -> None:
    """From its submission to its answer."""
    word = "" if answer is None else {"ok": "ok", "fail": "refused", "info": "unclear"}[answer.outcome]
    if answer is not None and answer.listed is not None:
        word = ",".join(answer.listed) or "empty"
    elif answer is not None and answer.status:
        word = str(answer.status)
    lane.put((answer or submit).hi / SECOND, f">{word}", submit.lo / SECOND)


def _changes(history: History) -> list[list[Effect]]:
    """The marks of one moment of one object together."""
    found: dict[tuple[str, str, int, int | None], list[Effect]] = {}
    for event in history.events:
        if isinstance(event, Effect):
            found.setdefault((event.ledger, event.object, event.hi, event.gen), []).append(event)
    return list(found.values())


def _spans(history: History, lane: Callable[[str], Lane]) -> None:
    """Faults and gaps."""
    begun: dict[str, float] = {}
    for event in history.events:
        at = event.lo / SECOND
        if isinstance(event, Fault) and event.state == "proven":
            begun[event.fault] = at
        elif isinstance(event, Fault) and event.state == "undoing":
            lane(f"{event.component} {event.kind.partition('.')[2]}").fill(begun.get(event.fault, at), at, "=")
        elif isinstance(event, Coverage) and event.of not in NEEDED:
            if not event.on and event.why != "done":
                begun[event.of] = at
            elif event.on and event.of in begun:
                lane(f"{event.of} not read").fill(begun.pop(event.of), at, "~")


def _axis(seconds: float, scale: float) -> str:
    row = [" "] * (WIDTH + 4)
    for second in range(0, int(seconds) + 1, 1 if seconds <= 12 else 5):
        text = str(second)
        row[round(second * scale) : round(second * scale) + len(text)] = text
    return "".join(row).rstrip()
