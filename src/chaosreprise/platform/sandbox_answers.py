"""What the answers of a sandbox mean: which prove that nothing ran, and what a success says.

The control plane answers 202 to a step whatever became of its code, so only our own words on its standard output say that it
ran, and where: with something on standard error instead it has failed, with nothing at all it was accepted. None of the data
plane's refusals is passed on: 500 proves nothing.
"""

import msgspec

from chaosreprise import hidden
from chaosreprise.history import Answer
from chaosreprise.history.events import Refusal
from chaosreprise.platform import calls
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.calls import SHOWN

REFUSALS = [
    Refusal(id="bad-request", status=400),
    Refusal(id="not-authenticated", status=401),
    Refusal(id="no-such-session", status=404, ops=["stop"]),
    Refusal(id="not-there", status=404, ops=["start", "step"]),
    Refusal(id="not-allowed-there", status=405),
    Refusal(id="another-runtime", status=409),
    Refusal(id="expired", status=410, absent=True),
]


class Created(msgspec.Struct):
    id: str


class Stepped(msgspec.Struct):
    id: str
    stdout: str = ""
    stderr: str = ""


def judged(operation: Operation, status: int, body: bytes, unclear: Answer) -> Answer:
    """Fill in what was answered."""
    if calls.accepted(REFUSALS, operation, status, body.decode(errors="replace"), unclear):
        try:
            _read_success(operation, body, unclear)
        except msgspec.DecodeError as error:  # a ValidationError is one
            unclear.outcome, unclear.error = "info", f"status {status}, and not what that should say: {error}"
    return unclear


def _read_success(operation: Operation, body: bytes, judged: Answer) -> None:
    match operation.op:
        case "start":
            judged.session = msgspec.json.decode(body, type=Created).id
        case "step":
            said = msgspec.json.decode(body, type=Stepped)
            judged.id = said.id
            lines = said.stdout.splitlines()
            judged.result = hidden.without(lines[-1])[:SHOWN] if lines else None
            told = said.stderr.strip().splitlines()
            if told and (judged.result or "").split()[:1] != [operation.key]:
                judged.outcome, judged.error = (
                    "info",
                    f"it was accepted and has failed: {hidden.without(told[-1])[-SHOWN:]!r}",
                )
