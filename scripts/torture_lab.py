"""The lab that a torture keeps: what may be broken in it, and what is not as it was when it was new."""

import asyncio
import contextlib
import fnmatch
import http.client
import json
import os
import pathlib
import re
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg

from chaosreprise.errors import NotPossible, RepriseError, Unreachable
from chaosreprise.faults import registry
from chaosreprise.faults.base import Context
from chaosreprise.links.client import Toxiproxy
from chaosreprise.platform import adapter
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.file import load
from chaosreprise.platform.links import OfFile, Place, of
from chaosreprise.procs import Incarnation, incarnation
from chaosreprise.stack import protocol, starter
from chaosreprise.stack.client import Keeper, read_file

SESSIONS = "sessions/"
PROBE = "probe"
SESSION_S = 10.0
HTTP_S = 5.0
AGAIN_S = 0.05
LIKE_THE_HARD_ONE = re.compile(r"(Max data size +)(\S+) +\2 .*")
CONDITIONS = ("limits", "cgroup", "processors")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "crash_loop": {"every_s": 0.05},
    "cpu_hog": {"hogs": 1},
    "flap": {"down_s": 0.05, "up_s": 0.05},
    "lock_table": {"table": "agent_commands"},
    "slow_statements": {"delay_s": 0.02},
}
BUSY_LINKS = [
    "links/database",
    "links/agents/a1",
    "links/agents/a2",
    "links/agents/a3",
]  # by which something passes without a load
NEVER_BITE = ("agents.memory_limit", "sessions.memory_limit")
LEFT_ON_DATABASE = """
    select 'session ' || application_name from pg_stat_activity where application_name like 'reprise %'
    union all select 'setting ' || name || ' = ' || setting from pg_file_settings where name ~ 'reprise|read_only'"""
Condition = dict[str, str | None]


class Look:
    """All processes at one moment: whose child each is, and its state; the dead ones are there as long as nobody has reaped them."""

    def __init__(self) -> None:
        self.states: dict[int, str] = {}
        self.children: dict[int, list[int]] = {}
        for name in os.listdir("/proc"):  # noqa: PTH208 - 200 paths that nobody needs, fifty times a second
            if name.isdigit():
                with contextlib.suppress(OSError):
                    fields = pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split(maxsplit=2)
                    self.states[int(name)] = fields[0]
                    self.children.setdefault(int(fields[1]), []).append(int(name))

    def below(self, pid: int) -> list[int]:
        """Its living descendants."""
        found = []
        waiting = [pid]
        while waiting:
            children = self.children.get(waiting.pop(), [])
            found += [child for child in children if self.states[child] not in "ZX"]
            waiting += children
        return found

    def reap(self, but: int) -> None:
        """Children of ours that were somebody else's, and have ended."""
        for pid in self.children.get(os.getpid(), []):
            if self.states[pid] == "Z" and pid != but:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


