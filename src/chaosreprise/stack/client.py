"""Talking to a keeper: `Keeper` blocks, `AsyncKeeper` is for asyncio. The same verbs; neither waits beyond its timeout.

A refused change raises Conflict (or SlotGone) with the slot as it is now: who compares and sets looks and decides.
"""

import asyncio
import itertools
import os
import pathlib
import socket
from typing import Any, Self, Unpack

import msgspec

from chaosreprise.errors import BadInput, NotPossible, RepriseError, Unreachable
from chaosreprise.procs import Incarnation, peer_uid
from chaosreprise.stack import protocol

TIMEOUT_S = 10.0


class Conflict(RepriseError):
    """The generation, incarnation or hold is not the expected one; `slot` or `component` is what there is now."""

    code = "conflict"

    def __init__(
        self, say: str, slot: protocol.Slot | None = None, component: protocol.Component | None = None
    ) -> None:
        super().__init__(say)
        self.slot = slot
        self.component = component


class SlotGone(Conflict):
    """The slot is gone (or was never made), or the stack is ending."""

    code = "gone"


class StackEnded(Unreachable):
    """Nobody listens at the keeper's address, or it closed the connection: addresses are not used twice, so it is dead."""


class Keeper:
    """A blocking client; one connection, one request at a time. Not for several threads."""

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(_path(address))
            _check_peer(self._socket, address)
        except OSError as error:
            self._socket.close()
            raise _unreachable(address, error) from error
        self._lines = self._socket.makefile("rb")

    @classmethod
    def of(cls, file: pathlib.Path, timeout_s: float = TIMEOUT_S) -> Self:
        """The keeper that wrote this keeper.json."""
        return cls(read_file(file).socket, timeout_s)

    def status(self) -> protocol.Answer:
        return self._ask(protocol.Status(id=next(self._ids)))

    def hold(self, component: str, inc: Incarnation, fault: str, **how: Unpack[protocol.How]) -> protocol.Answer:
        return self._ask(protocol.Hold(id=next(self._ids), component=component, inc=inc, fault=fault, **how))

    def release(self, component: str, fault: str) -> protocol.Answer:
        return self._ask(protocol.Release(id=next(self._ids), component=component, fault=fault))

    def get(self, slot: str) -> protocol.Slot | None:
        return self._ask(protocol.Get(id=next(self._ids), slot=slot)).slot

    def make(
        self, slot: str, gen: int, note: Any = None, spec: Any = None, limits: dict[str, int] | None = None
    ) -> protocol.Slot:
        how = protocol.Make(id=next(self._ids), slot=slot, gen=gen, note=note, spec=spec, limits=limits or {})
        return _slot(self._ask(how))

    def up(self, slot: str, gen: int, note: Any = None, anew: bool = False) -> protocol.Slot:
        return _slot(self._ask(protocol.Up(id=next(self._ids), slot=slot, gen=gen, note=note, anew=anew)))

    def down(self, slot: str, gen: int, note: Any = None) -> protocol.Slot:
        return _slot(self._ask(protocol.Down(id=next(self._ids), slot=slot, gen=gen, note=note)))

    def gone(self, slot: str, gen: int, note: Any = None) -> protocol.Slot:
        return _slot(self._ask(protocol.Gone(id=next(self._ids), slot=slot, gen=gen, note=note)))

    def end(self) -> None:
        """End the stack; returns when nothing of it is left."""
        self._ask(protocol.End(id=next(self._ids)))

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: protocol.Request) -> protocol.Answer:
        try:
            self._socket.sendall(msgspec.json.encode(request) + b"\n")
            line = self._lines.readline()
        except OSError as error:
            self.close()  # a late answer would be taken for the next one's
            raise _unreachable(self.address, error) from error
        return _checked(self.address, line)


