"""`python -m chaosreprise.faults.warden`: the one process of a run that injects and undoes faults.

In a session of its own, deaf to SIGINT and SIGHUP, so that what interrupts its owner does not stop it from undoing. End
of file on the owner's pipe, SIGTERM or `bye`: everything is undone, then it ends. A lease that ends is undone at once.
What it can't write to the history it undoes all the same. It starts nothing: which fault, and when, is the run's business.
It refuses what `gate` does not let in, and when the guard sees the platform suffer, it undoes all and interrupts the run.
"""

import argparse
import asyncio
import contextlib
import functools
import os
import pathlib
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from chaosreprise.clock import SECOND
from chaosreprise.errors import NotAllowed, RepriseError, Unreachable, complain
from chaosreprise.faults import ledger, protocol
from chaosreprise.faults.base import Context
from chaosreprise.faults.gate import Gate
from chaosreprise.faults.lives import Lives
from chaosreprise.history import Coverage, Fault, Observe, Timed, Writer
from chaosreprise.history.events import HALT
from chaosreprise.moments import At, Waiting, patience_s
from chaosreprise.moments.waiting import Recorded
from chaosreprise.platform.links import OfFile
from chaosreprise.procs import Incarnation, incarnation, myself, peer_uid, send_signal

LEASES_EVERY_S = 0.1
LOCK_WAIT_S = 20.0  # the warden of a run that was killed may still be undoing
ANSWERS_KEPT = 1000
MAX_LINE = 1 << 20
OUTSIDERS = {"guard": " by the guard", "stop": " by `chaos reprise stop`"}


