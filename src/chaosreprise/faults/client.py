"""The owner's side of the faults: it starts the warden, asks it, takes over when it dies, and heals what former runs left.

`lock` (one run a platform) is the ledger's; `heal` is called with it held.
"""

import asyncio
import contextlib
import itertools
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Self

import msgspec

from chaosreprise.errors import NotAllowed, RepriseError, RunBroken, Unreachable, complain
from chaosreprise.faults import ledger, protocol, registry
from chaosreprise.faults.base import Context
from chaosreprise.faults.ledger import Record, lock
from chaosreprise.faults.lives import Lives, Tell
from chaosreprise.history import Fault, Writer
from chaosreprise.moments import patience_s
from chaosreprise.procs import peer_uid

__all__ = ["Healed", "Warden", "exchange", "heal", "heal_all", "lock", "take_over"]

READY_S = 30.0  # it may have to wait until the warden of a killed run has undone its faults
ANSWER_S = 60.0  # and the longest undo of what was injected
END_S = 45.0
LOCK_WAIT_S = 30.0
# By these variables CI systems find and kill what a job left running: the warden must live until it has undone.
COOKIES = (
    "BUILD_ID",
    "HUDSON_COOKIE",
    "HUDSON_SERVER_COOKIE",
    "JENKINS_NODE_COOKIE",
    "JENKINS_SERVER_COOKIE",
    "RUNNER_TRACKING_ID",
)


class Healed(msgspec.Struct, kw_only=True, frozen=True):
    """A fault that a run left, and what became of it: clean, moot (its platform is gone) or leaked."""

    run: str
    fault: str
    kind: str
    on: str
    state: str
    by: str
    say: str | None = None

    def __str__(self) -> str:
        ends = {"clean": "undone, verified", "moot": "its stack is gone: nothing to undo"}
        return f"run {self.run}: 1 fault left: {self.kind} on {self.on} -> {ends.get(self.state, f'NOT undone: {self.say}')}"


class Warden:
    """A running warden. Its pipe is held by this process: when this process dies, the warden undoes everything."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        address: str,
        pipe: int,
        run: str,
        platform: str,
        history: pathlib.Path,
    ) -> None:
        self._process = process
        self._address = address
        self._pipe: int | None = pipe
        self._run, self._platform, self._history = run, platform, history
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._took_over = False
        self._undo_s = 0.0

    @classmethod
    def start(
        cls,
        *,
        run: str,
        platform_id: str,
        keeper: str | None,
        history: pathlib.Path,
        platform_file: str | None,
        observe: bool = False,
        guarded: bool = True,
        stack_fd: int | None = None,
        log: pathlib.Path | None = None,
    ) -> Self:
        """Start a warden; returns when it listens. `stack_fd` keeps an owned stack alive as long as the warden lives.

        `platform_file` says what may be broken: without one everything may, so None must be said; `guarded` as False: it only
        says how it can be reached. Its standard error goes to `log`, by default `<history>/../logs/warden.log`.
        """
        log = log or history.parent / "logs" / "warden.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        read_end, write_end = os.pipe()
        command = [sys.executable, "-P", "-m", "chaosreprise.faults.warden", "--run", run, "--platform", platform_id]
        command += ["--history", str(history), "--owner-fd", str(read_end), *(["--keeper", keeper] if keeper else [])]
        command += [*(["--platform-file", platform_file] if platform_file else []), *(["--observe"] if observe else [])]
        command += [] if guarded else ["--unguarded"]
        try:
            with log.open("ab") as stderr:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    pass_fds=[fd for fd in (read_end, stack_fd) if fd is not None],
                    env={name: value for name, value in os.environ.items() if name not in COOKIES},
                    start_new_session=True,
                )
            return cls(process, _address_of(process, log), write_end, run, platform_id, history)
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)

    @property
    def ledger(self) -> pathlib.Path:
        return ledger.path(self._platform, self._run)

    @property
    def address(self) -> str:
        return self._address

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def request(self, do: protocol.Verb, **fields: Any) -> dict[str, Any]:
        """What the warden answers: for a fault its `state`, `lo`, `hi`, `target`, ... as in `protocol.Told`.

        Raises what it refuses with (NotProven, Busy, ...), or RunBroken when it died: its faults have been undone here.
        From any thread: requests of several go on beside each other.
        """
        request = protocol.Request(id=next(self._ids), do=do, **fields)
        if do == "inject":
            self._undo_s = max(self._undo_s, registry.get(request.kind).undo_s)
        try:
            answer = self._ask(request)
        except TimeoutError as error:
            raise Unreachable(
                f"the warden of this run (pid {self.pid}) does not answer: its faults end with their leases"
            ) from error
        except OSError as error:
            with self._lock:  # who comes second waits until all is undone
                healed = self._after_death()
            raise RunBroken(
                f"the warden of this run died: {len(healed)} faults were undone by the run itself"
            ) from error
        if answer["ok"]:
            self._undo_s = max(self._undo_s, (answer.get("target") or {}).get("undo_s", 0.0))
            return answer
        raise protocol.ERRORS.get(answer["code"], RunBroken)(answer["say"])

    def halt_at_once(self) -> None:
        """Undo everything and inject nothing any more: asked without waiting for it, so that a signal handler may."""
        if (pipe := self._pipe) is not None:
            with contextlib.suppress(OSError):
                os.write(pipe, b"!")

    def close(self) -> None:
        """Undo what is left and end the warden, by force if need be; then what it left is undone here. Does nothing twice."""
        if self._pipe is None:
            return
        with contextlib.suppress(RepriseError):
            self.request("bye")
        pipe, self._pipe = self._pipe, None
        os.close(pipe)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._after_death()

    def _ask(self, request: protocol.Request) -> dict[str, Any]:
        """One request on a connection of its own; asked twice, since the same id gives the same answer."""
        deadline = time.monotonic() + ANSWER_S + self._undo_s + patience_s(request.at)
        for last in (False, True):
            try:
                return exchange(self._address, request, deadline)
            except TimeoutError:
                raise
            except OSError:
                if last or not self.alive():
                    raise
        raise AssertionError

    def _after_death(self) -> list[Healed]:
        if self._took_over:
            return []
        self._took_over = True
        self._process.wait(END_S)
        return take_over(self._platform, self._run, self._history)


def exchange(address: str, request: protocol.Request, deadline: float) -> dict[str, Any]:
    """One request to the warden at an address, and its answer. Raises OSError, TimeoutError at the deadline (monotonic)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        connection.connect("\0" + address[1:])
        if peer_uid(connection) != os.getuid():
            raise ConnectionRefusedError("the process at the warden's address is another user's")
        connection.sendall(msgspec.json.encode(request) + b"\n")
        with connection.makefile("rb") as lines:
            line = lines.readline()
    if not line.endswith(b"\n"):
        raise ConnectionResetError("the warden closed the connection")
    answer: dict[str, Any] = msgspec.json.decode(line)
    return answer


