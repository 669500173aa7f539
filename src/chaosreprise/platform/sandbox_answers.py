"""What the answers of a sandbox mean: which prove that nothing ran, and what a success says.

The control plane answers 202 to a step whatever became of its code, so only our own words on its standard output say that it
ran, and where: with something on standard error instead it has failed, with nothing at all it was accepted. Beside our words
there may be others; those of another step of ours there are none of its own. None of the data plane's refusals is passed on: 500 proves nothing.
"""

import msgspec

from chaosreprise import hidden
from chaosreprise.history import Answer
from chaosreprise.history.events import Refusal
from chaosreprise.platform import calls
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.calls import SHOWN

GONE = "no-such-session"
REFUSALS = [
    Refusal(id="bad-request", status=400),
    Refusal(id="not-authenticated", status=401),
    Refusal(id=GONE, status=404, ops=["stop"]),
    Refusal(id="not-there", status=404, ops=["start", "step"]),
    Refusal(id="not-allowed-there", status=405),
    Refusal(id="another-runtime", status=409),
    Refusal(id="expired", status=410, absent=True),
]


class Created(msgspec.Struct):
    id: str


class Stepped(msgspec.Struct):
    id: str
    stdout: str | None = None
    stderr: str | None = None


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
            lines = [line for line in (said.stdout or "").splitlines() if line.strip()]
            judged.result = hidden.without(_meant(lines, operation.key))[:SHOWN] if lines else None
            told = (said.stderr or "").strip().splitlines()
            if told and not any(line.split()[0] == operation.key for line in lines):
                judged.outcome, judged.error = (
                    "info",
                    f"it was accepted and has failed: {hidden.without(told[-1])[-SHOWN:]!r}",
                )


def _meant(lines: list[str], key: str) -> str:
    """The last line of another step of this run, else of this step, else of all."""
    run = f"{key.rpartition('.')[0]}."
    of_ours = [line for line in lines if line.startswith(run)]
    others = [line for line in of_ours if line.split()[0] != key]
    return (others or of_ours or lines)[-1]
