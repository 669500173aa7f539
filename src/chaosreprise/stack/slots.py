"""Slots: named places, each with a session's interpreter, a generation and the platform's note.

Changes are compare-and-set on the generation. Beyond that the keeper is as dumb as a cluster: an accepted `up` starts
an interpreter also beside one that runs, and a replayed `make` makes again. Being exactly once is the platform's job.
An interpreter that crashes comes back on its port, as a container restarts in its pod.
"""

import asyncio
import contextlib
import pathlib
import re
import resource
import secrets
import signal
import socket
import time
from typing import Any

from chaosreprise.errors import NotPossible
from chaosreprise.procs import Incarnation
from chaosreprise.stack import protocol
from chaosreprise.stack.holds import Holder
from chaosreprise.stack.ledger import Ledger, Mark
from chaosreprise.stack.spawn import Child, Program, Reaper, end_children
from chaosreprise.stack.spec import SessionSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Slots:
    """All slots of a stack, from the first `make` of each on."""

    def __init__(self, spec: SessionSpec, folder: pathlib.Path, reaper: Reaper, ledger: Ledger) -> None:
        self._spec = spec
        self._reaper = reaper
        self._ledger = ledger
        self._workspaces = folder / "workspaces"
        self._log = (folder / "logs" / "sessions.log").open("ab", buffering=0)
        self._slots: dict[str, _Slot] = {}
        self._ended = False

    def views(self) -> list[protocol.Slot]:
        return [slot.view() for slot in self._slots.values() if slot.gen]

    def get(self, name: str) -> protocol.Slot | None:
        slot = self._slots.get(name)
        return slot.view() if slot is not None and slot.gen else None

    def holder(self, name: str) -> Holder | None:
        slot = self._slots.get(name)
        return slot.holder if slot is not None and slot.gen else None

    def holders(self) -> list[Holder]:
        return [slot.holder for slot in self._slots.values()]

    async def change(self, request: protocol.Change) -> protocol.Answer:
        """Do it if the generation is the expected one; changes of one slot go one after the other."""
        if self._ended:
            return protocol.Answer(ok=False, code="gone", say="the stack is ending")
        if not NAME.fullmatch(request.slot):
            return protocol.Answer(
                ok=False, code="bad-request", say=f"slot {request.slot!r}: expected up to 100 of A-Z a-z 0-9 . _ -"
            )
        slot = self._slots.get(request.slot) or self._add(request.slot)
        async with slot.lock:
            if refusal := _refusal(slot, request):
                return refusal
            try:
                await self._do(slot, request)
            except NotPossible as error:
                return protocol.Answer(ok=False, code="not-possible", say=str(error), slot=slot.view())
        return protocol.Answer(ok=True, slot=slot.view())

    def _add(self, name: str) -> "_Slot":
        slot = self._slots[name] = _Slot(name, self._workspaces / name)
        slot.holder = Holder(f"sessions/{name}", slot.runs, lambda: self._bring_back(slot))
        return slot

    def _bring_back(self, slot: "_Slot") -> None:
        """What died while it was kept down."""
        for interpreter in slot.interpreters:
            if interpreter.child is None and interpreter.retry is None and not interpreter.stopping:
                self._restart(interpreter)

    def end(self) -> list[Child]:
        """No restarts from now on; the children that still live."""
        self._ended = True
        interpreters = [interpreter for slot in self._slots.values() for interpreter in slot.interpreters]
        return [child for interpreter in interpreters if (child := interpreter.let_go()) is not None]

    async def _do(self, slot: "_Slot", request: protocol.Change) -> None:
        match request:
            case protocol.Make():
                slot.workspace.mkdir(mode=0o750, parents=True, exist_ok=True)
                if slot.state == "gone":
                    slot.token = secrets.token_hex(16)
                slot.limits = request.limits
                t = time.monotonic_ns()
                interpreter = self._start(slot)
                slot.accept("up", request.note)
                slot.spec = request.spec
                self._ledger.slot("made", slot.name, slot.gen, None, t, slot.spec)
                self._mark(interpreter, "up")
            case protocol.Up():
                if request.anew:
                    slot.workspace = self._workspaces / f"{slot.name}{protocol.ANEW}{slot.gen + 1}"
                    slot.workspace.mkdir(mode=0o750, exist_ok=True)
                interpreter = self._start(slot)
                slot.accept("up", request.note)
                self._mark(interpreter, "up")
            case protocol.Down():
                await self._stop(slot, request.note)
            case protocol.Gone():
                await self._stop(slot, request.note)
                slot.state = "gone"
                self._ledger.slot("gone", slot.name, slot.gen, None, time.monotonic_ns())

    async def _stop(self, slot: "_Slot", note: Any) -> None:
        """End all interpreters: one `down` each, or one without a process for a slot between crash and back."""
        children = [child for interpreter in slot.interpreters if (child := interpreter.let_go()) is not None]
        await end_children(children, signal.SIGTERM, self._spec.grace_s)
        slot.interpreters.clear()
        was_up = slot.state == "up"
        slot.accept("down", note)
        for child in children:
            self._ledger.slot("down", slot.name, slot.gen, child.inc, child.ended_at)
        if was_up and not children:
            self._ledger.slot("down", slot.name, slot.gen, None, time.monotonic_ns())

    def _start(self, slot: "_Slot") -> "_Interpreter":
        interpreter = _Interpreter(slot)
        try:
            self._spawn(interpreter)
        except NotPossible:
            interpreter.let_go()
            raise
        slot.interpreters.append(interpreter)
        return interpreter

    def _spawn(self, interpreter: "_Interpreter") -> None:
        slot = interpreter.slot
        env = {"HOME": str(slot.workspace), **self._spec.env}
        env |= {"REPRISE_SESSION_SLOT": slot.name, "REPRISE_SESSION_TOKEN": slot.token}
        program = Program(self._spec.command, env, slot.workspace, self._log, listen=interpreter.port)
        interpreter.child = self._reaper.spawn(program, lambda: self._died(interpreter))
        if memory := slot.limits.get("memory"):
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                resource.prlimit(interpreter.child.inc.pid, resource.RLIMIT_DATA, (memory, memory))

    def _died(self, interpreter: "_Interpreter") -> None:
        if interpreter.stopping:
            return
        self._mark(interpreter, "crash")
        interpreter.child = None
        if not interpreter.slot.holder.keeps_down:
            self._restart_later(interpreter)

    def _restart_later(self, interpreter: "_Interpreter") -> None:
        interpreter.retry = asyncio.get_running_loop().call_later(self._spec.backoff_s, self._restart, interpreter)

    def _restart(self, interpreter: "_Interpreter") -> None:
        interpreter.retry = None
        try:
            self._spawn(interpreter)
        except NotPossible as error:
            self._log.write(f"keeper: slot {interpreter.slot.name}: {error}\n".encode())
            self._restart_later(interpreter)
        else:
            self._mark(interpreter, "back")

    def _mark(self, interpreter: "_Interpreter", mark: Mark) -> None:
        child, slot = interpreter.child, interpreter.slot
        assert child is not None
        self._ledger.slot(mark, slot.name, slot.gen, child.inc, child.ended_at if mark == "crash" else child.started_at)


