"""The first minute of somebody who runs a sandbox: are its services well, and does a session keep what it was told?

Health, a create, three steps of which the last needs what the second has left, and the end. What is answered is compared with what
has to be answered, word by word. Nothing is broken, and of what it makes nothing is left.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec

from chaosreprise import hidden
from chaosreprise.errors import BadInput, RepriseError, shown
from chaosreprise.platform import file, sandbox_ready
from chaosreprise.platform.file import Sandbox
from chaosreprise.platform.steps import NAMES, language
from chaosreprise.platform.values import Text, Url, check_url
from chaosreprise.run import labs

TIMEOUT_S = 45.0
HEALTH_S = 5.0
OVERRIDES: dict[str, tuple[str, Any]] = {
    "BASE_URL": ("control_plane", Url),
    "TENANT_ID": ("tenant", Text),
    "AGENT_ID": ("agent_id", Text),
    "POLICY_ID": ("policy", Text),
    "RUNTIME": ("runtime", Text),
}
"""What the environment may say instead of the platform file."""
STEPS = {
    "python": [("print('hello')", "hello\n"), ("x=5*10", ""), ("print(x)", "50\n")],
    "node": [("console.log('hello')", "hello\n"), ("var x=5*10", ""), ("console.log(x)", "50\n")],
}
WELL = (200, 401)  # a health that asks for a token says that somebody is there to ask for it
HINTS = {
    400: "it takes none of this: is a control plane there, and of this version?",
    401: "it asks for a token: see sandbox.token in the platform file",
    404: "nothing of that name is there: is it the right URL, and its path?",
    500: "it refuses, or what is behind it does: see the logs of control plane and data plane, and whether tenant, policy and runtime are known there",
}


class Ask(NamedTuple):
    """One call: what it is for people, where it goes, and what its answer must be."""

    what: str
    url: str
    body: dict[str, Any] | None
    status: tuple[int, ...]
    timeout_s: float = TIMEOUT_S


def lines(where: str) -> Iterator[tuple[str, bool]]:
    """Each call with whether its answer was right; ends with the first session that can't be made. Raises BadInput.

    What a run would start, the commands of the platform file, is started for this and ended with it.
    """
    platform = file.load(where)
    at, token = _at(platform)
    with labs.standing(platform):
        yield from _asked_all(platform, at, token)


def _asked_all(platform: file.Platform, at: Sandbox, token: str | None) -> Iterator[tuple[str, bool]]:
    control, data = at.control_plane.rstrip("/"), at.data_plane.rstrip("/")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(timeout=TIMEOUT_S, headers=headers, trust_env=False) as http:
        health = {"control plane": f"{control}/healthz", "data plane": f"{data}/healthz"}
        health |= {"session agent": f"{at.agent.rstrip('/')}/v1/health"} if at.agent else {}
        for name, url in health.items():
            yield _told(_asked(http, Ask(f"{name} is well", url, None, WELL, HEALTH_S)))
        create = {"tenantId": at.tenant, "agentId": at.agent_id, "policyId": at.policy, "ttlSeconds": at.ttl_s}
        made = _asked(http, Ask("a session", f"{control}/sessions", create | {"runtime": at.runtime}, (201,)))
        if made.wrong:
            made = made._replace(wrong=f"{made.wrong}{sandbox_ready.waiting(platform)}")
        yield _told(made)
        named = quote(made.field("id"), safe="")
        if not named:
            return
        try:
            if platform.session_pods:
                yield _reached(platform, made.field("id"))
            for code, expected in STEPS[language(at.runtime) or ""]:
                step = Ask(f"step {code}", f"{control}/sessions/{named}/steps", {"command": code}, (202,))
                found = _asked(http, step, stdout=expected)
                yield _told(found)
                if found.status is None:  # the next ones would wait as long
                    break
        finally:
            ended = _asked(http, Ask("its end", f"{data}/sessions/{named}/terminate", {}, (202,)))
        yield _told(ended)


def _reached(platform: file.Platform, session: str) -> tuple[str, bool]:
    """Whether the agent in a session's own pod answers on its port, through the API server."""
    began = time.monotonic()
    try:
        asyncio.run(sandbox_ready.reach(platform, session))
        wrong = None
    except RepriseError as error:
        wrong = str(error)
    return _told(Answered(Ask("its pod is reached", "", None, ()), (time.monotonic() - began) * 1000, None, wrong))


def _at(platform: file.Platform) -> tuple[Sandbox, str | None]:
    """Where the platform is, with what the environment says instead; and the token."""
    if platform.file.sandbox is None:
        raise BadInput(
            f'{platform.path}: kind = "{platform.file.kind}": the flow is one of a sandbox: name such a platform file'
        )
    given = {variable: value for variable in OVERRIDES if (value := os.environ.get(variable))}
    for variable, value in given.items():
        _check(variable, value)
    at = msgspec.structs.replace(platform.file.sandbox, **{OVERRIDES[name][0]: value for name, value in given.items()})
    if language(at.runtime) is None:
        raise BadInput(f"RUNTIME, or sandbox.runtime = {shown(at.runtime)}: expected one of {', '.join(NAMES)}")
    return at, at.token.read(platform.folder) if at.token else None


def _check(variable: str, value: str) -> None:
    kind = OVERRIDES[variable][1]
    expected = "a URL such as http://127.0.0.1:8080" if kind is Url else "a text on one line, 1 to 200 characters"
    try:
        msgspec.convert(value, kind)
        if kind is Url:
            httpx.URL(value)
            check_url("the environment", variable, value)
    except (msgspec.ValidationError, httpx.InvalidURL):
        raise BadInput(f"{variable} = {shown(value)}: expected {expected}") from None


class Answered(NamedTuple):
    """`status`: None where there was no answer. `wrong`: what is not as it must be."""

    ask: Ask
    took_ms: float
    status: int | None
    wrong: str | None
    body: Any = None

    def field(self, name: str) -> str:
        return str(self.body.get(name) or "") if isinstance(self.body, dict) else ""


def _asked(http: httpx.Client, ask: Ask, stdout: str | None = None) -> Answered:
    began = time.monotonic()
    try:
        answer = http.request("GET" if ask.body is None else "POST", ask.url, json=ask.body, timeout=ask.timeout_s)
    except httpx.HTTPError as error:
        why = f"no answer from {ask.url} ({str(error) or type(error).__name__}): is it up, and there?"
        return Answered(ask, (time.monotonic() - began) * 1000, None, why)
    took_ms = (time.monotonic() - began) * 1000
    if answer.status_code not in ask.status:
        text = f" {hidden.without(answer.text)[:100]!r}" if answer.text else ""
        hint = HINTS.get(answer.status_code, "see the log of what answered")
        why = f"answered with {answer.status_code}{text}, not {ask.status[0]}: {hint}"
        return Answered(ask, took_ms, answer.status_code, why)
    try:
        body = answer.json() if answer.content else None
    except ValueError:
        body = None
    found = Answered(ask, took_ms, answer.status_code, None, body)
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
