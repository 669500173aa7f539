"""What the containers of a platform's components print, from the baseline on: a log is gone with its pod, so who asks later asks in vain."""

import asyncio
import contextlib
import threading
from typing import NamedTuple

from chaosreprise.errors import RepriseError
from chaosreprise.kubernetes import deployments
from chaosreprise.kubernetes.api import Api, Right
from chaosreprise.kubernetes.where import Where

RIGHTS = (Right("list", "apps", "deployments"), Right("list", "", "pods"), Right("get", "", "pods/log"))
LOOK_EVERY_S = 0.5
BEFORE = "50"  # lines from before, of a container that runs already


class Container(NamedTuple):
    """One life of a container: one that is started again in its pod is another one."""

    component: str
    pod: str
    name: str
    id: str

    def __str__(self) -> str:
        return f"{self.component.replace('/', '-')}.{self.pod}.{self.name}.{self.id.rpartition('/')[2][:8]}.log"


class PodLogs:
    """Follows in a thread of its own until `end`. `selectors`: of the Deployment of each component; `kept`: bytes of each log.

    `lacking` says why there are none.
    """

    def __init__(self, where: Where, selectors: dict[str, str], kept: int) -> None:
        self._where, self._selectors, self._kept = where, selectors, kept
        self._texts: dict[Container, bytearray] = {}
        self._last: dict[Container, str] = {}
        self._running: set[Container] = set()
        self._over = threading.Event()
        self.lacking: str | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def end(self) -> dict[str, bytes]:
        """The ends of all logs, by names for files."""
        self._over.set()
        self._thread.join()
        return {str(one): bytes(text) for one, text in sorted(self._texts.items()) if text}

    async def _run(self) -> None:
        try:
            async with await Api.to(self._where) as api, asyncio.TaskGroup() as tasks:
                if lacking := await api.refused(RIGHTS):
                    self.lacking = (
                        f"the account may not {', '.join(map(str, lacking))} in the namespace {self._where.namespace}"
                    )
                    return
                following = []
                while not self._over.is_set():
                    for component, selector in self._selectors.items():
                        await self._look(api, component, selector)
                    for one in self._running - self._texts.keys():
                        self._texts[one] = bytearray()
                        following.append(tasks.create_task(self._follow(api, one)))
                    await asyncio.sleep(LOOK_EVERY_S)
                for task in following:
                    task.cancel()
        except* RepriseError as errors:
            self.lacking = str(errors.exceptions[0])

    async def _look(self, api: Api, component: str, selector: str) -> None:
        """Which of its containers run now; as before where that can't be seen: away for a while, or nothing is selected."""
        with contextlib.suppress(RepriseError):
            pods = await deployments.pods(api, await deployments.selected(api, selector))
            self._running = {one for one in self._running if one.component != component} | {
                Container(component, pod["metadata"]["name"], one["name"], one["containerID"])
                for pod in pods
                for one in pod["status"].get("containerStatuses") or []
                if "running" in one["state"]
            }

    async def _follow(self, api: Api, one: Container) -> None:
        """Until it runs no more. What breaks off is taken up at its last line: asked for by the second, told by the line's own time."""
        asked = {"container": one.name, "follow": "true", "timestamps": "true"}
        path = f"{deployments.pods_path(api, one.pod)}/log"
        while one in self._running:
            last = self._last.get(one)
            with contextlib.suppress(RepriseError):
                async for line in api.lines(path, **asked, **({"sinceTime": last} if last else {"tailLines": BEFORE})):
                    self._take(one, line)
            await asyncio.sleep(LOOK_EVERY_S)

    def _take(self, one: Container, line: str) -> None:
        at = line.partition(" ")[0]
        if at > self._last.get(one, ""):
            self._last[one] = at
            text = self._texts[one]
            text += line.encode() + b"\n"
            if len(text) > 2 * self._kept:
                del text[: -self._kept]