class AsyncKeeper:
    """An asyncio client; any number of requests at once on one connection. Make it with `connect`."""

    def __init__(
        self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
    ) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))

    @classmethod
    async def connect(cls, address: str, timeout_s: float = TIMEOUT_S) -> Self:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(_path(address), limit=protocol.MAX_LINE * 16)
            _check_peer(writer.get_extra_info("socket"), address)
        except OSError as error:  # TimeoutError is one
            raise _unreachable(address, error) from error
        return cls(address, reader, writer, timeout_s)

    async def status(self) -> protocol.Answer:
        return await self._ask(protocol.Status(id=next(self._ids)))

    async def hold(self, component: str, inc: Incarnation, fault: str, **how: Unpack[protocol.How]) -> protocol.Answer:
        return await self._ask(protocol.Hold(id=next(self._ids), component=component, inc=inc, fault=fault, **how))

    async def release(self, component: str, fault: str) -> protocol.Answer:
        return await self._ask(protocol.Release(id=next(self._ids), component=component, fault=fault))

    async def get(self, slot: str) -> protocol.Slot | None:
        return (await self._ask(protocol.Get(id=next(self._ids), slot=slot))).slot

    async def make(
        self, slot: str, gen: int, note: Any = None, spec: Any = None, limits: dict[str, int] | None = None
    ) -> protocol.Slot:
        how = protocol.Make(id=next(self._ids), slot=slot, gen=gen, note=note, spec=spec, limits=limits or {})
        return _slot(await self._ask(how))

    async def up(self, slot: str, gen: int, note: Any = None, anew: bool = False) -> protocol.Slot:
        return _slot(await self._ask(protocol.Up(id=next(self._ids), slot=slot, gen=gen, note=note, anew=anew)))

    async def down(self, slot: str, gen: int, note: Any = None) -> protocol.Slot:
        return _slot(await self._ask(protocol.Down(id=next(self._ids), slot=slot, gen=gen, note=note)))

    async def gone(self, slot: str, gen: int, note: Any = None) -> protocol.Slot:
        return _slot(await self._ask(protocol.Gone(id=next(self._ids), slot=slot, gen=gen, note=note)))

    async def end(self) -> None:
        """End the stack; returns when nothing of it is left."""
        await self._ask(protocol.End(id=next(self._ids)))

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, request: protocol.Request) -> protocol.Answer:
        if self._reading.done():
            raise StackEnded(f"keeper {self.address}: the connection is closed: the stack has ended")
        waiting = self._waiting[request.id] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(msgspec.json.encode(request) + b"\n")
            async with asyncio.timeout(self._timeout_s):
                line = await waiting
        except OSError as error:  # TimeoutError is one
            raise _unreachable(self.address, error) from error
        finally:
            del self._waiting[request.id]
        return _checked(self.address, line)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Hand each answer to who waits for it; at the end of the connection everybody gets an empty line."""
        try:
            while line := await reader.readline():
                waiting = self._waiting.get(_ids.decode(line).id or 0)
                if waiting is not None and not waiting.done():
                    waiting.set_result(line)
        except OSError:
            pass
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(b"")


def read_file(file: pathlib.Path) -> protocol.KeeperFile:
    """What a keeper says about itself. Raises Unreachable when there is none."""
    try:
        with file.open("rb") as stream:
            said = stream.read(protocol.MAX_LINE)  # not all of it: a device has no end
        return msgspec.json.decode(said, type=protocol.KeeperFile)
    except (OSError, msgspec.DecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreachable(f"{file}: no keeper has written there ({reason}): is the stack still running?") from error


class _Id(msgspec.Struct):
    id: int | None = None


_ids = msgspec.json.Decoder(_Id)
_answers = msgspec.json.Decoder(protocol.Answer)


def _path(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address


def _check_peer(connection: socket.socket, address: str) -> None:
    if (uid := peer_uid(connection)) != os.getuid():
        connection.close()
        raise Unreachable(f"keeper {address}: the process behind it belongs to uid {uid}, not to you")


def _unreachable(address: str, error: OSError) -> Unreachable:
    if isinstance(error, ConnectionError):
        return StackEnded(f"keeper {address}: {error.strerror or error}: the stack has ended")
    why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return Unreachable(f"keeper {address}: {why}: is the stack still running?")


def _checked(address: str, line: bytes) -> protocol.Answer:
    if not line:
        raise StackEnded(f"keeper {address}: it closed the connection: the stack has ended")
    answer = _answers.decode(line)
    if answer.ok:
        return answer
    say = answer.say or f"keeper {address}: refused"
    match answer.code:
        case "conflict":
            raise Conflict(say, answer.slot, answer.component)
        case "gone":
            raise SlotGone(say, answer.slot, answer.component)
        case "bad-request":
            raise BadInput(say)
        case _:
            raise NotPossible(say)


def _slot(answer: protocol.Answer) -> protocol.Slot:
    assert answer.slot is not None
    return answer.slot
