"""`python -m chaosreprise.stack.keeper DIR [--owner-fd N]`: the only parent of a stack's processes.

It starts, restarts and reaps them, and its end is theirs: asked (SIGTERM, `end`, end of file on the owner's pipe) it
stops everything and removes DIR; killed, the kernel kills its children. It knows neither the lab nor faults: it only
holds what it is told to hold. One thread, so that Python code is safe between fork and exec.
"""

import argparse
import asyncio
import os
import pathlib
import secrets
import signal
import socket
import sys

import msgspec

from chaosreprise.errors import BadInput
from chaosreprise.procs import Incarnation, myself, peer_uid
from chaosreprise.stack import protocol, spec
from chaosreprise.stack.components import Component, start_in_order
from chaosreprise.stack.holds import Holder
from chaosreprise.stack.ledger import Ledger
from chaosreprise.stack.slots import Slots
from chaosreprise.stack.spawn import Reaper, end_children, take_listen_fd

GRACE_S = 2.0
HOLDS_EVERY_S = 0.25
SESSIONS = "sessions/"
MAX_UNREAD = 8 << 20  # bytes of answers that a client may leave unread before it is dropped


class Keeper:
    """The state of a stack, and the answers to requests about it."""

    def __init__(self, folder: pathlib.Path, stack: spec.StackSpec) -> None:
        for name in ("logs", "workspaces"):
            (folder / name).mkdir(mode=0o750, exist_ok=True)
        self._folder = folder
        self._stack = stack
        self._reaper = Reaper(spares_orphans=stack.spares_orphans)
        ledger = Ledger(folder)
        self._components = {c.name: Component(c, folder, self._reaper, ledger) for c in stack.components}
        for component in self._components.values():
            if component.spec.within:
                component.join(self._components[component.spec.within])
        self._slots = Slots(stack.session, folder, self._reaper, ledger)
        self._links = {name: Holder(name, self._runs, lambda: None) for name in stack.links}
        self._ready = False
        self.ending = asyncio.Event()
        self.ended = asyncio.Event()

    async def run(self, owner_fd: int | None) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reaper.reap)
        loop.add_signal_handler(signal.SIGTERM, self.ending.set)
        if owner_fd is not None:
            loop.add_reader(owner_fd, self._owner_spoke, owner_fd)
        listener, address = _listen()
        async with asyncio.TaskGroup() as tasks:
            server = await asyncio.start_unix_server(
                lambda r, w: self._serve(tasks, r, w), sock=listener, limit=protocol.MAX_LINE
            )
            work = [
                tasks.create_task(self._watch_holds()),
                tasks.create_task(self._bring_up(address)),
            ]
            await self.ending.wait()
            for task in work:
                task.cancel()
            await self._end()
            server.close()

    async def _bring_up(self, address: str) -> None:
        self._publish(address)
        await start_in_order(list(self._components.values()))
        self._ready = True
        self._publish(address)

    def _publish(self, address: str) -> None:
        content = protocol.KeeperFile(os.getpid(), myself(), address, self._ready)
        new = self._folder / f"{protocol.KEEPER_FILE}.new"
        new.write_bytes(msgspec.json.encode(content))
        new.replace(self._folder / protocol.KEEPER_FILE)

    def _owner_spoke(self, fd: int) -> None:
        if not os.read(fd, 4096):
            asyncio.get_running_loop().remove_reader(fd)
            self.ending.set()

    async def _end(self) -> None:
        """Stop everything, then remove the stack's directory: afterwards nothing of it is left."""
        (self._folder / protocol.KEEPER_FILE).unlink(missing_ok=True)
        sessions = self._slots.end()
        components = [child for component in self._components.values() if (child := component.stop()) is not None]
        # SIGCONT, since a component that is paused would not hear that it has just been asked to end
        await asyncio.gather(
            end_children(sessions, signal.SIGKILL, 0), end_children(components, signal.SIGCONT, GRACE_S)
        )
        while self._reaper.orphans(at_the_end=True):
            await asyncio.sleep(0.005)
        import shutil  # noqa: PLC0415 - 2 MB that every fork would copy

        shutil.rmtree(self._folder, ignore_errors=True)
        self.ended.set()

    async def _serve(
        self, tasks: asyncio.TaskGroup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One client; its requests run beside each other, so that a slow one holds up none."""
        try:
            if peer_uid(writer.get_extra_info("socket")) == os.getuid():
                while line := await reader.readline():
                    tasks.create_task(self._answer(line, writer))
        except (OSError, ValueError, asyncio.CancelledError):  # gone; a line longer than MAX_LINE; the end of the stack
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        number: int | None = None
        try:
            request = _requests.decode(line)
            number = request.id
            answer = await self._do(request)
        except msgspec.DecodeError as error:
            answer = protocol.Answer(
                ok=False, code="bad-request", say=f"{line[:200].decode(errors='replace').strip()}: {error}"
            )
        answer.id = number
        if writer.transport.get_write_buffer_size() > MAX_UNREAD:
            writer.transport.abort()
        elif not writer.is_closing():
            writer.write(msgspec.json.encode(answer) + b"\n")

    async def _do(self, request: protocol.AnyRequest) -> protocol.Answer:
        match request:
            case protocol.Status():
                components = [component.view() for component in self._components.values()]
                links = [_link(holder) for holder in self._links.values()]
                return protocol.Answer(
                    ok=True,
                    stack=self._stack.id,
                    ready=self._ready,
                    components=components,
                    slots=self._slots.views(),
                    links=links,
                )
            case protocol.Get():
                return protocol.Answer(ok=True, slot=self._slots.get(request.slot))
            case protocol.End():
                self.ending.set()
                await self.ended.wait()
                return protocol.Answer(ok=True)
            case protocol.Hold() | protocol.Release():
                return self._hold_or_release(request)
            case _:
                return await self._slots.change(request)

    def _hold_or_release(self, request: protocol.Hold | protocol.Release) -> protocol.Answer:
        """The answer tells of the component or slot as it is then."""
        name = request.component
        holder = self._holder(name)
        if holder is None:
            known = ", ".join([*self._components, *self._links])
            say = f"{name!r} is no component of this stack: expected one of {known}, {SESSIONS}NAME"
            return protocol.Answer(ok=False, code="bad-request", say=say)
        if self.ending.is_set():
            return protocol.Answer(ok=False, code="gone", say="the stack is ending")
        refusal: str | None = None
        if isinstance(request, protocol.Hold) and request.env and name not in self._components:
            say = f"{name}: a slot's interpreters have one environment: env goes with a component only"
            return protocol.Answer(ok=False, code="bad-request", say=say)
        if isinstance(request, protocol.Hold):
            refusal = holder.hold(request)
            if refusal is None and not request.down and name in self._components:
                self._components[name].start()  # this fault may have kept it down so far
        else:
            holder.release(request.fault)
        answer = protocol.Answer(ok=refusal is None, code="conflict" if refusal else None, say=refusal)
        if name in self._components:
            answer.component = self._components[name].view()
        elif name in self._links:
            answer.link = _link(holder)
        else:
            answer.slot = self._slots.get(name.removeprefix(SESSIONS))
        return answer

    def _holder(self, name: str) -> Holder | None:
        if name in self._components:
            return self._components[name].holder
        if name in self._links:
            return self._links[name]
        return self._slots.holder(name.removeprefix(SESSIONS)) if name.startswith(SESSIONS) else None

    async def _watch_holds(self) -> None:
        while True:
            await asyncio.sleep(HOLDS_EVERY_S)
            components = [component.holder for component in self._components.values()]
            for holder in [*components, *self._slots.holders(), *self._links.values()]:
                holder.check()

    def _runs(self, inc: Incarnation) -> bool:
        return any(component.view().inc == inc for component in self._components.values())


def _link(holder: Holder) -> protocol.Link:
    return protocol.Link(name=holder.name, held_by=holder.fault, last_hold=holder.last)


_requests = msgspec.json.Decoder(protocol.AnyRequest)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaosreprise.stack.keeper")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--owner-fd", type=int, help="a pipe; at its end of file the stack ends")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGHUP):  # a handler, since what is ignored stays ignored in the children
        signal.signal(number, lambda *_: None)
    folder = arguments.folder.absolute()
    try:
        stack = spec.load(folder)
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return 2
    owner_fd = take_listen_fd(arguments.owner_fd)
    if owner_fd is not None:
        os.set_inheritable(owner_fd, False)
    asyncio.run(_run(folder, stack, owner_fd))
    return 0


async def _run(folder: pathlib.Path, stack: spec.StackSpec, owner_fd: int | None) -> None:
    await Keeper(folder, stack).run(owner_fd)


def _listen() -> tuple[socket.socket, str]:
    name = f"reprise-{secrets.token_hex(8)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{name}")
    listener.listen(128)
    return listener, f"@{name}"


if __name__ == "__main__":
    sys.exit(main())
