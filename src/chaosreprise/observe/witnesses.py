"""The sink of witnesses: what the processes of sessions say of themselves (`chaosreprise.witness`), received for the length of a run.

Each report is put between two moments of our own clock: it was made after we had given the last answer that it knows of, and before it was
received; between two reports of one process its own clock is believed, but for a drift. Of each process the first and the last
sign are told, and one a look between them. A number that is missing is a gap of its session; what shows the token and can't be read is one of all.
"""

import asyncio
import hmac
import os
import secrets
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import Unreachable
from chaosreprise.history import Coverage, Observe, Sign
from chaosreprise.observe.source import Emit, sample

LARGEST = 65536  # bytes of a request
PROCESSES = 10_000  # that one run tells apart
DRIFT = 1000  # a clock loses or gains at most one part of so many
AWAY = (
    "away_s"  # the signal: the longest pause between two reports of one process that was told of since the last sample
)
VERSION = 1
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")]
Nanoseconds = Annotated[int, Meta(ge=0, lt=2**62)]
Number = Annotated[int, Meta(ge=1, lt=2**62)]


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """One request. `echo`: the life of the sink that it last heard of, its time in that answer, and when that was read."""

    v: int
    session: Name
    pod: Name
    boot: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    now: Nanoseconds
    reports: Annotated[list[tuple[Number, Nanoseconds]], Meta(min_length=1, max_length=1000)]
    kept: Number | None = None
    found: Annotated[list[Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]], Meta(max_length=64)] | None = None
    echo: tuple[str, Nanoseconds, Nanoseconds] | None = None
    ending: bool = False


class Process(msgspec.Struct):
    """What is known of one: of its last report `number` and its own time `at`. `first` and `last`: its signs that wait to be told."""

    born: int
    number: int = 0
    at: int = 0
    away_ns: int = 0
    first: Sign | None = None
    anchored: bool = False
    last: Sign | None = None


class WitnessSource:
    """Listens at `host`:`port`; who shows `token` is believed."""

    def __init__(self, name: str, host: str, port: int, token: str, hz: float) -> None:
        self.name = name
        self._host, self._port, self._token, self._hz = host, port, f"Bearer {token}".encode(), hz
        self.life = secrets.token_hex(8)
        self._decoder = msgspec.json.Decoder(Said)
        self._processes: dict[tuple[str, str, str], Process] = {}
        self._runner: web.AppRunner | None = None
        self._opened = 0
        self._longest: int | None = None

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        self._clock, self._emit = clock, emit

        async def look(since: int, last: bool) -> None:
            del since
            if self._runner is None:
                await self._listen()
            self._tell(last)

        try:
            await sample(self.name, self._hz, clock, emit, stop, look)
        finally:
            await self.close()

    async def close(self) -> None:
        """Nobody listens from now on."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=LARGEST)
        app.router.add_post("/{way:.*}", self._receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, keepalive_timeout=60.0)
        await runner.setup()
        self._opened = self._clock.now()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise Unreachable(
                f"{self._host}:{self._port}: nobody can listen there ({why}): end what does, or name another address in `listen`"
            ) from error
        self._runner = runner

    async def _receive(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "").encode(errors="replace")
        if not hmac.compare_digest(shown, self._token):
            return web.Response(status=401, text="show the token of this run's platform file")
        try:
            said = self._decoder.decode(await request.read())
            problem = _problem(said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = str(error)
        except web.HTTPRequestEntityTooLarge:
            problem = f"more than {LARGEST} bytes"
        now = self._clock.now()
        problem = problem or self._take(said, now)
        if problem:
            self._gap(self.name, now, now, f"a report can't be read: {problem}")
            return web.Response(status=400, text=problem)
        return web.json_response({"life": self.life, "t": self._clock.now()})

    def _take(self, said: Said, now: int) -> str | None:
        """The reports that are new; why it can't be."""
        below = said.echo[1:] if said.echo and said.echo[0] == self.life else None
        if below is not None and (below[0] > now or below[1] > said.now):
            return "it has heard from us what we have not said yet"
        after = below or (self._opened, said.now)
        name = said.session, said.pod, said.boot
        process = self._processes.get(name)
        if process is None:
            if len(self._processes) >= PROCESSES:
                return f"more than {PROCESSES} processes"
            process = self._processes[name] = Process(said.reports[0][1])
        for number, at in said.reports:
            if number > process.number:
                self._one(said, process, number, at, _earliest(after, at), _latest((now, said.now), at))
        if below is not None and not process.anchored:
            process.anchored = True
            if process.first is not None:
                process.first.lo = min(max(process.first.lo, _earliest(below, process.born)), process.first.hi)
        return None

    def _one(self, said: Said, process: Process, number: int, at: int, lo: int, hi: int) -> None:
        if process.number and number > process.number + 1:
            why = f"{number - process.number - 1} reports of {said.pod} never came"
            self._gap(self.name, hi, hi, why)
        elif process.number:
            pause = max(0, at - process.at)
            process.away_ns = max(process.away_ns, pause)
            self._longest = max(self._longest or 0, pause)
        ending = said.ending and number == said.reports[-1][0]
        inc = [said.pod, said.boot]
        sign = Sign(lo=min(lo, hi), hi=hi, ledger=self.name, session=said.session, inc=inc, number=number)
        sign.kept, sign.ending = said.kept, ending
        if not process.number:
            process.first = sign
            sign.found = said.found
        else:
            process.last = sign
        process.number, process.at = number, at

    def _tell(self, last: bool) -> None:
        """What is new of each process; its first sign once it is known how early that may have been, or nothing more will come."""
        for process in self._processes.values():
            if process.first is not None and (process.anchored or last):
                self._emit(process.first)
                process.first = None
            if process.last is not None and process.first is None:
                process.last.away_ns, process.away_ns = process.away_ns, 0
                self._emit(process.last)
                process.last = None
        if self._longest is not None:
            now = self._clock.now()
            self._emit(Observe(lo=now, hi=now, source=self.name, signal=AWAY, value=self._longest / SECOND))
            self._longest = None

    def _gap(self, of: str, lo: int, hi: int, why: str) -> None:
        self._emit(Coverage(lo=lo, hi=hi, of=of, on=False, why=why))
        self._emit(Coverage(lo=hi, hi=hi, of=of, on=True, why="watching again"))


def _problem(said: Said) -> str | None:
    """What a witness never says."""
    if said.v != VERSION:
        return f"version {said.v}"
    before = 0, 0
    for number, at in said.reports:
        if number <= before[0] or at < before[1] or at > said.now:
            return f"report {number} is not later than the one before it, or not yet made"
        before = number, at
    return None


def _earliest(after: tuple[int, int], at: int) -> int:
    """Of what was made `at` its process's time, when our time `after[0]` had passed at its time `after[1]`."""
    return max(0, after[0] + (at - after[1]) - abs(at - after[1]) // DRIFT)


def _latest(until: tuple[int, int], at: int) -> int:
    """The same where our time `until[0]` had not passed yet."""
    return max(0, until[0] + (at - until[1]) + abs(at - until[1]) // DRIFT)
