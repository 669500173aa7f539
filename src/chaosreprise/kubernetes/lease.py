"""A Lease (coordination.k8s.io) as a lock: one run at a time on a namespace, wherever the runs are.

Its holder renews it. Whoever wants it meanwhile looks for as long as it lasts, by its own clock and no stamp of anybody's: one
that is renewed is refused, one that is not is taken over, if it still is the object that was seen (resourceVersion).
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from chaosreprise.errors import NotAllowed, RepriseError
from chaosreprise.kubernetes.api import Api, Conflict, Missing, Right
from chaosreprise.kubernetes.where import Where

NAME, GROUP = "reprise", "coordination.k8s.io"
RIGHTS = [Right(verb, GROUP, "leases") for verb in ("create", "get", "patch")]
LASTS_S = 15
RENEWED_S = 4.0
LOOK_EVERY_S = 0.5


class Held(NamedTuple):
    """The lease as we wrote it last; `at`: when we began to, by the monotonic clock."""

    revision: str
    at: float


@contextlib.contextmanager
def held(where: Where, who: str, lost: Callable[[str], object]) -> Iterator[None]:
    """Hold it. Raises NotAllowed when somebody else has it; `lost` is called, by a thread, when it has gone to another or can't be renewed."""
    first = asyncio.run(_taken(where, who))
    renewer = _Renewer(where, who, first, lost)
    renewer.start()
    try:
        yield
    finally:
        renewer.end()


class _Renewer(threading.Thread):
    def __init__(self, where: Where, who: str, first: Held, lost: Callable[[str], object]) -> None:
        super().__init__(name="lease", daemon=True)
        self._where, self._who, self._held, self._lost = where, who, first, lost
        self._over = threading.Event()

    def run(self) -> None:
        try:
            asyncio.run(self._keep())
        except RepriseError as error:
            self._lost(str(error))

    def end(self) -> None:
        self._over.set()
        self.join()

    async def _keep(self) -> None:
        async with await Api.to(self._where) as api:
            if await self._renewed_until_over(api):
                with contextlib.suppress(RepriseError):  # then it is taken over once it has ended
                    await _write(api, self._held.revision, "")

    async def _renewed_until_over(self, api: Api) -> bool:
        """False when it was lost."""
        while not await asyncio.to_thread(self._over.wait, RENEWED_S):
            try:
                self._held = await _write(api, self._held.revision, self._who)
            except (Conflict, Missing):
                return self._told(f"the Lease {NAME} in {self._where.namespace} was taken over by another run")
            except RepriseError as error:
                if time.monotonic() - self._held.at > LASTS_S - RENEWED_S:
                    return self._told(f"the Lease {NAME} in {self._where.namespace} can't be renewed: {error}")
        return True

    def _told(self, why: str) -> bool:
        self._lost(why)
        return False


async def _taken(where: Where, who: str) -> Held:
    async with await Api.to(where) as api:
        seen, since = None, time.monotonic()
        while True:
            found = await _there(api)
            holder = found and found["spec"].get("holderIdentity")
            revision = found["metadata"]["resourceVersion"] if found else None
            if holder and seen not in (None, revision):
                raise NotAllowed(
                    f"the namespace {where.namespace} is being tested by {holder}, which holds its Lease {NAME}: wait for the end of that run"
                )
            if not holder or time.monotonic() - since > found["spec"].get("leaseDurationSeconds", LASTS_S):
                with contextlib.suppress(Conflict):  # somebody was faster
                    return await _write(api, revision, who)
                continue
            seen = revision
            await asyncio.sleep(LOOK_EVERY_S)


async def _there(api: Api) -> Any:
    try:
        return await api.get(_path(api, NAME))
    except Missing:
        return None


async def _write(api: Api, revision: str | None, who: str) -> Held:
    """Of the object with this resourceVersion; None: of none. Raises Conflict when it is another one by now."""
    at, now = time.monotonic(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    spec = {"holderIdentity": who, "leaseDurationSeconds": LASTS_S, "renewTime": now}
    if revision is None:
        made = await api.post(_path(api), {"metadata": {"name": NAME}, "spec": spec})
    else:
        made = await api.patch(_path(api, NAME), {"metadata": {"resourceVersion": revision}, "spec": spec})
    return Held(made["metadata"]["resourceVersion"], at)


def _path(api: Api, name: str = "") -> str:
    return f"/apis/{GROUP}/v1/namespaces/{api.where.namespace}/leases{name and '/'}{name}"
