"""What faults on local processes share: the component as its keeper sees it, its connections, when it is whole again.

Whole means for an agent: connected to a place where its former life was, or, where it is called itself, up; for a session: its port accepts; for a
database: it lets clients in (PostgreSQL refuses them with 57P03 while it recovers); for the rest: its keeper calls it up.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec

from chaosreprise.errors import BadInput, NotPossible, NotProven, Unreachable
from chaosreprise.faults import greeting
from chaosreprise.faults.base import Arguments, Context, Target
from chaosreprise.procs import (
    ESTABLISHED,
    LISTEN,
    Incarnation,
    connections,
    connections_of,
    family,
    is_alive,
    is_stopped,
    send_signal,
)
from chaosreprise.settings import convert
from chaosreprise.stack import protocol
from chaosreprise.stack.client import AsyncKeeper, Conflict, StackEnded
from chaosreprise.stack.mends import AnyMend

GROUPS = ("agents", "sessions", "control-plane", "data-plane", "database")
NEEDS = 'local processes under a keeper (components.GROUP with how = "process")'
SESSIONS = "sessions/"
BACK_S = 15.0
AGAIN_S = 0.1
WHOLE_S = 2.0  # longer than the end of a process that is asked nicely takes
GONE_S = 2.0
UNHARMED_S = 0.5  # a signal that was sent has surely been felt by then
LOOK_EVERY_S = 0.002
MAPPED = "0000000000000000FFFF0000"  # an IPv4 address in /proc/net/tcp6


class Part(msgspec.Struct, kw_only=True):
    """A component as its keeper sees it now."""

    name: str
    inc: Incarnation | None
    up: bool
    state: str
    held_by: str | None
    last_hold: protocol.LastHold | None
    port: int | None
    homes: list[int] = []
    spares_orphans: bool = False
    within: str = ""


class Process(msgspec.Struct, kw_only=True):
    """What was planned: a process with its descendants, its connections as (local, remote), the places it had connected
    to, and the ports that it served. `spares_orphans`: when it dies they live on, as long as they like. `within`: the component
    whose descendant it is, if no keeper runs it: whether that starts another one is the platform's business.
    """

    component: str
    inc: Incarnation
    connections: list[tuple[str, str]]
    homes: list[str]
    ports: list[int]
    family: list[Incarnation]
    spares_orphans: bool = False
    within: str = ""


class OnProcess:
    """The base of faults on a local process. As it stands: what is broken ends, and is whole when it is back."""

    groups: tuple[str, ...] = GROUPS
    needs = NEEDS
    way_back = "its supervisor starts it again"
    proof = "it is gone with all that it had started, and each of its connections is established at neither end in the kernel's tables"
    momentary = False
    undo_s = BACK_S + 5
    survives = False
    """Whether the process lives through it."""
    arguments: type[Arguments] = Arguments

    def asks(self, group: str) -> tuple[str, ...]:
        return ()

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        if args and not self.arguments.__struct_fields__:
            raise BadInput(f"{', '.join(args)}: this fault takes no arguments: leave them out")
        given = convert("fault", args, self.arguments)
        process = await plan(context, on)
        return target(process) | target(given) | await self.more(process, given)

    async def more(self, process: Process, given: Any) -> Target:
        """What else belongs to the target; changes nothing. Raises NotPossible or NotAllowed."""
        return {}

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        return await prove_gone(msgspec.convert(target, Process))

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        process = msgspec.convert(target, Process)
        async with keeper(context) as connected:
            if process.within:
                return None
            ended = (await connected.release(process.component, mark)).last_hold
            await until_back(connected, process, 0.0 if self.survives else UNHARMED_S)
        return by_whom(mark, ended)

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        process = msgspec.convert(target, Process)
        async with keeper(context) as connected:
            if not process.within:
                await check_whole(connected, mark, process)


@contextlib.asynccontextmanager
async def keeper(context: Context) -> AsyncIterator[AsyncKeeper]:
    if context.keeper is None:
        raise NotPossible("this platform has no keeper: its processes can't be broken from here")
    async with await AsyncKeeper.connect(context.keeper) as connected:
        yield connected


@contextlib.asynccontextmanager
async def keeper_if_any(context: Context) -> AsyncIterator[AsyncKeeper | None]:
    """The platform's keeper, where it has one. Raises StackEnded when that is dead, and with it what it ran."""
    if context.keeper is None:
        yield None
        return
    async with keeper(context) as connected:
        yield connected


async def patiently(
    connected: AsyncKeeper | None, ask: Callable[..., Awaitable[Any]], *given: Any, for_s: float = BACK_S
) -> Any:
    """A server may just be coming back: one that is away is asked again for `for_s`, as long as its stack is there.

    Raises StackEnded at once when what is asked for, or that, is gone with everything that it ran.
    """
    until = time.monotonic() + for_s
    while True:
        try:
            return await ask(*given)
        except StackEnded:
            raise
        except Unreachable:
            if time.monotonic() > until:
                raise
        if connected is not None:
            await connected.status()
        await asyncio.sleep(AGAIN_S)


