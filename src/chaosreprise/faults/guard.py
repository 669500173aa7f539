"""The guard of a run: once a second it looks whether the platform suffers more than was meant, and says when to halt.

It looks at three things, as far as the platform file names them: how many of the load's answers are unexpected errors, the
status of a URL, the value of a query in PromQL. What can't be evaluated counts as suffering. What was seen is recorded.

An unexpected error is an answer that proves nothing (`info`), one that never reached the platform (`unconnected`), or none
within the window. A command that crossed a component while a fault of ours was on it, or shortly after, does not count:
errors there are what was asked for. Nor do those of steps in a session that the fault may have ended for good: it was there before that was
over, and has not answered well since. So the guard sees when a fault hits more than its victim, or a victim does not recover.
"""

import asyncio
import contextlib
import pathlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from chaosreprise.clock import SECOND
from chaosreprise.errors import RepriseError
from chaosreprise.history import Answer, Coverage, Fault, Observe, Submit, Tail
from chaosreprise.platform.limits import Guard, Promql

if TYPE_CHECKING:  # imported when the platform file asks for it: 40 MiB and 0.2 s for every other run
    import httpx

EVERY_S = 1.0
ANSWER_S = 5.0
GRACE_S = 3.0  # after an undo: what was sent just before may fail yet
SOURCE = "guard"
UNEXPLAINED = ("unconnected", None)  # rules of a `fail` that is no refusal
AFTER: tuple[str, ...] = ("undone", "clean", "moot")
Tell = Callable[[Observe | Coverage], None]


class Suffering(Exception):
    """What was seen, in one clause."""


