"""StreamSpace v2: sessions over HTTP, agents behind a WebSocket that we never touch, rows in PostgreSQL.

Refuses nothing by itself. A create has no idempotency key: ours travels as the memory that it asks for (`streamspace_marks`),
since that comes back over HTTP and SQL and stands in the specification of what is made. Effects of start, stop, hibernate and wake come from the
`slots` ledger, those of steps from `workspaces`. How rows are read: `streamspace_rows`.
"""

import pathlib
import ssl
from collections.abc import Iterable
from typing import Any

import httpx

from chaosreprise import handshakes
from chaosreprise.errors import BadInput, NotPossible
from chaosreprise.history import Answer
from chaosreprise.history.events import Attribution, Resource
from chaosreprise.history.statements import Claim
from chaosreprise.observe import FileSource, FolderSource, Source
from chaosreprise.platform import (
    figures,
    frames,
    keepers,
    links,
    proxies,
    streamspace_marks,
    streamspace_objects,
    streamspace_pods,
    streamspace_streams,
)
from chaosreprise.platform.adapter import SECONDS, Component, Description, Held, Operation
from chaosreprise.platform.calls import attempt
from chaosreprise.platform.file import HOMES, WITNESS, Evidence, Platform
from chaosreprise.platform.ledgers import LEDGER_FILE, slots_parser, workspaces_parser
from chaosreprise.platform.said import Examination
from chaosreprise.platform.steps import step_code
from chaosreprise.platform.streamspace_answers import REFUSALS, judged
from chaosreprise.platform.streamspace_login import authorization, login
from chaosreprise.platform.streamspace_marks import ANYBODYS, KEYS_A_RUN, TAG
from chaosreprise.platform.streamspace_sessions import Sessions
from chaosreprise.platform.streamspace_states import STATES

TIMEOUT_S = 30.0
WRITTEN_S = 1.0  # until what a platform knows of its agents stands in its rows, on a busy machine


def adapter(platform: Platform, run: str) -> "StreamSpace":
    return StreamSpace(platform, run)


