"""The ledgers of a sandbox's sessions that are pods, read by a shell in each: they are gone with their pods.

So whatever a step wrote between our last look and the end of its pod is not known, a gap of that session that never ends. A session
whose pod was never read is such a gap from the beginning. The ledgers of all folders of a pod are read: a step that ran in the pod
of another session than its own left its mark there. Who may not `exec` has no ledger at all.
"""

import asyncio
import contextlib
import secrets
import shlex
from collections.abc import Callable, Collection
from typing import Any

from chaosreprise.clock import Clock
from chaosreprise.errors import RepriseError
from chaosreprise.history import Coverage
from chaosreprise.kubernetes import deployments, executing
from chaosreprise.kubernetes.api import Api, Missing, Right
from chaosreprise.kubernetes.watching import ObjectSource
from chaosreprise.kubernetes.where import Where
from chaosreprise.observe import Emit, Source, sample
from chaosreprise.observe.files import Parse, emit_lines
from chaosreprise.platform.file import Platform
from chaosreprise.platform.ledgers import LEDGER_FILE, workspaces_parser
from chaosreprise.platform.said import Said
from chaosreprise.platform.sandbox_ready import Readiness
from chaosreprise.platform.streamspace_pods import LEDGER, Processes

ROOT = "/workspace"
CONTAINER = "session"
RIGHTS = (Right("list", "", "pods"), Right("watch", "", "pods"), *executing.RIGHTS)
GONE = "its pod has ended, and its ledger with it"
NEVER = "no pod of it was there to be read"
WEAKER = (
    "nobody knows what ran, or how often, and no fault can strike amid steps; "
    "by what steps print only state-loss and isolation are judged"
)
Pod = dict[str, Any]
Ours = Callable[[], Collection[str] | None]


def sources(platform: Platform, name: str, run: str, ours: Ours) -> list[Source]:
    """`ours`: the sessions that the run has made, as far as that is written down."""
    where, hz = platform.cluster, platform.file.evidence[name].hz
    assert where is not None
    selector, label = platform.session_objects
    pods = f"/api/v1/namespaces/{where.namespace}/pods"
    return [
        Ledgers(name, hz, where, (selector, label), ours, workspaces_parser(run)),
        ObjectSource(LEDGER, hz, where, pods, selector, Processes(label).told),
        Readiness(hz, where, selector, label),
    ]


async def rights(platform: Platform, name: str) -> list[Said]:
    """Whether we may watch pods and read in them."""
    where = platform.cluster
    assert where is not None
    async with await Api.to(where) as api:
        lacking = await api.refused(RIGHTS)
    if not lacking:
        return [Said(about="evidence", name=name, say=f"may watch pods in {where.namespace}, and read in them by exec")]
    say = f"may not {' and '.join(map(str, lacking))} in the namespace {where.namespace}: no ledger of a step is seen, so {WEAKER}"
    return [Said(about="evidence", name=name, state="not ok", say=say, do="give the account a role with these verbs")]