class Lab:
    """A stack with short timers, which ends with this process."""

    def __init__(self, stack: starter.Stack | None = None) -> None:
        self.stack = stack or _start()
        self.platform = load(str(self.stack.platform_file))
        self._token = self._login()
        found = self.status().components
        self.names = [component.name for component in found] + BUSY_LINKS
        self._healthy = {
            component.name: _condition(component.inc.pid) for component in found if component.inc is not None
        }

    def status(self) -> protocol.Answer:
        with Keeper(self.stack.address) as keeper:
            return keeper.status()

    def process_of(self, on: str) -> Incarnation | None:
        status = self.status()
        if on.startswith(SESSIONS):
            slots = [slot for slot in status.slots if slot.slot == on.removeprefix(SESSIONS)]
            return next((process.inc for slot in slots for process in slot.processes), None)
        return next((component.inc for component in status.components if component.name == on), None)

    def new_session(self, run: str) -> str:
        """A session with the tag of this run; its name as a component, once it runs."""
        return f"{SESSIONS}{asyncio.run(self._new_session(run))}"

    def possible(self, only: list[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
        """The components that each kind of fault can hit here, and why some kinds can't be made here. For a session: `sessions/`."""
        possible, refused = {}, {}
        session, file = self.new_session(PROBE), str(self.stack.platform_file)
        context = Context(self.stack.address, [], OfFile(file), file)
        for kind in (kind for kind in registry.kinds() if any(fnmatch.fnmatch(kind, pattern) for pattern in only)):
            on = [name for name in [*self.names, session] if _can_hit(kind, name)]
            try:
                if not on:
                    raise NotPossible("this lab has no such part")
                if kind in NEVER_BITE:
                    raise NotPossible("what has nothing to do takes no more memory")
                asyncio.run(registry.get(kind).plan(context, on[0], arguments(kind)))
            except RepriseError as error:
                refused[kind] = str(error)
            else:
                possible[kind] = [SESSIONS] if on == [session] else on
        self.tidy(PROBE)
        return possible, refused

    async def _new_session(self, run: str) -> str:
        platform = adapter.make(self.platform, run)
        await platform.open()
        try:
            deadline = time.monotonic() + SESSION_S
            user, key = self.platform.file.budget.users[0], platform.keys(1)[0]
            start = Operation(cmd="c1", op="start", key=key, user=user)
            while (answer := await platform.perform(start)).rule == "no-agents" and time.monotonic() < deadline:
                await asyncio.sleep(AGAIN_S)  # agents whose beats a fault held up are not back yet
        finally:
            await platform.close()
        while answer.session is None or self.process_of(f"{SESSIONS}{answer.session}") is None:
            if answer.session is None or time.monotonic() > deadline:
                raise Unreachable(f"the lab makes no session any more: {answer}")
            await asyncio.sleep(0.01)
        return answer.session

    def tidy(self, run: str) -> list[str]:
        """Stop the sessions of this run; why that can't be done."""
        try:
            asyncio.run(adapter.make(self.platform, run).tidy())
        except RepriseError as error:
            return [str(error)]
        return []

    def wrong(self) -> list[str]:
        """What is not whole: down, held, stopped, limited, unknown to its platform."""
        try:
            status = self.status()
        except RepriseError as error:
            return [f"the keeper: {error}"]
        held = {one.name: one.held_by for one in [*status.components, *status.links]} | {
            f"{SESSIONS}{one.slot}": one.held_by for one in status.slots
        }
        wrong = [f"{name} is held by {by}" for name, by in held.items() if by is not None]
        wrong += [f"{one.name} is {one.state}" for one in status.components if one.state != "up"]
        wrong += [
            f"session {one.slot} has no process" for one in status.slots if one.state == "up" and not one.processes
        ]
        return wrong or [*self._changed(status), *self._offline(), *self._on_database(), *self._on_links()]

    def members(self) -> list[Incarnation]:
        """The keeper and everything below it."""
        pids = [self.stack.keeper.pid, *Look().below(self.stack.keeper.pid)]
        return [inc for pid in pids if (inc := incarnation(pid)) is not None]

    def _changed(self, status: protocol.Answer) -> Iterator[str]:
        look = Look()
        for pid in look.below(self.stack.keeper.pid):
            if look.states[pid] == "T":
                yield f"stopped: {shown(pid)}"
        for component in status.components:
            assert component.inc is not None
            for pid in [component.inc.pid, *look.below(component.inc.pid)]:
                yield from _otherwise(component.name, pid, self._healthy[component.name])
        for slot in status.slots:
            for process in slot.processes:
                healthy = self._healthy.setdefault(SESSIONS, _condition(process.inc.pid))
                yield from _otherwise(f"{SESSIONS}{slot.slot}", process.inc.pid, healthy)

    def _offline(self) -> list[str]:
        """What the platform says of its agents, for which its control plane must reach its database."""
        try:
            agents = self._http("GET", "/api/v1/admin/agents")["agents"]
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            return [f"the control plane: {error!r}"]
        return [
            f"{one['agentId']} is {one['status']}, says the platform" for one in agents if one["status"] != "online"
        ]

    def _on_links(self) -> Iterator[str]:
        """What faults on links leave."""
        for link in of(self.platform).values():
            for place in {*link.toxics, *link.fronts}:
                yield from (f"{link.name}: {left}" for left in _left_at(place))

    def _on_database(self) -> list[str]:
        """What faults by SQL leave: sessions that bear a mark, and settings."""
        admin = self.platform.admin
        assert admin is not None
        try:
            with psycopg.connect(admin.read(self.platform.folder), connect_timeout=int(HTTP_S)) as connection:
                return [str(one) for [one] in connection.execute(LEFT_ON_DATABASE)]
        except psycopg.Error as error:
            return [f"the database: {error}"]

    def _login(self) -> str:
        control = self.platform.file.control
        assert control is not None
        user = {"username": control.user, "password": control.password.read(self.platform.folder)}
        return str(self._http("POST", "/api/v1/auth/login", user)["token"])

    def _http(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        control = self.platform.file.control
        assert control is not None
        connection = http.client.HTTPConnection(urlsplit(control.url).netloc, timeout=HTTP_S)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {self._token}"} if body is None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer: dict[str, Any] = json.load(connection.getresponse())
            return answer


def _start() -> starter.Stack:
    """Made by a process that has ended, as by `chaos reprise lab up`, so that `heal` may sweep it; its pipe is ours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            try:
                made = starter.start(agents=3, users=12, heartbeat_s=0.2, reconcile_s=0.1, owned=True)
                assert made.owner_write_fd is not None
                socket.send_fds(theirs, [os.fsencode(made.dir)], [made.owner_write_fd])
            except RepriseError as error:
                theirs.send(f"!{error}".encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        theirs.close()
        said, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    if not fds:
        raise NotPossible(f"no lab: {said.decode()[1:] or 'its start was interrupted'}")
    folder = pathlib.Path(os.fsdecode(said))
    return starter.Stack(folder, read_file(folder / protocol.KEEPER_FILE), fds[0])


def _left_at(place: Place) -> list[str]:
    try:
        proxy = Toxiproxy(place.admin, place.token()).get_proxy(place.proxy)
        if proxy is None:
            return ["its proxy is not there"]
        return [*proxy.toxics(), *([] if proxy.enabled else ["its proxy is disabled"])]
    except RepriseError as error:
        return [str(error)]


def _can_hit(kind: str, name: str) -> bool:
    """The component `links` is no link, WebSockets are those of agents, and these say too little for a link that is narrow."""
    if kind.startswith("links.") and not name.startswith("links/agents/" if ".ws_" in kind else "links/"):
        return False
    return registry.group_of(name) == kind.partition(".")[0] and (kind != "links.bandwidth" or name == "links/database")


def arguments(kind: str) -> dict[str, Any]:
    """Those with which a fault costs least time."""
    return ARGUMENTS.get(kind.partition(".")[2], {})


def shown(pid: int) -> str:
    with contextlib.suppress(OSError):
        line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"pid {pid}: {line.strip()[:100]}"
    return f"pid {pid}"


def _otherwise(name: str, pid: int, healthy: Condition) -> Iterator[str]:
    now = _condition(pid)
    for what in CONDITIONS:
        if now[what] not in (healthy[what], None):
            yield f"{name}: pid {pid} has other {what}: {now[what]} instead of {healthy[what]}"


def _condition(pid: int) -> Condition:
    """None for what a process does not tell any more. Each session has its own limit of data, which faults lower below the hard one."""
    found: Condition = {name: _text(pid, name) for name in ("limits", "cgroup")}
    found["limits"] = found["limits"] and LIKE_THE_HARD_ONE.sub(r"\1", found["limits"])
    return found | {"processors": ", ".join(sorted({str(sorted(cpus)) for cpus in _processors(pid)})) or None}


def _processors(pid: int) -> Iterator[set[int]]:
    """Where each of its threads may run."""
    with contextlib.suppress(OSError):
        for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
            yield os.sched_getaffinity(int(thread.name))


def _text(pid: int, name: str) -> str | None:
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_text() or None
    except OSError:
        return None
