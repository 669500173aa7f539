"""Take an agent away: its process is killed and its keeper holds it down, until it is brought back.

Proven when the process is gone and each connection that it held is established at neither end in the kernel's tables;
whether the platform notices is a result of the run, not the proof. Whole again when another incarnation is up and
connected to where the old one was. Only local agents under a keeper: nobody else could hold them down.
"""

import asyncio
import signal
import time
from typing import Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults.base import Context, Target
from chaosreprise.procs import ESTABLISHED, LISTEN, Incarnation, connections, connections_of, is_alive, send_signal
from chaosreprise.stack import protocol
from chaosreprise.stack.client import AsyncKeeper, Conflict

PROVE_S = 2.0
BACK_S = 15.0
UNHARMED_S = 0.5  # a kill that was sent has surely been felt by then
LOOK_EVERY_S = 0.002
MAPPED = "0000000000000000FFFF0000"  # an IPv4 address in /proc/net/tcp6


class _Agent(msgspec.Struct):
    """The process to kill, its connections as (local, remote), and where it had connected to."""

    component: str
    inc: Incarnation
    connections: list[tuple[str, str]]
    homes: list[str]


class TakeAway:
    undo_s = BACK_S + 5

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        if args:
            raise NotPossible(f"agents.take_away takes no arguments, not {', '.join(args)}: name the agent in `on`")
        async with await _keeper(context) as keeper:
            component = await _component(keeper, on)
        if component.held_by is not None or component.state != "up" or component.inc is None:
            raise NotPossible(
                f"{on} is {component.state}, held by {component.held_by or 'nobody'}: only an agent that is up can be taken away"
            )
        agent = _look(on, component.inc)
        if not agent.homes:
            raise NotPossible(f"{on} (pid {agent.inc.pid}) has no connection to anywhere: its loss could not be proven")
        target: Target = msgspec.to_builtins(agent)
        return target

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        agent = msgspec.convert(target, _Agent)
        async with await _keeper(context) as keeper:
            try:
                await keeper.hold(agent.component, agent.inc, mark, context.owners, lease_end)
            except Conflict as error:
                raise NotPossible(f"{error}: it changed after it was planned, so nothing was done") from error
        if not send_signal(agent.inc, signal.SIGKILL):
            raise NotPossible(f"{agent.component} (pid {agent.inc.pid}) died by itself just before it was taken away")

    async def prove(self, context: Context, target: Target) -> dict[str, Any]:  # noqa: ARG002 - the kernel is asked, nobody else
        agent = msgspec.convert(target, _Agent)
        deadline = time.monotonic() + PROVE_S
        while (alive := is_alive(agent.inc)) or (still := _established(agent)):
            if time.monotonic() > deadline:
                what = "its process still runs" if alive else f"its connection {still[0]} is still established"
                raise NotProven(f"{agent.component} (pid {agent.inc.pid}) was killed, but {what} {PROVE_S:g} s later")
            await asyncio.sleep(LOOK_EVERY_S)
        return {"process": "gone", "pid": agent.inc.pid, "connections_closed": len(agent.connections)}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        agent = msgspec.convert(target, _Agent)
        async with await _keeper(context) as keeper:
            ended = (await keeper.release(agent.component, mark)).last_hold
            await _until_back(keeper, agent)
        if ended is None or ended.fault != mark or ended.by == "release":
            return None
        return "lease" if ended.by == "lease" else "keeper"

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        agent = msgspec.convert(target, _Agent)
        async with await _keeper(context) as keeper:
            component = await _component(keeper, agent.component)
        if component.held_by == mark or component.inc is None or not is_alive(component.inc):
            raise Unreachable(
                f"{agent.component} is {component.state}, held by {component.held_by or 'nobody'}: it is not whole again"
            )


FAULT = TakeAway()


async def _keeper(context: Context) -> AsyncKeeper:
    if context.keeper is None:
        raise NotPossible("this platform has no keeper: nobody could hold an agent down")
    return await AsyncKeeper.connect(context.keeper)


async def _component(keeper: AsyncKeeper, name: str) -> protocol.Component:
    components = (await keeper.status()).components
    for component in components:
        if component.name == name:
            return component
    raise NotPossible(
        f"{name!r} is no component of this stack: expected one of {', '.join(c.name for c in components)}"
    )


def _look(name: str, inc: Incarnation) -> _Agent:
    held = connections_of(inc.pid)
    served = {port for c in held if c.state == LISTEN for port in [c.local.rpartition(":")[2]]}
    established = [(_plain(c.local), _plain(c.remote)) for c in held if c.state == ESTABLISHED]
    homes = sorted({remote for local, remote in established if local.rpartition(":")[2] not in served})
    return _Agent(name, inc, established, homes)


def _established(agent: _Agent) -> list[str]:
    """Its former connections that are established at either end, for people."""
    mine = {*agent.connections, *((remote, local) for local, remote in agent.connections)}
    found = [(_plain(c.local), _plain(c.remote)) for c in connections() if c.state == ESTABLISHED]
    return [f"{_readable(local)} -> {_readable(remote)}" for local, remote in found if (local, remote) in mine]


async def _until_back(keeper: AsyncKeeper, agent: _Agent) -> None:
    """An incarnation is up and connected to a place where the old one was: another one, or the old one if nobody killed it."""
    unharmed_after = time.monotonic() + UNHARMED_S
    try:
        async with asyncio.timeout(BACK_S):
            while True:
                inc = (await _component(keeper, agent.component)).inc
                candidate = inc is not None and (inc != agent.inc or time.monotonic() > unharmed_after)
                if inc is not None and candidate and set(_look(agent.component, inc).homes) & set(agent.homes):
                    return
                await asyncio.sleep(LOOK_EVERY_S * 5)
    except TimeoutError:
        places = ", ".join(map(_readable, agent.homes))
        raise Unreachable(
            f"{agent.component} was started again but has no connection to {places} after {BACK_S:g} s"
        ) from None


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