class Ledgers:
    """A source of evidence."""

    def __init__(self, name: str, hz: float, where: Where, selected: tuple[str, str], ours: Ours, parse: Parse) -> None:
        self.name = name
        self._hz, self._where, self._ours, self._parse = hz, where, ours, parse
        self._selector, self._label = selected
        self._tails: dict[str, Tail] = {}
        self._read: set[str] = set()
        self._blind: set[str] = set()
        self._lost: set[str] = set()

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async with contextlib.AsyncExitStack() as exits:
            api = await exits.enter_async_context(await Api.to(self._where))
            began = clock.now()

            async def look(since: int, last: bool) -> None:
                del last
                ours = self._ours() or ()  # before what is there: whoever is made meanwhile has its pod by then
                found = (await api.get(deployments.pods_path(api), labelSelector=self._selector))["items"]
                pods = {one["metadata"]["uid"]: one for one in found}
                for uid in self._tails.keys() | {uid for uid, pod in pods.items() if _runs(pod)}:
                    if uid not in self._tails:
                        session = pods[uid]["metadata"]["labels"][self._label]
                        self._tails[uid] = Tail(api, pods[uid]["metadata"]["name"], session, since)
                await asyncio.gather(*(self._look_at(tail, clock, emit) for tail in self._tails.values()))
                for uid in [uid for uid in self._tails if uid not in pods or not _runs(pods[uid])]:
                    tail = self._tails.pop(uid)
                    self._lost.add(tail.session)
                    self._off(tail.session, tail.since, clock, emit, GONE)
                    await tail.close()
                there = {one["metadata"]["labels"][self._label] for one in found}
                for session in {*ours} - there - self._read:
                    self._off(session, began, clock, emit, NEVER)

            try:
                await sample(self.name, self._hz, clock, emit, stop, look)
            finally:
                for tail in self._tails.values():
                    await tail.close()

    async def _look_at(self, tail: "Tail", clock: Clock, emit: Emit) -> None:
        began, of = clock.now(), f"{self.name}/{tail.session}"
        try:
            lines, gap = await tail.read()
        except RepriseError as error:
            await tail.close()
            self._off(tail.session, tail.since, clock, emit, GONE if await tail.ends() else str(error))
            return
        emit_lines(of, lines, tail.since, clock.now(), self._parse, emit)
        if gap:
            self._off(tail.session, tail.since, clock, emit, gap)
        if tail.session in self._blind - self._lost:
            self._blind.discard(tail.session)
            emit(Coverage(lo=began, hi=clock.now(), of=of, on=True, why="watching again"))
        tail.since = began
        self._read.add(tail.session)

    def _off(self, session: str, since: int, clock: Clock, emit: Emit, why: str) -> None:
        if session not in self._blind:
            self._blind.add(session)
            emit(Coverage(lo=since, hi=clock.now(), of=f"{self.name}/{session}", on=False, why=why))


class Tail:
    """What is new in the ledgers of one pod, by a shell that is opened when it is needed. `since`: when the last good look began."""

    def __init__(self, api: Api, pod: str, session: str, since: int) -> None:
        self.session, self.since = session, since
        self._api, self._pod, self._mark = api, pod, f"ledger-{secrets.token_hex(8)}"
        self._exits = contextlib.AsyncExitStack()
        self._shell: executing.Shell | None = None
        self._seen: dict[str, tuple[str, int]] = {}  # by file its inode, and how many bytes of it were read

    async def read(self) -> tuple[list[bytes], str | None]:
        """The lines that are new, and the reason for a gap since the last look. Raises a RepriseError."""
        if self._shell is None:
            self._shell = await self._exits.enter_async_context(executing.shell(self._api, self._pod, CONTAINER))
        lines: list[bytes] = []
        there, gap = set(), None
        for part in (await self._shell.ask(self._command())).split(f"\n{self._mark} ".encode())[1:]:
            head, _, data = part.partition(b"\n")
            inode, size, file = head.decode(errors="replace").split(" ", 2)
            known, offset = self._seen.get(file, (inode, 0))
            there.add(file)
            if known != inode or int(size) < offset:
                gap, self._seen[file] = f"{file} was replaced or cut short", (inode, int(size))
                continue
            whole = data.rfind(b"\n") + 1
            lines += data[:whole].splitlines()
            self._seen[file] = inode, offset + whole
        for file in self._seen.keys() - there:
            gap = f"{file} vanished"
            del self._seen[file]
        return lines, gap

    def _command(self) -> str:
        known = "".join(f"{shlex.quote(file)}) n={read + 1};; " for file, (_, read) in self._seen.items())
        say = f'printf \'\\n{self._mark} %s %s\\n\' "$(stat -c \'%i %s\' "$f")" "$f"; tail -c +$n "$f"'
        return f'for f in {ROOT}/*/{LEDGER_FILE}; do [ -f "$f" ] || continue; case "$f" in {known}*) n=1;; esac; {say}; done'

    async def ends(self) -> bool:
        """Whether its pod is gone, or was told to go."""
        try:
            found = await self._api.get(deployments.pods_path(self._api, self._pod))
        except Missing:
            return True
        except RepriseError:
            return False
        return "deletionTimestamp" in found["metadata"]

    async def close(self) -> None:
        """It can be opened again."""
        self._shell = None
        with contextlib.suppress(Exception):  # what it led to has gone, or is going
            await self._exits.aclose()


def _runs(pod: Pod) -> bool:
    return any("running" in one.get("state", {}) for one in pod["status"].get("containerStatuses") or [])