class StreamSpace:
    def __init__(self, platform: Platform, run: str) -> None:
        assert platform.file.control is not None
        assert platform.file.timing is not None
        self._platform, self._run = platform, run
        self._control, self._timing = platform.file.control, platform.file.timing
        self._http = httpx.AsyncClient(
            base_url=self._control.url,
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
            event_hooks=handshakes.HOOKS,
            trust_env=False,
            verify=_trusted([self._control.url, self._control.steps or ""]),
        )
        self._steps = self._control.steps.rstrip("/") if self._control.steps else None
        self._marks = streamspace_marks.of(run)
        self.tag = self._marks.tag
        self._sessions = Sessions(self._http, platform, self._marks)

    def describe(self) -> Description:
        evidence, bounds = self._platform.file.evidence, self._timing.bounds
        attribution = [*streamspace_objects.ATTRIBUTION] if "slots" in evidence else []
        objects = "slots" in evidence and evidence["slots"].kind == "kubernetes"
        if "workspaces" in evidence and self._steps:
            attribution.append(Attribution(op="step", ledger="workspaces", level="keyed", mark="e"))
        return Description(
            attribution=attribution,
            refusals=REFUSALS,
            promises=self._platform.file.promises.stated(),
            bounds={name.removesuffix("_s"): int(getattr(bounds, name) * SECONDS) for name in bounds.__struct_fields__},
            offline_ns=int(self._timing.offline_s * SECONDS),
            sources=list(evidence),
            states=STATES,
            steps=self._steps is not None,
            quota=self._platform.file.budget.sessions_a_user or 0,
            processes=streamspace_pods.LEDGER if objects else "",
            signs=self._platform.witnesses,
            homes=HOMES if HOMES in evidence else "",
            claims=[
                Claim(
                    name=f"agents in {name}",
                    signal=f"{name}.agents",
                    says=["online"],
                    within_s=self._timing.offline_s + WRITTEN_S,
                )
                for name, entry in evidence.items()
                if entry.kind == "sql"
            ],
            links=list(links.of(self._platform)),
            read_along=frames.agents(links.of(self._platform).values()),
        )

    async def open(self) -> None:
        await login(self._http, self._platform)

    async def close(self) -> None:
        await self._sessions.close()
        await self._http.aclose()

    def keys(self, count: int) -> list[str]:
        if count > KEYS_A_RUN:
            raise BadInput(f"a run of {count} creates: at most {KEYS_A_RUN} can be told apart here")
        return [str(key) for key in self._marks.keys[:count]]

    async def perform(self, operation: Operation) -> Answer:
        method, url, body = self._request(operation)
        said, answer = await attempt(self._http, operation, method, url, json=body)
        return said if answer is None else judged(operation, answer, self._marks, said)

    async def hold(self, session: str) -> Held | None:
        """Its stream, where it is one that is spoken here."""
        try:
            said = (await self._http.get(f"/api/v1/sessions/{session}")).json()
            protocol, way = said["streamingProtocol"], said["streamingPath"]
        except (httpx.TransportError, ValueError, KeyError, TypeError):
            return None
        if protocol != streamspace_streams.PROTOCOL or not way:
            return None
        url = str(self._http.base_url.join(way))
        path = ["control-plane", f"sessions/{session}", *links.held(list(links.of(self._platform)))]
        return await streamspace_streams.hold(url, authorization(self._http), path)

    def sources(self) -> list[Source]:
        from chaosreprise.platform.streamspace_rows import Rows, RowSource  # noqa: PLC0415 - only the recorder needs psycopg

        found: list[Source] = []
        for name, evidence in self._platform.file.evidence.items():
            path = self._platform.folder / (evidence.path or "")
            if evidence.kind == "sql":
                assert evidence.dsn is not None
                found.append(RowSource(name, evidence.hz, Rows(evidence.dsn.read(self._platform.folder), self.tag)))
            elif evidence.kind == WITNESS:
                found.append(_sink(name, evidence, self._platform.folder))
            elif evidence.kind in figures.KINDS:
                found.append(figures.source(self._platform, name))
            elif evidence.kind == "kubernetes":
                found += streamspace_objects.sources(self._platform, name, self._key_of)
            elif path.is_dir():
                found.append(FolderSource(name, path, LEDGER_FILE, evidence.hz, workspaces_parser(self._run)))
            else:
                found.append(FileSource(name, path, evidence.hz, slots_parser(self._key_of)))
        return found

    def _key_of(self, spec: dict[str, Any]) -> str | None:
        return self._marks.key(spec.get("memory"))

    def frames(self) -> list[Source]:
        from chaosreprise.platform.streamspace_frames import read  # noqa: PLC0415 - only the recorder needs it

        along = [link for link in links.of(self._platform).values() if frames.agents([link])]
        return [frames.FrameSource(along, read)] if along else []

    def components(self) -> list[Component]:
        return keepers.components(self._platform) + proxies.components(self._platform)

    def identity(self) -> dict[str, str]:
        return {"host": httpx.URL(self._control.url).host} | keepers.identity(self._platform)

    async def foreign(self, component: str) -> int:
        return await self._sessions.foreign(component)

    def examinations(self) -> dict[str, Examination]:
        """For `said.Examines`."""
        from chaosreprise.platform.streamspace_examined import examinations  # noqa: PLC0415 - no run needs it

        return examinations(self._platform, self._http, ANYBODYS)

    def impossible(self) -> dict[str, Operation]:
        """For `said.Refuses`."""
        user, free = self._platform.file.budget.users[0], str(self._marks.keys[-1])
        found = {
            "create that asks for no quantity of memory": Operation(cmd="no-1", op="start", key="much", user=user),
            "create for a user that never was": Operation(cmd="no-2", op="start", key=free, user=f"{self.tag}-nobody"),
        }
        if self._platform.file.promises.placement:
            nowhere = Operation(cmd="no-3", op="start", key=free, user=user, asks={"cluster": f"{self.tag}-nowhere"})
            found["create on a cluster that never was"] = nowhere
        return found

    async def tidy(self) -> list[str]:
        try:
            return await self._sessions.tidy()
        finally:
            await self.close()

    def size(self, operation: Operation) -> dict[Resource, int]:
        """For `said.Sizes`."""
        key = operation.key
        return {"memory": int(key), "cpu": streamspace_marks.cpu(key)} if operation.op == "start" else {}

    def _request(self, operation: Operation) -> tuple[str, str, dict[str, Any] | None]:
        session = f"/api/v1/sessions/{operation.session}"
        match operation.op:
            case "start":
                return "POST", "/api/v1/sessions", self._create(operation)
            case "hibernate" | "wake":
                return "PUT", f"{session}/{operation.op}", None
            case "stop":
                return "DELETE", session, None
            case "read":
                return "GET", session if operation.session else "/api/v1/sessions", None
            case "step":
                if self._steps is None:
                    raise NotPossible(
                        f"{self._platform.path}: control.steps is not set: no step can be run on this platform"
                    )
                return (
                    "POST",
                    f"{self._steps}/sessions/{operation.session}/steps",
                    {"command": step_code(operation.key, known=operation.known)},
                )

    def _create(self, operation: Operation) -> dict[str, Any]:
        asks = {str(what): where for what, where in operation.asks.items()}
        return {
            "user": operation.user,
            "template": self._control.template,
            "resources": {"memory": operation.key, "cpu": f"{streamspace_marks.cpu(operation.key)}m"},
            "persistentHome": operation.persistent,
            "idleTimeout": "1h",
            "maxSessionDuration": "2h",
            "tags": [TAG, self.tag],
            **asks,
        }


def _sink(name: str, evidence: Evidence, folder: pathlib.Path) -> Source:
    from chaosreprise.observe.witnesses import WitnessSource  # noqa: PLC0415 - only the recorder needs a server

    assert evidence.listen is not None
    assert evidence.token is not None
    host, _, port = evidence.listen.rpartition(":")
    return WitnessSource(name, host.strip("[]"), int(port), evidence.token.read(folder), evidence.hz)


def _trusted(urls: Iterable[str]) -> ssl.SSLContext | bool:
    """Whom this machine trusts, with SSL_CERT_FILE in its place where that is set; not read for nothing, which takes 40 ms."""
    return ssl.create_default_context() if any(url.startswith("https:") for url in urls) else False
