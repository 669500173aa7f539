"""What a sandbox must refuse whatever its state, and whom: for `said.Refuses`, and for who examines it.

Where a token is asked for, that is so at each door: the control plane's, and the one at which it offers the same calls once more. Only whose session
it is may run steps in it; that takes a token of another tenant, which is let in by itself.
"""

import base64
import contextlib
import json
import time
import uuid
from typing import Any, Literal

import httpx

from chaosreprise.history import Answer
from chaosreprise.platform import calls
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.file import Platform, Sandbox
from chaosreprise.platform.said import Said

REFUSED = 401
AUTHENTICATION = "authentication"
NOBODY = {"sessionId": "reprise-no-such-session", "stepId": "reprise", "code": "0"}
UNSIGNED = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
SHOWS_NOTHING = "sandbox.other_token is refused by itself, or is of the same tenant: nobody knows whom it keeps out"


class Lacking(Operation, frozen=True, kw_only=True):
    """One without what it needs: its `body` says nothing, or it shows no `token`, one without its own `signature`, one that says that it is
    `unsigned`, or that of `another` tenant. `tools`: at the other door."""

    lacks: Literal["body", "token", "signature", "unsigned", "another"]
    tools: bool = False


def impossible(at: Sandbox, run: str, session: str | None) -> dict[str, Operation]:
    """`session`: one of ours that lives."""
    asked: list[tuple[str, Any, Any, str | None]] = [
        ("create without a runtime", "start", "body", None),
        ("step without a command", "step", "body", "nobody"),
    ]
    if at.token:
        asked += [
            ("create without a token", "start", "token", None),
            ("step without a token", "step", "token", "nobody"),
            ("create with a forged token", "start", "signature", None),
            ("create with an unsigned token", "start", "unsigned", None),
        ]
    if at.token and at.other_token and session:
        asked.append(("step of another tenant", "step", "another", session))
    found: dict[str, Operation] = {}
    for tools in (False, True) if at.tools else (False,):
        for what, op, lacks, of in asked:
            number = f"no-{len(found) + 1}"
            found[f"{what}{' at the tools' if tools else ''}"] = Lacking(
                cmd=number, op=op, key=f"{run}.{number}", session=of, lacks=lacks, tools=tools
            )
    return found


async def attempt(
    http: httpx.AsyncClient, operation: Lacking, platform: Platform, url: str, body: dict[str, Any]
) -> tuple[Answer, httpx.Response | None]:
    """As `calls.attempt`."""
    at = platform.file.sandbox
    assert at is not None
    if operation.tools and at.tools:
        url = at.tools.rstrip("/") + url.removeprefix(at.control_plane.rstrip("/"))
    shown = _shown(http)
    match operation.lacks:
        case "token":
            shown = ""
        case "signature":
            signed, dot, signature = shown.rpartition(".")
            shown = f"{signed}{dot}{signature[::-1]}"
        case "unsigned":
            shown = f"{UNSIGNED}.{_claims(shown)}."
        case "another" if at.other_token:
            other = at.other_token.read(platform.folder)
            if not await _is_another(http, at, other):
                now = time.monotonic_ns()
                return Answer(lo=now, hi=now, cmd=operation.cmd, outcome="info", error=SHOWS_NOTHING), None
            shown = other
    headers = {"Authorization": f"Bearer {shown}" if shown else ""}
    said = {} if operation.lacks == "body" else body
    return await calls.attempt(http, operation, "POST", url, json=said, headers=headers)


async def doors(platform: Platform, http: httpx.AsyncClient) -> list[Said]:
    """Whom each door refuses, by calls that nobody could carry out."""
    at = platform.file.sandbox
    assert at is not None
    control = {"the control plane": f"{at.control_plane.rstrip('/')}/sessions"}
    control |= {"its tools": f"{at.tools.rstrip('/')}/sessions"} if at.tools else {}
    asked = {name: await _status(http, url, {}, {"Authorization": ""}) for name, url in control.items()}
    wrong = []
    if at.agent:
        agent = f"{at.agent.rstrip('/')}/v1/steps"
        asked |= {"the agent": await _status(http, agent, NOBODY, {})}
        strange = await _status(http, agent, NOBODY, {"X-Session-Token": str(uuid.uuid4())})
        if asked["the agent"] == REFUSED != strange is not None:
            wrong.append(f"the agent answers a token that is no session's with {strange}")
    statuses = {name: status for name, status in asked.items() if status is not None}
    if at.token:
        wrong += [f"{name} answers who shows no token with {got}" for name, got in statuses.items() if got != REFUSED]
    else:
        wrong += [
            f"{name} asks for a token, and sandbox.token is not set"
            for name in control
            if statuses.get(name) == REFUSED
        ]
    if wrong:
        return [_limited("; ".join(wrong), "let each door ask, and set sandbox.token where they do")]
    if not at.token:
        return [Said(about=AUTHENTICATION, say="is off: nobody is asked for a token")]
    said = [Said(about=AUTHENTICATION, say=f"who shows no token is refused by {', '.join(statuses)}")]
    if not at.other_token:
        do = "set sandbox.other_token to a token of another tenant, and try `chaos reprise conformance`"
        return [*said, _limited("whether another tenant is kept out of sessions is not tried", do)]
    if not await _is_another(http, at, at.other_token.read(platform.folder)):
        return [*said, _limited(SHOWS_NOTHING, "set it to a token that is let in, of another tenant_id")]
    return said


def _limited(say: str, do: str) -> Said:
    return Said(about=AUTHENTICATION, state="limited", say=say, do=do)


async def _is_another(http: httpx.AsyncClient, at: Sandbox, other: str) -> bool:
    """Whether it is let in, and speaks for another tenant than ours."""
    url, headers = f"{at.control_plane.rstrip('/')}/sessions", {"Authorization": f"Bearer {other}"}
    return await _status(http, url, {}, headers) != REFUSED and _tenant(other) != _tenant(_shown(http))


async def _status(http: httpx.AsyncClient, url: str, body: dict[str, str], headers: dict[str, str]) -> int | None:
    with contextlib.suppress(httpx.TransportError):
        return (await http.post(url, json=body, headers=headers)).status_code
    return None


def _shown(http: httpx.AsyncClient) -> str:
    """The token that it shows by itself."""
    return str(http.headers.get("Authorization", "")).removeprefix("Bearer ")


def _claims(token: str) -> str:
    """Of a JWT, as they stand there."""
    return "".join(token.split(".")[1:2])


def _tenant(token: str) -> Any:
    with contextlib.suppress(ValueError, AttributeError):
        return json.loads(base64.urlsafe_b64decode(f"{_claims(token)}===")).get("tenant_id")
    return None