class Budget:
    """The share of unexpected errors among the load's answers. Fed with events, asked for a moment; pure."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._window = int(guard.window_s * SECOND)
        self._open: dict[str, Submit] = {}
        self._answers: deque[tuple[int, bool]] = deque()  # when, and whether it was an unexpected error
        self._faults: dict[str, tuple[str, int, int | None]] = {}  # component, from, until
        self._sessions: dict[
            str, tuple[int, int]
        ] = {}  # since when it was known, and when it last answered a step well

    def fault(self, event: Fault) -> None:
        component, lo, hi = self._faults.get(event.fault, (event.component, event.lo, None))
        if event.state != "planned" and not (event.state == "armed" and event.moment is not None):  # it waits yet
            self._faults[event.fault] = component, lo, event.hi if hi is None and event.state in AFTER else hi

    def load(self, event: Submit | Answer) -> None:
        if isinstance(event, Submit):
            self._open[event.cmd] = event
            return
        submit = self._open.pop(event.cmd, None)
        if submit is None:
            return
        if session := submit.session or event.session:
            since, well = self._sessions.get(session, (event.hi, 0))
            self._sessions[session] = since, event.hi if submit.op == "step" and event.outcome == "ok" else well
        if not self._crossed(submit, event.hi):
            self._answers.append(
                (event.hi, event.outcome == "info" or (event.outcome == "fail" and event.rule in UNEXPLAINED))
            )

    def share(self, now: int) -> tuple[int, int]:
        """(unexpected errors, answers) of the last window; what is still without an answer after a window is one of each."""
        while self._answers and self._answers[0][0] < now - self._window:
            self._answers.popleft()
        hung = [one for one in self._open.values() if one.hi < now - self._window and not self._crossed(one, now)]
        bad = sum(unexpected for _, unexpected in self._answers)
        return bad + len(hung), len(self._answers) + len(hung)

    def check(self, now: int) -> float | None:
        """The share, if there are enough answers for one. Raises Suffering when it is above the limit."""
        bad, count = self.share(now)
        if count < self._guard.least:
            return None
        if bad > self._guard.errors * count:
            raise Suffering(
                f"{bad} of {count} answers of the load in {self._guard.window_s:g} s were unexpected errors (guard.errors = {self._guard.errors:g})"
            )
        return round(bad / count, 4)

    def _crossed(self, submit: Submit, hi: int) -> bool:
        """Whether the command, on its way from `submit` to `hi`, crossed what a fault was on, or asks for what that has ended."""
        path = {*submit.path, f"sessions/{submit.session}"}
        grace = int(GRACE_S * SECOND)
        return any(
            component in path
            and hi >= begin
            and (end is None or submit.lo <= end + grace or self._may_be_lost(submit, end))
            for component, begin, end in self._faults.values()
        )

    def _may_be_lost(self, submit: Submit, end: int) -> bool:
        """Whether it is a step in a session that was there before the end of a fault, and has not answered well since."""
        since, well = self._sessions.get(submit.session or "", (submit.lo, 0))
        return submit.op == "step" and since <= end and well <= end


class Watch:
    """Looks at all that the platform file names. `tell` records what was seen."""

    def __init__(self, guard: Guard, history: pathlib.Path, tell: Tell) -> None:
        self._guard, self._tell = guard, tell
        self._tail = Tail(history, "load")
        self._budget = Budget(guard)
        self._http: httpx.AsyncClient | None = None
        self._covered = False

    def fault(self, event: Fault) -> None:
        """A state that a fault of this run has reached."""
        self._budget.fault(event)

    async def until_suffering(self, looked: asyncio.Event) -> str:
        """Look every second; returns what was seen when the run must halt. `looked` is set once all was well."""
        while True:
            began = time.monotonic()
            if why := await self.look():
                return why
            self._cover(on=True)
            looked.set()
            await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))

    async def look(self) -> str | None:
        """What is wrong now, in one clause; None when nothing is."""
        try:
            self._look_at_load()
            await asyncio.gather(self._look_at_url(), self._look_at_query())
        except Suffering as suffering:
            return str(suffering)
        return None

    async def close(self) -> None:
        self._cover(on=False)
        if self._http is not None:
            await self._http.aclose()

    def _look_at_load(self) -> None:
        try:
            for event in self._tail.new():
                if isinstance(event, Submit | Answer):
                    self._budget.load(event)
        except (RepriseError, OSError) as error:
            raise Suffering(f"what the load recorded can't be read: {error}") from error
        share = self._budget.check(time.monotonic_ns())
        if share is not None:
            self._record("errors", share)

    async def _look_at_url(self) -> None:
        guard = self._guard
        if guard.url is None:
            return
        answer = await self._get(guard.url, "guard.url")
        self._record("url", answer.status_code)
        if answer.status_code != guard.status:
            raise Suffering(f"{guard.url} answered {answer.status_code} (guard.status = {guard.status})")

    async def _look_at_query(self) -> None:
        asked = self._guard.promql
        if asked is None:
            return
        answer = await self._get(f"{asked.url.rstrip('/')}/api/v1/query", "guard.promql.url", query=asked.query)
        values = values_of(answer, asked)
        self._record("promql", values)
        if outside := [value for value in values if not keeps(value, asked)]:
            limit = f"below = {asked.below:g}" if asked.below is not None else f"above = {asked.above:g}"
            raise Suffering(f"{asked.query} is {outside[0]:g} (guard.promql.{limit})")

    async def _get(self, url: str, setting: str, **parameters: str) -> "httpx.Response":
        import httpx  # noqa: PLC0415

        if self._http is None:
            self._http = httpx.AsyncClient(timeout=ANSWER_S, trust_env=False)
        try:
            return await self._http.get(url, params=parameters or None)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Suffering(
                f"{setting} = {url} does not answer within {ANSWER_S:g} s ({type(error).__name__})"
            ) from error

    def _cover(self, on: bool) -> None:
        """From the first good look to the end; what it saw in between is recorded each second."""
        if on != self._covered:
            self._covered = on
            now = time.monotonic_ns()
            with contextlib.suppress(RepriseError):
                self._tell(Coverage(lo=now, hi=now, of=SOURCE, on=on, why="watching" if on else "done"))

    def _record(self, signal: str, value: Any) -> None:
        now = time.monotonic_ns()
        with contextlib.suppress(RepriseError):  # a history that can't be written halts nothing that is healthy
            self._tell(Observe(lo=now, hi=now, source=SOURCE, signal=signal, value=value))


def values_of(answer: "httpx.Response", asked: Promql) -> list[float]:
    """The numbers of an instant query (Prometheus' HTTP API, version 1). Raises Suffering when there is none."""
    try:
        said = answer.json()
        if said["status"] != "success":
            raise ValueError(said.get("error") or said["status"])
        kind, result = said["data"]["resultType"], said["data"]["result"]
        samples: Iterable[Any] = [result] if kind == "scalar" else [series["value"] for series in result]
        values = [float(sample[1]) for sample in samples]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise Suffering(
            f"{asked.query} can't be evaluated: {asked.url} answered {answer.status_code}, {error!r}"
        ) from error
    if not values:
        raise Suffering(f"{asked.query} can't be evaluated: no series has a value now")
    return values


def keeps(value: float, asked: Promql) -> bool:
    """Whether a value is where it must be; a NaN is nowhere."""
    if asked.below is not None:
        return value < asked.below
    return asked.above is not None and value > asked.above