class Warden:
    """Requests in, faults through their states, answers out."""

    def __init__(
        self,
        lives: Lives,
        gate: Gate,
        record: Callable[[Timed], None],
        owner: Incarnation | None,
        history: pathlib.Path,
    ) -> None:
        self._lives, self._gate, self._record, self._owner, self._history = lives, gate, record, owner, history
        self._answers: dict[int, asyncio.Task[dict[str, Any]]] = {}
        self._injecting: set[asyncio.Task[dict[str, Any]]] = set()
        self._halted: dict[str, str] | None = None
        # Why it ends: `done` as asked by the run.
        self._ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._said: set[asyncio.Task[None]] = set()  # under way: awaited before the end

    async def run(self, listener: socket.socket, owner_fd: int, ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(owner_fd, self._owner_spoke, owner_fd)
        loop.add_signal_handler(signal.SIGTERM, self._end, "SIGTERM")
        server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE)
        watching = [asyncio.create_task(self._watch_leases()), asyncio.create_task(self._keep_guard())]
        self._cover(on=True, why="opened")
        ready()
        why = await self._ending
        await self._halt("warden")
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        await self._gate.close()
        server.close()
        if self._said:
            await asyncio.wait(self._said)
        with contextlib.suppress(RepriseError):  # without this mark it is taken to have died
            self._cover(on=False, why=why)

    def _end(self, why: str) -> None:
        if not self._ending.done():
            self._ending.set_result(why)

    def _cover(self, on: bool, why: str) -> None:
        now = time.monotonic_ns()
        self._record(Coverage(lo=now, hi=now, of="warden", on=on, why=why))

    def _owner_spoke(self, fd: int) -> None:
        """A byte: the run was interrupted, so undo. The end of the pipe: the owner is dead."""
        if os.read(fd, 4096):
            task = asyncio.create_task(self._halt("run"))
            self._said.add(task)
            task.add_done_callback(self._said.discard)
        else:
            asyncio.get_running_loop().remove_reader(fd)
            self._end("its run was gone")

    async def _halt(self, by: str, why: str = "") -> None:
        """Inject nothing any more, also what is under way; undo everything. Who began to is who did it."""
        if self._halted is None:
            self._halted = {"by": by, "why": why}
            if by in OUTSIDERS:
                now = time.monotonic_ns()
                with contextlib.suppress(RepriseError):  # it is undone whether or not that can be written
                    self._record(Observe(lo=now, hi=now, source="warden", signal=HALT, value=self._halted))
        for task in self._injecting:
            task.cancel()
        await asyncio.gather(*self._injecting, return_exceptions=True)
        await self._lives.undo_all(by)

    async def _keep_guard(self) -> None:
        """A guard that breaks has seen nothing: that halts the run as well."""
        try:
            why = await self._gate.until_suffering()
        except Exception as error:  # noqa: BLE001
            why = f"the guard could not look: {error!r}"
        await self._halt("guard", why)
        if self._owner is not None:
            send_signal(self._owner, signal.SIGTERM)

    async def _watch_leases(self) -> None:
        """CLOCK_BOOTTIME, which no timer of asyncio follows, is looked at."""
        while True:
            await asyncio.sleep(LEASES_EVERY_S)
            await asyncio.gather(*(self._lives.undo(fault, "lease") for fault in self._lives.expired()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.CancelledError):  # gone; a line too long; the end
            if peer_uid(writer.get_extra_info("socket")) == os.getuid():
                while line := await reader.readline():
                    task = asyncio.create_task(self._answer(line, writer))
                    self._said.add(task)
                    task.add_done_callback(self._said.discard)
        writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = _requests.decode(line)
        except msgspec.DecodeError as error:
            answer = {
                "ok": False,
                "code": "bad-input",
                "say": f"{line[:200].decode(errors='replace').strip()}: {error}",
            }
        else:
            answer = {"id": request.id} | await self._once(request)
        if not writer.is_closing():
            writer.write(msgspec.json.encode(answer) + b"\n")

    async def _once(self, request: protocol.Request) -> dict[str, Any]:
        """The answer to this id: what was answered before, or what is being worked on."""
        task = self._answers.get(request.id)
        if task is None:
            task = self._answers[request.id] = asyncio.create_task(self._do(request))
            if request.do == "inject":
                self._injecting.add(task)
                task.add_done_callback(self._injecting.discard)
            while len(self._answers) > ANSWERS_KEPT:
                del self._answers[next(iter(self._answers))]
        await asyncio.wait([task])
        if task.cancelled():
            return {"ok": False, "code": NotAllowed.code, "say": f"{self._why_halted()}: it was undone"}
        return task.result()

    async def _do(self, request: protocol.Request) -> dict[str, Any]:
        try:
            match request.do:
                case "plan":
                    return _ok(await self._lives.plan(request.fault, request.kind, request.on, request.args))
                case "inject":
                    return _ok(await self._inject(request))
                case "undo":
                    return _whole(await self._lives.undo(request.fault, "run"))
                case "status" if request.fault:
                    return _ok(self._lives.get(request.fault))
                case "halt":
                    await self._halt(request.by)
                case "bye":
                    await self._halt("run")
                    self._end("done")
            return {
                "ok": True,
                "faults": [protocol.told(record) for record in self._lives.all()],
                "halted": self._halted,
            }
        except RepriseError as error:
            return {"ok": False, "code": error.code, "say": str(error)}

    async def _inject(self, request: protocol.Request) -> ledger.Record:
        self._check_halted()
        intent = request.fault, request.kind, request.on, request.hold_ns
        waits_ns = int(patience_s(request.at) * SECOND)
        async with self._gate.admitted(*intent, self._lives, waits_ns):
            self._check_halted()
            if request.at is None:
                return await self._lives.inject(*intent, request.args)
            with contextlib.closing(self._waiting(request.at, intent)) as waiting:
                whole = request.hold_ns + waits_ns
                return await self._lives.inject(*intent[:3], whole, request.args, waiting)

    def _waiting(self, at: At, intent: tuple[str, str, str, int]) -> Waiting:
        """While it waits, what lets it in is looked at again."""
        still = functools.partial(self._gate.until_refused, *intent, self._lives)
        return Waiting(at, [intent[2]], [Recorded(self._history)], still)

    def _check_halted(self) -> None:
        if self._halted is not None:
            raise NotAllowed(f"{self._why_halted()}: nothing is injected any more")

    def _why_halted(self) -> str:
        halted = self._halted or {"by": "", "why": ""}
        why = f": {halted['why']}" if halted["why"] else ""
        return f"the run was halted{OUTSIDERS.get(halted['by'], '')}{why}"


def main() -> int:
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(arguments.owner_fd, False)
    try:
        with (
            ledger.warden_lock(arguments.platform, LOCK_WAIT_S),
            Writer(arguments.history, "warden", arguments.run) as writer,
        ):
            asyncio.run(_run(arguments, writer))
    except RepriseError as error:
        complain(error)
        with contextlib.suppress(OSError):
            sys.stdout.write(f"{error}\n")  # to the owner, if it still waits for the address
            sys.stdout.flush()
        return 2
    return 0


async def _run(arguments: argparse.Namespace, writer: Writer) -> None:
    owner = incarnation(os.getppid())  # if it is dead already, end of file on its pipe tells
    owners = [myself()] if owner is None else [myself(), owner]
    file = arguments.platform_file
    context = Context(arguments.keeper, owners, OfFile(file) if file else {}, file)

    def record(event: Timed) -> None:
        writer.write(event, at_once=True)

    gate = Gate(
        None if arguments.unguarded else arguments.platform_file,
        arguments.run,
        arguments.history,
        record,
        arguments.observe,
    )

    def tell(event: Fault) -> None:
        gate.fault(event)
        writer.write(event, at_once=True)

    lives = Lives(arguments.run, arguments.platform, context, tell)
    listener, address = _listen()
    await Warden(lives, gate, record, owner, arguments.history).run(
        listener, arguments.owner_fd, lambda: _say_ready(address)
    )


def _say_ready(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


def _listen() -> tuple[socket.socket, str]:
    name = f"reprise-warden-{secrets.token_hex(8)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{name}")
    listener.listen(32)
    return listener, f"@{name}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaosreprise.faults.warden")
    parser.add_argument("--run", required=True)
    parser.add_argument("--platform", required=True, help="what the ledger of faults is filed under")
    parser.add_argument("--platform-file", help="says what may be broken, and by which ways; without it everything may")
    parser.add_argument("--unguarded", action="store_true", help="everything may be broken: for tests of faults")
    parser.add_argument("--observe", action="store_true", help="refuse every injection")
    parser.add_argument("--keeper", help="address of the keeper, if the platform has one")
    parser.add_argument("--history", type=pathlib.Path, required=True)
    parser.add_argument("--owner-fd", type=int, required=True, help="a pipe; at its end of file everything is undone")
    return parser.parse_args()


def _ok(record: ledger.Record) -> dict[str, Any]:
    return {"ok": True, **protocol.told(record)}


def _whole(record: ledger.Record) -> dict[str, Any]:
    if record.state == "leaked":
        raise Unreachable(f"{record.on} could not be made whole: {record.say}: see `chaos reprise heal`")
    return _ok(record)


_requests = msgspec.json.Decoder(protocol.Request)

if __name__ == "__main__":
    sys.exit(main())