def take_over(platform_id: str, run: str, history: pathlib.Path) -> list[Healed]:
    """Undo what the dead warden of a run left, and write so to a segment of its own. Its death has freed the lock."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(ledger.warden_lock(platform_id, LOCK_WAIT_S))
        left = ledger.leftovers(platform_id, run)
        if not left:
            return []
        return _undo(left, "owner", _teller(stack, history, run))


def heal(platform_id: str, keeper: str | None = None) -> list[Healed]:
    """Undo what former runs left on this platform. `keeper`: for faults whose ledger names none. Call it with `lock` held.

    Raises NotAllowed when a warden of a former run is still at work after a while.
    """
    ledger.prune()
    with ledger.warden_lock(platform_id, LOCK_WAIT_S):
        left = ledger.leftovers(platform_id)
        left = [record if record.keeper else msgspec.structs.replace(record, keeper=keeper) for record in left]
        runs = sorted({record.run for record in left})
        return [one for run in runs for one in _undo([r for r in left if r.run == run], "heal", lambda _: None)]


def heal_all() -> list[Healed]:
    """Undo what former runs left, on every platform that no run is testing now."""
    healed = []
    for platform in ledger.platforms():
        with contextlib.suppress(NotAllowed), lock(platform):
            healed += heal(platform)
    return healed


def _undo(left: list[Record], by: str, tell: Tell) -> list[Healed]:
    """All of one run, side by side."""
    first = left[0]
    lives = Lives(first.run, first.platform, Context(first.keeper, []), tell)
    lives.adopt(left)

    async def all_of_them() -> list[Record]:
        return await asyncio.gather(*(lives.undo(record.fault, by) for record in left))

    return [
        Healed(run=r.run, fault=r.fault, kind=r.kind, on=r.on, state=r.state, by=r.by or by, say=r.say)
        for r in asyncio.run(all_of_them())
    ]


def _teller(stack: contextlib.ExitStack, history: pathlib.Path, run: str) -> Tell:
    """Writes to the history if that is possible: undoing does not depend on it."""
    try:
        writer = Writer(history, "takeover", run)
    except RunBroken as error:
        complain(error)
        return lambda _: None
    stack.callback(_close_quietly, writer)

    def tell(event: Fault) -> None:
        writer.write(event, at_once=True)

    return tell


def _close_quietly(writer: Writer) -> None:
    with contextlib.suppress(RunBroken):
        writer.close()


def _address_of(process: "subprocess.Popen[bytes]", log: pathlib.Path) -> str:
    """The line that a warden prints when it listens; another one says why it can't."""
    assert process.stdout is not None
    line = b""
    if select.select([process.stdout], [], [], READY_S)[0]:
        line = process.stdout.readline()
    if not line.startswith(b"@"):
        process.send_signal(signal.SIGTERM)
        process.kill()
        process.wait()
        process.stdout.close()
        lines = [line.decode().strip()] if line else log.read_text(errors="replace").strip().splitlines()
        raise RunBroken(f"the warden did not start: {(lines or ['it said nothing'])[-1]}")
    return line.decode().strip()
