"""What an answer of a StreamSpace means: accepted, surely refused, or nobody knows."""

import re
from typing import Any

import httpx

from chaosreprise import hidden
from chaosreprise.history import Answer
from chaosreprise.history.events import Refusal
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.calls import SHOWN, accepted, retry_s
from chaosreprise.platform.streamspace_login import WHY
from chaosreprise.platform.streamspace_marks import Marks

COMMAND_ID = re.compile(r"command: ([^\s,()]+)")
ERROR = r'"error"'  # the platform's own refusal, and not the page of a proxy that does not reach it
REFUSALS = [
    Refusal(id="bad-request", status=400),
    Refusal(id="no-token", status=401),
    Refusal(id="quota", status=403, body="Quota exceeded", ops=["start"]),
    Refusal(id="not-found", status=404, body=ERROR, ops=["stop", "hibernate", "wake", "read"], absent=True),
    Refusal(id="nothing-there", status=404),  # a template, a user, whoever runs steps
    Refusal(id="not-allowed", status=405),
    Refusal(id="wrong-state", status=409),
    Refusal(id="gone", status=410, ops=["step"]),
    Refusal(id="rate-limited", status=429),
    Refusal(id="no-agents", status=503, body="No agents available", ops=["start"]),
]


def judged(operation: Operation, answer: httpx.Response, marks: Marks, unclear: Answer) -> Answer:
    """`unclear`, filled in with what the answer says; `marks` are what our sessions bear."""
    if accepted(REFUSALS, operation, answer.status_code, answer.text, unclear):
        _read_success(operation, answer, marks, unclear)
    elif why := answer.extensions.get(WHY):
        unclear.error = why
    unclear.retry_s = retry_s(answer)
    return unclear


def _read_success(operation: Operation, answer: httpx.Response, marks: Marks, judged: Answer) -> None:
    """Fill in what a 2xx says. A step counts as answered only if its own key came back: another step's answer proves nothing."""
    body = _object(answer)
    if body is None:
        judged.outcome, judged.error = "info", f"status {answer.status_code} without a JSON object"
        return
    match operation.op:
        case "start":
            judged.session = _text(body.get("name"))
            status = body.get("status")
            found = COMMAND_ID.search(str(status.get("message"))) if isinstance(status, dict) else None
            judged.id = found[1] if found else None
        case "hibernate" | "wake" | "stop":
            judged.id = _text(body.get("commandId"))
        case "read" if operation.session is None:
            _read_list(body, marks, judged)
        case "read":
            judged.result = _text(body.get("state"))
        case "step":
            judged.id = _text(body.get("id"))
            stdout = _text(body.get("stdout")) or ""
            judged.result = hidden.without(stdout).strip()[:SHOWN] or None
            if operation.key not in stdout:
                judged.outcome, judged.error = (
                    "info",
                    f"the answer does not carry the step's key: stderr {hidden.without(str(body.get('stderr')))[-150:]!r}",
                )


def _read_list(body: dict[str, Any], marks: Marks, judged: Answer) -> None:
    """The names of our sessions, if the list is whole."""
    listed = body.get("sessions") or []  # null, where there is none
    if isinstance(listed, list) and len(listed) == body.get("total"):
        judged.listed = [str(one.get("name")) for one in listed if isinstance(one, dict) and marks.on(one)]


def _object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _text(value: object) -> str | None:
    """An id or a state as a history has it, also where a deployment gives a number."""
    return None if value is None else str(value)
