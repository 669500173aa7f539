"""The first minute of somebody who runs a sandbox: are its services well, and does a session keep what it was told?

Health, a create, three steps of which the last needs what the second has left, and the end. What is answered is compared with what
has to be answered, word by word. Nothing is broken, and of what it makes nothing is left.
"""

import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import msgspec

from chaosreprise import hidden
from chaosreprise.errors import BadInput, shown
from chaosreprise.platform import file
from chaosreprise.platform.file import Sandbox
from chaosreprise.platform.values import Url
from chaosreprise.run import labs

TIMEOUT_S = 45.0
OVERRIDES = {
    "BASE_URL": "control_plane",
    "TENANT_ID": "tenant",
    "AGENT_ID": "agent_id",
    "POLICY_ID": "policy",
    "RUNTIME": "runtime",
}
"""What the environment may say instead of the platform file."""
STEPS = {
    "python": [("print('hello')", "hello\n"), ("x=5*10", ""), ("print(x)", "50\n")],
    "node": [("console.log('hello')", "hello\n"), ("var x=5*10", ""), ("console.log(x)", "50\n")],
}
WELL = (200, 401)  # a health that asks for a token says that somebody is there to ask for it


class Ask(NamedTuple):
    """One call: what it is for people, where it goes, and what its answer must be."""

    what: str
    url: str
    body: dict[str, Any] | None
    status: tuple[int, ...]


def lines(where: str) -> Iterator[tuple[str, bool]]:
    """Each call with whether its answer was right; ends with the first session that can't be made. Raises BadInput.

    What a run would start, the commands of the platform file, is started for this and ended with it.
    """
    platform = file.load(where)
    at, token = _at(platform)
    with labs.standing(platform):
        yield from _asked_all(at, token)


def _asked_all(at: Sandbox, token: str | None) -> Iterator[tuple[str, bool]]:
    control, data = at.control_plane.rstrip("/"), at.data_plane.rstrip("/")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(timeout=TIMEOUT_S, headers=headers, trust_env=False) as http:
        for name, url in (
            ("control plane", f"{control}/healthz"),
            ("data plane", f"{data}/healthz"),
            ("session agent", f"{at.agent.rstrip('/')}/v1/health"),
        ):
            yield _told(_asked(http, Ask(f"{name} is well", url, None, WELL)))
        create = {"tenantId": at.tenant, "agentId": at.agent_id, "policyId": at.policy, "ttlSeconds": at.ttl_s}
        made = _asked(http, Ask("a session", f"{control}/sessions", create | {"runtime": at.runtime}, (201,)))
        yield _told(made)
        session = made.field("id")
        if not session:
            return
        try:
            for code, expected in STEPS[at.runtime]:
                step = Ask(f"step {code}", f"{control}/sessions/{session}/steps", {"command": code}, (202,))
                yield _told(_asked(http, step, stdout=expected))
        finally:
            ended = _asked(http, Ask("its end", f"{data}/sessions/{session}/terminate", {}, (202,)))
        yield _told(ended)


def _at(platform: file.Platform) -> tuple[Sandbox, str | None]:
    """Where the platform is, with what the environment says instead; and the token."""
    if platform.file.sandbox is None:
        raise BadInput(
            f'{platform.path}: kind = "{platform.file.kind}": the flow is one of a sandbox: name such a platform file'
        )
    given = {name: value for variable, name in OVERRIDES.items() if (value := os.environ.get(variable))}
    at = msgspec.structs.replace(platform.file.sandbox, **given)
    if at.runtime not in STEPS:
        raise BadInput(f"RUNTIME, or sandbox.runtime = {shown(at.runtime)}: expected one of {', '.join(STEPS)}")
    try:
        msgspec.convert(at.control_plane, Url)
    except msgspec.ValidationError:
        raise BadInput(f"BASE_URL = {shown(at.control_plane)}: expected a URL such as http://127.0.0.1:8080") from None
    return at, at.token.read(platform.folder) if at.token else None


class Answered(NamedTuple):
    """`wrong`: what is not as it must be."""

    ask: Ask
    took_ms: float
    wrong: str | None
    body: Any = None

    def field(self, name: str) -> str:
        return str(self.body.get(name) or "") if isinstance(self.body, dict) else ""


def _asked(http: httpx.Client, ask: Ask, stdout: str | None = None) -> Answered:
    began = time.monotonic()
    try:
        answer = http.get(ask.url) if ask.body is None else http.post(ask.url, json=ask.body)
    except httpx.TransportError as error:
        return Answered(ask, (time.monotonic() - began) * 1000, f"no answer from {ask.url} ({error})")
    took_ms = (time.monotonic() - began) * 1000
    if answer.status_code not in ask.status:
        text = f" {hidden.without(answer.text)[:100]!r}" if answer.text else ""
        return Answered(ask, took_ms, f"answered with {answer.status_code}{text}, not {ask.status[0]}")
    try:
        body = answer.json() if answer.content else None
    except ValueError:
        body = None
    found = Answered(ask, took_ms, None, body)
    if stdout is not None and found.field("stdout") != stdout:
        said = (
            f"said {found.field('stdout')!r}, not {stdout!r}; stderr {hidden.without(found.field('stderr'))[-100:]!r}"
        )
        return found._replace(wrong=said)
    if ask.status == (201,) and not found.field("id"):
        return found._replace(wrong=f"its answer has no id: {hidden.without(answer.text)[:100]!r}")
    return found


def _told(found: Answered) -> tuple[str, bool]:
    return f"{found.ask.what:<24} {found.wrong or 'ok'}   {found.took_ms:.0f} ms", found.wrong is None
