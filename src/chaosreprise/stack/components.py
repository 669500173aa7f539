"""The components of a stack: started in order, restarted when they die, held down while a fault says so.

What a hold is, and how it ends: `holds`.
"""

import asyncio
import contextlib
import pathlib
import signal
from collections.abc import Awaitable
from urllib.parse import urlsplit

from chaosreprise.errors import NotPossible
from chaosreprise.stack import protocol
from chaosreprise.stack.holds import Holder
from chaosreprise.stack.ledger import Ledger
from chaosreprise.stack.spawn import Child, Program, Reaper
from chaosreprise.stack.spec import ComponentSpec, Ready

READY_EVERY_S = 0.02
READY_TRY_S = 2.0


class Component:
    """One component; `ready` is set when it was ready for the first time."""

    def __init__(self, spec: ComponentSpec, folder: pathlib.Path, reaper: Reaper, ledger: Ledger) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self._reaper = reaper
        self._ledger = ledger
        self._log = (folder / "logs" / f"{spec.name.replace('/', '-')}.log").open("ab", buffering=0)
        where = pathlib.Path(spec.folder or folder)
        self._program = Program(spec.command, spec.env, where, self._log, spec.listen, spec.userns)
        self._child: Child | None = None
        self._answers = False
        self._watch: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._starts = 0
        self._ended = False
        self._changed = False  # whether what runs was started with something of a fault's in its environment
        self._left: list[str] = []
        self._host: Component | None = None
        self.holder = Holder(spec.name, lambda inc: self._child is not None and self._child.inc == inc, self._freed)

    def join(self, host: "Component") -> None:
        """Run in the namespaces of that one from now on."""
        self._host = host

    def view(self) -> protocol.Component:
        if self._child is not None:
            state: protocol.ComponentState = "up" if self._answers else "starting"
        elif self.holder.keeps_down:
            state = "held"
        else:
            state = "backoff" if self._starts else "starting"
        return protocol.Component(
            name=self.spec.name,
            state=state,
            inc=None if self._child is None else self._child.inc,
            held_by=self.holder.fault,
            restarts=max(0, self._starts - 1),
            listen=self.spec.listen,
            last_hold=self.holder.last,
            homes=self.spec.homes,
            spares_orphans=self._reaper.spares_orphans,
        )

    def start(self) -> None:
        """Start it unless it runs; on failure again after the back-off."""
        self._cancel_retry()
        if self._child is not None or self._ended:
            return
        if self._reaper.orphans():  # PostgreSQL must not start beside the last backend of its former life
            self._retry = asyncio.get_running_loop().call_later(READY_EVERY_S, self.start)
            return
        self._starts += 1
        env = self.holder.env
        try:
            given = self._program.env | {name: secret.read() for name, secret in self.spec.secrets.items()}
            self._child = self._reaper.spawn(self._program._replace(env=given | env, within=self._within()), self._died)
        except NotPossible as error:
            self._log.write(f"keeper: {self.spec.name}: {error}\n".encode())
            self._restart_later()
            return
        self._changed, self._left = bool(env), self.holder.left
        self._ledger.component(
            "back" if self._starts > 1 else "up", self.spec.name, self._child.inc, self._child.started_at
        )
        self._watch = asyncio.get_running_loop().create_task(self._until_ready())

    def _within(self) -> int | None:
        if self._host is None:
            return None
        if self._host._child is None:
            raise NotPossible(
                f"{self.spec.name} can't be started: {self._host.spec.name}, in which it lives, does not run"
            )
        return self._host._child.inc.pid

    def stop(self) -> Child | None:
        """Ask it to end, for good; the child that still lives."""
        self._ended = True
        self._cancel_retry()
        if self._child is not None:
            self._child.signal(signal.Signals[f"SIG{self.spec.stop_signal}"])
        return self._child

    def _freed(self) -> None:
        """A hold has ended."""
        if self._child is not None and self._changed:
            self._child.signal(signal.SIGKILL)
        self.start()

    def _tidy(self, child: Child) -> None:
        for path in self._left:
            with contextlib.suppress(OSError):
                pathlib.Path(path.format(pid=child.inc.pid)).unlink()

    def _died(self) -> None:
        assert self._child is not None
        self._tidy(self._child)
        self._ledger.component(
            "down" if self._ended else "crash", self.spec.name, self._child.inc, self._child.ended_at
        )
        self._child = None
        self._answers = False
        if self._watch is not None:
            self._watch.cancel()
        if not self.holder.keeps_down:
            self._restart_later()

    def _restart_later(self) -> None:
        if not self._ended:
            self._retry = asyncio.get_running_loop().call_later(self.spec.backoff_s, self.start)

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    async def _until_ready(self) -> None:
        while self.spec.ready is not None and not await answers(self.spec.ready):
            await asyncio.sleep(READY_EVERY_S)
        if self._child is not None:
            self._tidy(self._child)
        self._answers = True
        self.ready.set()


async def start_in_order(components: list[Component]) -> None:
    """Start each as soon as those that it names in `after` are ready; returns when all are."""
    by_name = {component.spec.name: component for component in components}

    async def start(component: Component) -> None:
        for name in component.spec.after:
            await by_name[name].ready.wait()
        component.start()
        await component.ready.wait()

    await asyncio.gather(*map(start, components))


async def answers(ready: Ready) -> bool:
    """Whether a connection is accepted (tcp), or a GET answered with 200 (http), by anybody."""
    tries = [_get(url) for url in ready.urls] or [_connect(ready.tcp)]
    return any(await asyncio.gather(*map(_in_time, tries)))


async def _in_time(work: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(READY_TRY_S):
            return await work
    except (OSError, TimeoutError):
        return False


async def _connect(port: int | None) -> bool:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return True


async def _get(url: str) -> bool:
    """Whether a GET is answered with 200: the keeper is too small for an HTTP library."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        writer.write(f"GET {target} HTTP/1.0\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        with contextlib.suppress(ValueError, IndexError):
            return int((await reader.readline()).split()[1]) == 200
        return False
    finally:
        writer.close()