class _Interpreter:
    """One place for one process of a slot, over its crashes: its port stays."""

    def __init__(self, slot: "_Slot") -> None:
        self.slot = slot
        self._reserved = _reserve()
        self.port: int = self._reserved.getsockname()[1]
        self.child: Child | None = None
        self.retry: asyncio.TimerHandle | None = None
        self.stopping = False

    def let_go(self) -> Child | None:
        """Its end is no crash from now on; the child to end, if one runs."""
        self.stopping = True
        if self.retry is not None:
            self.retry.cancel()
        self._reserved.close()
        return self.child


class _Slot:
    def __init__(self, name: str, workspace: pathlib.Path) -> None:
        self.name = name
        self.workspace = workspace
        self.lock = asyncio.Lock()
        self.gen = 0
        self.state: protocol.SlotState = "gone"
        self.note: Any = None
        self.spec: Any = None
        self.limits: dict[str, int] = {}
        self.token = ""
        self.interpreters: list[_Interpreter] = []
        self.holder: Holder

    def runs(self, inc: Incarnation) -> bool:
        return any(one.child is not None and one.child.inc == inc for one in self.interpreters)

    def accept(self, state: protocol.SlotState, note: Any) -> None:
        self.gen, self.state, self.note = self.gen + 1, state, note

    def view(self) -> protocol.Slot:
        children = [interpreter.child for interpreter in self.interpreters if interpreter.child is not None]
        return protocol.Slot(
            slot=self.name,
            gen=self.gen,
            state=self.state,
            note=self.note,
            spec=self.spec,
            token=self.token,
            processes=[protocol.Process(child.inc, child.port or 0) for child in children],
            workspace=str(self.workspace),
            held_by=self.holder.fault,
            last_hold=self.holder.last,
        )


def _refusal(slot: _Slot, request: protocol.Change) -> protocol.Answer | None:
    view = slot.view() if slot.gen else None
    if request.gen != slot.gen:
        say = f"slot {slot.name} is of generation {slot.gen}, not {request.gen}"
        return protocol.Answer(ok=False, code="conflict", say=say, slot=view)
    if slot.state == "gone" and not isinstance(request, protocol.Make):
        return protocol.Answer(ok=False, code="gone", say=f"slot {slot.name} is gone: make it first", slot=view)
    return None


def _reserve() -> socket.socket:
    """A port of 127.0.0.1 that stays ours: bound, not listening, so who connects while no process runs is refused.

    Linux lets the interpreter's own socket listen there, since both say SO_REUSEADDR and this one never listens.
    """
    place = socket.socket()
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", 0))
    except OSError as error:
        place.close()
        raise NotPossible(f"no port of 127.0.0.1 for a session: {error}") from error
    return place