async def part(keeper: AsyncKeeper, name: str) -> Part:
    """Raises NotPossible when there is no such component."""
    if name.startswith(SESSIONS):
        return await _session(keeper, name)
    components = (await keeper.status()).components
    for one in components:
        if one.name == name:
            return Part(
                name=name,
                inc=one.inc,
                up=one.state == "up",
                state=one.state,
                held_by=one.held_by,
                last_hold=one.last_hold,
                port=one.listen,
                homes=one.homes,
                spares_orphans=one.spares_orphans,
            )
    expected = ", ".join([*(one.name for one in components), f"{SESSIONS}NAME"])
    raise NotPossible(f"{name!r} is no component of this stack: expected one of {expected}")


async def plan(context: Context, on: str) -> Process:
    """The one process of a component that is up and free of faults.

    An agent whose link is broken may have no connection yet if it is to be hit when it has one again.
    """
    async with keeper(context) as connected:
        found = await _interpreter(connected, context, on) or await part(connected, on)
    if found.held_by is not None or not found.up or found.inc is None:
        raise NotPossible(
            f"{on} is {found.state}, held by {found.held_by or 'nobody'}: only what is up and free can be broken"
        )
    process = look(on, found.inc)
    process.spares_orphans, process.within = found.spares_orphans, found.within
    if on.startswith("agents/") and not process.homes and not process.ports and not context.later:
        raise NotPossible(f"{on} (pid {found.inc.pid}) has no connection to anywhere: its loss could not be proven")
    return process


async def hold(
    context: Context,
    mark: str,
    process: Process,
    lease_end: int,
    *,
    down: bool,
    mends: Sequence[AnyMend] = (),
    env: dict[str, str] | None = None,
    left: list[str] | None = None,
) -> None:
    """The keeper knows of the fault from here on. Raises NotPossible when the component changed after it was planned."""
    async with keeper(context) as connected:
        try:
            await connected.hold(
                process.component,
                process.inc,
                mark,
                owners=context.owners,
                lease_end=lease_end,
                down=down,
                mends=list(mends),
                env=env or {},
                left=left or [],
            )
        except Conflict as error:
            raise NotPossible(f"{error}: it changed after it was planned, so nothing was done") from error


def strike(process: Process, number: signal.Signals) -> None:
    """Signal exactly the planned process. Raises NotPossible when it is gone."""
    if not send_signal(process.inc, number):
        raise NotPossible(f"{process.component} (pid {process.inc.pid}) died by itself just before {number.name}")


def look(name: str, inc: Incarnation) -> Process:
    held = connections_of(inc.pid)
    served = {port for c in held if c.state == LISTEN for port in [c.local.rpartition(":")[2]]}
    established = [(_plain(c.local), _plain(c.remote)) for c in held if c.state == ESTABLISHED]
    homes = sorted({remote for local, remote in established if local.rpartition(":")[2] not in served})
    ports = sorted(int(port, 16) for port in served)
    return Process(component=name, inc=inc, connections=established, homes=homes, ports=ports, family=family(inc))


def target(process: msgspec.Struct) -> Target:
    found: Target = msgspec.to_builtins(process)
    return found


def still_established(process: Process) -> list[str]:
    """Its former connections that are established at either end, for people."""
    mine = {*process.connections, *((remote, local) for local, remote in process.connections)}
    found = [(_plain(c.local), _plain(c.remote)) for c in connections() if c.state == ESTABLISHED]
    return [f"{_readable(local)} -> {_readable(remote)}" for local, remote in found if (local, remote) in mine]


async def prove_gone(process: Process, within_s: float = GONE_S) -> dict[str, Any]:
    """Wait until a process, all that it had started unless that is spared, and its connections are gone. Raises NotProven."""
    deadline = time.monotonic() + within_s
    mourned = [process.inc] if process.spares_orphans else process.family
    while left := [inc for inc in mourned if is_alive(inc)] or still_established(process):
        if time.monotonic() > deadline:
            first = left[0]
            what = (
                f"connection {first} is still established"
                if isinstance(first, str)
                else f"process {first.pid} still runs"
            )
            raise NotProven(f"{process.component} (pid {process.inc.pid}): its {what} {within_s:g} s later")
        await asyncio.sleep(LOOK_EVERY_S)
    return {"process": "gone", "pid": process.inc.pid, "connections_closed": len(process.connections)}


def by_whom(mark: str, last: protocol.LastHold | None) -> str | None:
    """Who had ended the hold of this fault already."""
    if last is None or last.fault != mark or last.by == "release":
        return None
    return "lease" if last.by == "lease" else "keeper"


async def until_back(connected: AsyncKeeper, process: Process, unharmed_s: float = UNHARMED_S) -> None:
    """Another incarnation is whole, or after `unharmed_s` the old one, to which nothing happened. Raises Unreachable."""
    unharmed_after = time.monotonic() + unharmed_s
    lacks: str | None = "it was not started again"
    found: Part | None = None
    try:
        async with asyncio.timeout(BACK_S):
            while True:
                found = await part(connected, process.component)
                if found.inc != process.inc or time.monotonic() > unharmed_after:
                    lacks = await lacks_of(found, process)
                    if lacks is None:
                        return
                await asyncio.sleep(LOOK_EVERY_S * 5)
    except TimeoutError:
        raise Unreachable(f"{process.component}: {lacks} after {BACK_S:g} s{_taken(found, process)}") from None


