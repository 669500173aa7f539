"""A sandbox: a control plane, a data plane and a session agent that run code in the interpreters of sessions, over HTTP.

Creates and steps go to the control plane, terminations to the data plane, since the former has none. There is no key for
either but what a step carries in its own code (`steps`): its effects stand in the ledger of its session's workspace. Nothing
lists sessions; they and their steps are known from rows, and what was made is written down (`made`). Ids of sessions have a
resolution of one second, so creates are spaced: one is sent so long after the answer to the one before.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from chaosreprise import handshakes
from chaosreprise.errors import BadInput, NotPossible, Unreachable
from chaosreprise.history import Answer
from chaosreprise.history.events import Attribution
from chaosreprise.observe import FolderSource, Source
from chaosreprise.platform import calls, figures, keepers, links, proxies, sandbox_left, sandbox_pods, sandbox_refused
from chaosreprise.platform.adapter import SECONDS, Component, Description, Held, Operation
from chaosreprise.platform.file import KUBERNETES, SESSIONS, STDOUT, Platform
from chaosreprise.platform.ledgers import LEDGER_FILE, workspaces_parser
from chaosreprise.platform.made import Made
from chaosreprise.platform.said import Examination, Said
from chaosreprise.platform.sandbox_answers import GONE, REFUSALS, judged
from chaosreprise.platform.sandbox_health import HEALTH, HealthSource
from chaosreprise.platform.sandbox_told import Told, weaker
from chaosreprise.platform.steps import step_code
from chaosreprise.platform.streamspace_pods import LEDGER as PODS

TIMEOUT_S = 45.0  # longer than the data plane tries: 10 s an attempt, three of them, and pauses between
AGENTS = "agents/"
WAYS = {
    "start": ["control-plane", "data-plane", "database"],
    "step": ["control-plane", "data-plane", "database"],
    "stop": ["data-plane"],
}


def adapter(platform: Platform, run: str) -> "Sandbox":
    return Sandbox(platform, run)


class Sandbox:
    def __init__(self, platform: Platform, run: str) -> None:
        assert platform.file.sandbox is not None
        assert platform.file.timing is not None
        self._platform, self._run = platform, run
        self._at, self._timing = platform.file.sandbox, platform.file.timing
        token = self._at.token.read(platform.folder) if self._at.token else None
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
            event_hooks=handshakes.HOOKS,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            trust_env=False,
            verify=any(url.startswith("https:") for url in (self._at.control_plane, self._at.data_plane)),
        )
        self._creating = asyncio.Lock()
        self._made = Made(platform.id, run)
        self._lives: str | None = None  # a session of ours

    @property
    def _agent(self) -> str:
        """There is one, by the name that the platform file gives it."""
        named = [name.removeprefix(AGENTS) for name in self._platform.file.components if name.startswith(AGENTS)]
        return named[0] if named else "agent"

    def describe(self) -> Description:
        evidence, bounds = self._platform.file.evidence, self._timing.bounds
        ledgers = [name for name, entry in evidence.items() if entry.kind in ("files", KUBERNETES, STDOUT)]
        return Description(
            attribution=[Attribution(op="step", ledger=name, level="keyed", mark="e") for name in ledgers],
            refusals=REFUSALS,
            promises={"memory": True} | self._platform.file.promises.stated(),  # that its loss is said
            bounds={"step": int(bounds.step_s * SECONDS)},
            offline_ns=int(self._timing.offline_s * SECONDS),
            sources=[*evidence, HEALTH],
            processes=PODS if any(entry.kind == KUBERNETES for entry in evidence.values()) else "",
            links=list(links.of(self._platform)),
            ways=WAYS,
            hibernates=False,
            spaces_starts=True,
            vague=["step"],
            records=["start", "step"],
            effects="workspaces",
        )

    async def open(self) -> None:
        """Raises Unreachable or BadInput, by the health of the control plane, which asks for a token where steps do."""
        try:
            answer = await self._http.get(f"{self._at.control_plane.rstrip('/')}/healthz")
        except httpx.TransportError as error:
            raise Unreachable(
                f"{self._at.control_plane}: the control plane does not answer ({error}): is the platform up?"
            ) from error
        if answer.status_code == 401:
            raise BadInput(f"{self._at.control_plane}: a token is asked for: check sandbox.token")
        if answer.status_code != 200:
            raise BadInput(f"{self._at.control_plane}: /healthz says {answer.status_code}: check sandbox.control_plane")

    async def close(self) -> None:
        await self._http.aclose()

    def keys(self, count: int) -> list[str]:
        """No create can carry one."""
        return [f"{self._run}.create.{number}" for number in range(count)]

    async def perform(self, operation: Operation) -> Answer:
        if operation.op != "start" or operation.at_once:
            return await self._perform(operation)
        async with self._creating:  # its id has a resolution of a second
            answer = await self._perform(operation)
            await asyncio.sleep(self._at.create_every_s)
        return answer

    async def _perform(self, operation: Operation) -> Answer:
        url, body = self._request(operation)
        if operation.op == "start":
            self._made.asked()
        if isinstance(operation, sandbox_refused.Lacking):
            said, answer = await sandbox_refused.attempt(self._http, operation, self._platform, url, body)
        else:
            said, answer = await calls.attempt(self._http, operation, "POST", url, json=body)
        if answer is not None:
            judged(operation, answer.status_code, answer.content, said)
        self._note(operation, said)
        return said

    def _note(self, operation: Operation, said: Answer) -> None:
        if operation.op == "start" and (said.session is not None or said.outcome == "fail"):
            self._made.answered(said.session)
            self._lives = said.session or self._lives
        elif operation.op == "stop" and operation.session and said.outcome == "ok":
            self._made.ended(operation.session)

    def examinations(self) -> dict[str, Examination]:
        """For `said.Examines`."""
        of_kinds: dict[str, Any] = {KUBERNETES: partial(sandbox_pods.rights, self._platform), STDOUT: weaker}
        entries = self._platform.file.evidence.items()
        rights = {f"evidence {name}": partial(of, name) for name, entry in entries if (of := of_kinds.get(entry.kind))}
        doors = partial(sandbox_refused.doors, self._platform, self._http)
        return {"login": self._login, sandbox_refused.AUTHENTICATION: doors, **rights}

    async def _login(self) -> list[Said]:
        await self.open()
        return [Said(about="login", say="the control plane lets us in")]

    def impossible(self) -> dict[str, Operation]:
        """For `said.Refuses`."""
        return sandbox_refused.impossible(self._at, self._run, self._lives)

    async def hold(self, session: str) -> Held | None:  # noqa: ARG002 - there is no stream
        return None

    def sources(self) -> list[Source]:
        from chaosreprise.platform.sandbox_rows import source  # noqa: PLC0415 - only the recorder needs psycopg

        found: list[Source] = [HealthSource(self._at, self._agent)]
        for name, evidence in self._platform.file.evidence.items():
            if evidence.kind == KUBERNETES:
                found += sandbox_pods.sources(self._platform, name, self._run, self._made.sessions)
            elif evidence.kind == "files":
                path = self._platform.folder / (evidence.path or "")
                found.append(FolderSource(name, path, LEDGER_FILE, evidence.hz, workspaces_parser(self._run)))
            elif evidence.kind == STDOUT:
                found.append(Told(name, evidence.hz, self._http, self._platform, self._made, self._run))
            elif evidence.kind in figures.KINDS:
                found.append(figures.source(self._platform, name))
            else:
                found.append(source(name, evidence, self._platform.folder, self._agent, self._made.sessions))
        return found

    def frames(self) -> list[Source]:
        return []

    def components(self) -> list[Component]:
        return keepers.components(self._platform) + proxies.components(self._platform)

    def identity(self) -> dict[str, str]:
        return {"host": httpx.URL(self._at.control_plane).host} | keepers.identity(self._platform)

    async def foreign(self, component: str) -> int:
        """Nobody's but ours where the processes are those of our own stack; elsewhere nothing tells."""
        if self._platform.session_pods and component.startswith(f"{SESSIONS}/"):  # its pod is its own
            return int(component.partition("/")[2] not in (self._made.sessions() or ()))
        if self._platform.keepers:
            return 0
        raise NotPossible(
            f"{component}: whose sessions a sandbox has can't be told: no fault is possible on a shared one"
        )

    async def tidy(self) -> list[str]:
        """What was written down: nothing lists sessions. One whose route is lost may live at the agent yet, which ends whatever it
        is asked to. Raises Unreachable where one can't be ended."""
        stopped = []
        try:
            for session in self._made.known().left:
                said = await self._perform(Operation(cmd="", op="stop", key="", session=session))
                if said.outcome != "ok" and said.rule != GONE:
                    raise Unreachable(
                        f"{self._at.data_plane}: session {session} can't be ended ({said.status or said.error}): is the platform up?"
                    )
                if said.outcome != "ok" and self._at.agent:
                    await calls.answers(
                        self._http,
                        f"{self._at.agent.rstrip('/')}/v1/sessions/{quote(session, safe='')}/terminate",
                        "POST",
                    )
                self._made.ended(session)
                stopped += [session] if said.outcome == "ok" else []
        finally:
            await self.close()
        return stopped

    def left(self) -> list[str]:
        """For `said.Leaves`."""
        return sandbox_left.left(self._platform, self._made.known(), self.components())

    def lingering(self, sessions: Sequence[str]) -> list[str] | None:
        """For `said.Lingers`."""
        is_seen = any(entry.kind == "files" for entry in self._platform.file.evidence.values())
        hosts = [one for one in self.components() if one.inc]
        return sandbox_left.lingering(self._platform, sessions, hosts) if is_seen and hosts else None

    def _request(self, operation: Operation) -> tuple[str, dict[str, Any]]:
        control, data = self._at.control_plane.rstrip("/"), self._at.data_plane.rstrip("/")
        match operation.op:
            case "start":
                create = {
                    "tenantId": self._at.tenant,
                    "agentId": self._at.agent_id,
                    "policyId": self._at.policy,
                    "ttlSeconds": self._at.ttl_s,
                    "runtime": self._at.runtime,
                }
                return f"{control}/sessions", create
            case "step":
                code = step_code(
                    operation.key, self._at.runtime, operation.seconds, known=operation.known, noisy=operation.noisy
                )
                return f"{control}/sessions/{quote(operation.session or '', safe='')}/steps", {"command": code}
            case "stop":
                return f"{data}/sessions/{quote(operation.session or '', safe='')}/terminate", {}
        raise NotPossible(f"{self._platform.path}: a sandbox has no {operation.op}: leave it out of the workload")
