"""What an answer of a StreamSpace means: accepted, surely refused, or nobody knows."""

import re
from typing import Any

import httpx

from chaosreprise import hidden
from chaosreprise.history import Answer
from chaosreprise.history.events import Refusal
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.calls import SHOWN, accepted
from chaosreprise.platform.streamspace_login import WHY
from chaosreprise.platform.streamspace_marks import Marks

COMMAND_ID = re.compile(r"command: (cmd-[0-9a-f-]+)")
REFUSALS = [
    Refusal(id="bad-request", status=400),
    Refusal(id="no-token", status=401),
    Refusal(id="quota", status=403, body="Quota exceeded", ops=["start"]),
    Refusal(id="not-found", status=404, ops=["stop", "hibernate", "wake", "read"], absent=True),
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
    return unclear


def _read_success(operation: Operation, answer: httpx.Response, marks: Marks, judged: Answer) -> None:
    """Fill in what a 2xx says. A step counts as answered only if its own key came back: another step's answer proves nothing."""
    try:
        body = answer.json()
    except ValueError:
        judged.outcome, judged.error = "info", f"status {answer.status_code} without JSON"
        return
    match operation.op:
        case "start":
            judged.session = body.get("name")
            found = COMMAND_ID.search((body.get("status") or {}).get("message") or "")
            judged.id = found[1] if found else None
        case "hibernate" | "wake" | "stop":
            judged.id = body.get("commandId")
        case "read" if operation.session is None:
            _read_list(body, marks, judged)
        case "read":
            judged.result = body.get("state")
        case "step":
            judged.id = body.get("id")
            judged.result = hidden.without(body.get("stdout") or "").strip()[:SHOWN] or None
            if operation.key not in (body.get("stdout") or ""):
                judged.outcome, judged.error = (
                    "info",
                    f"the answer does not carry the step's key: stderr {hidden.without(str(body.get('stderr')))[-150:]!r}",
                )


def _read_list(body: dict[str, Any], marks: Marks, judged: Answer) -> None:
    """The names of our sessions, if the list is whole."""
    listed = body.get("sessions") or []
    if len(listed) == body.get("total"):
        judged.listed = [str(one["name"]) for one in listed if marks.on(one)]