async def check_whole(connected: AsyncKeeper, mark: str, process: Process) -> None:
    """Raises Unreachable when it carries our mark, is stopped or does not live, and stays so: the platform ends sessions too."""
    patient_until = time.monotonic() + WHOLE_S
    while not _is_whole(found := await part(connected, process.component), mark):
        if time.monotonic() > patient_until:
            raise Unreachable(
                f"{found.name} is {found.state}, held by {found.held_by or 'nobody'}: it is not whole again"
            )
        await asyncio.sleep(LOOK_EVERY_S * 5)


def _is_whole(found: Part, mark: str) -> bool:
    alive = found.inc is not None and is_alive(found.inc) and not is_stopped(found.inc)
    return found.held_by != mark and (alive or _ended(found))


async def _interpreter(keeper: AsyncKeeper, context: Context, on: str) -> Part | None:
    """A session that is a process below another component, where the platform file says so. Raises NotPossible."""
    if context.platform_file is None or not on.startswith(SESSIONS):
        return None
    from chaosreprise.platform import interpreters  # noqa: PLC0415 - most faults need no platform file
    from chaosreprise.platform.file import load  # noqa: PLC0415

    platform = load(context.platform_file)
    if not interpreters.are_meant(platform):
        return None
    hosts = {one.name: one for one in (await keeper.status()).components}
    for one in interpreters.of(platform, {name: host.inc for name, host in hosts.items()}):
        if on == f"{SESSIONS}{one.session}":
            spares = hosts[one.host].spares_orphans
            return Part(
                name=on,
                inc=one.inc,
                up=True,
                state="up",
                held_by=None,
                last_hold=None,
                port=None,
                spares_orphans=spares,
                within=one.host,
            )
    raise NotPossible(f"{on}: its steps name no process that lives below an agent or the data plane of this stack")


async def _session(keeper: AsyncKeeper, name: str) -> Part:
    slot = await keeper.get(name.removeprefix(SESSIONS))
    if slot is None:
        raise NotPossible(f"{name}: no session of this name was ever made on this stack")
    process = slot.processes[-1] if slot.processes else None
    return Part(
        name=name,
        inc=process.inc if process else None,
        up=slot.state == "up" and process is not None,
        state=slot.state,
        held_by=slot.held_by,
        last_hold=slot.last_hold,
        port=process.port if process else None,
    )


def _ended(found: Part) -> bool:
    """A session that the platform has hibernated or stopped meanwhile has nothing that could come back."""
    return found.name.startswith(SESSIONS) and found.state != "up"


async def lacks_of(found: Part, process: Process) -> str | None:
    """What this life still lacks to be whole."""
    if _ended(found):
        return None
    if found.inc is None or not found.up or not is_alive(found.inc):  # the keeper may not have reaped it yet
        return f"it is {found.state}"
    calls = found.name.startswith("agents/") and (found.homes or process.homes or not process.ports)
    if calls and not _is_home(look(found.name, found.inc).homes, found, process):
        homes = [f"port {port}" for port in found.homes] or [_readable(home) for home in process.homes] or ["anywhere"]
        return f"it was started again but has no connection to {' or '.join(homes)}"
    for port in process.ports if found.name == "database" else []:
        if not await _lets_in(port):
            return f"port {port} lets no client in yet"
    return None


def _is_home(remotes: list[str], found: Part, process: Process) -> bool:
    """Whether it is connected where it says that it belongs, else to where its former life was, if it was anywhere."""
    if found.homes:
        return any(int(remote.rpartition(":")[2], 16) in found.homes for remote in remotes)
    return bool(set(remotes) & set(process.homes) if process.homes else remotes)


def _taken(found: Part | None, process: Process) -> str:
    """Whether somebody else listens where this component did, so that it can't start."""
    if found is None or found.inc is not None:
        return ""
    listening = {int(one.local.rpartition(":")[2], 16) for one in connections() if one.state == LISTEN}
    taken = [port for port in process.ports if port in listening]
    return f", since another process has taken its port {taken[0]}: end that one" if taken else ""


async def _lets_in(port: int) -> bool:
    """Whether PostgreSQL is through with its recovery: anything else that it says is an answer of a database that serves."""
    return await greeting.greet("127.0.0.1", port, UNHARMED_S) not in (None, greeting.RECOVERING)


def _plain(address: str) -> str:
    return address.removeprefix(MAPPED)


def _readable(address: str) -> str:
    """A word of /proc/net/tcp as people write it; IPv6 stays as it is."""
    host, _, port = address.partition(":")
    return (
        f"{'.'.join(str(byte) for byte in reversed(bytes.fromhex(host)))}:{int(port, 16)}"
        if len(host) == 8
        else address
    )
