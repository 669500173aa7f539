"""What every adapter does alike that speaks HTTP: one attempt of a call, and what its answer proves.

Nothing happened if no connection was made, or if the answer stands in the refusal table. Whatever else goes wrong proves
nothing: the call may have had its effect, or may have it yet.
"""

import email.utils
import re
import time
from collections.abc import Sequence
from typing import Any

import httpx

from chaosreprise import hidden
from chaosreprise.errors import Unreachable
from chaosreprise.history import Answer
from chaosreprise.history.events import Refusal
from chaosreprise.platform.adapter import UNCONNECTED, Operation

SHOWN = 200
TOO_MANY = 429
RETRY_S, RETRY_AT_MOST_S = 1.0, 600.0


async def attempt(
    http: httpx.AsyncClient, operation: Operation, method: str, url: str, **content: Any
) -> tuple[Answer, httpx.Response | None]:
    """One attempt: unclear, and what came back; or what it proves that nothing did."""
    sent = time.monotonic_ns()
    said, answer = Answer(lo=sent, hi=sent, cmd=operation.cmd, outcome="info"), None
    try:
        answer = await http.request(method, url, **content)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        said.outcome, said.rule, said.error = "fail", UNCONNECTED, repr(error)
    except httpx.TransportError as error:
        said.error = repr(error)
    said.hi = time.monotonic_ns()
    return said, answer


def accepted(refusals: Sequence[Refusal], operation: Operation, status: int, text: str, said: Answer) -> bool:
    """Fill in what this answer proves; whether it is a success, of which the adapter may know more."""
    said.status = status
    if status < 300:
        said.outcome = "ok"
        return True
    said.error = hidden.without(text)[:SHOWN]  # cut after that: a part of a secret is one
    for rule in refusals:
        if rule.status == status and (not rule.ops or operation.op in rule.ops) and re.search(rule.body, text):
            said.outcome, said.rule = "fail", rule.id
            break
    return False


def retry_s(answer: httpx.Response) -> float | None:
    """For how long who answers so wants to be left alone: `Retry-After` in seconds or as a date, else `retryAfter` of the body."""
    if answer.status_code != TOO_MANY:
        return None
    said = answer.headers.get("retry-after", "")
    try:
        if parsed := email.utils.parsedate_tz(said):
            return _bounded(email.utils.mktime_tz(parsed) - time.time())
        return _bounded(float(said or answer.json()["retryAfter"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        return RETRY_S


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), RETRY_AT_MOST_S) if seconds == seconds else RETRY_S  # noqa: PLR0124 - not a number


async def ask(http: httpx.AsyncClient, url: str) -> httpx.Response:
    """A question that is no operation of a run. Raises Unreachable for whatever is no success."""
    try:
        return (await http.get(url)).raise_for_status()
    except httpx.HTTPError as error:
        raise Unreachable(f"{http.base_url}: no answer to GET {url} ({error!r}): is the platform up?") from error


async def answers(http: httpx.AsyncClient, url: str, method: str = "GET") -> bool:
    """Whether there is an answer, and it is a success."""
    try:
        return (await http.request(method, url)).is_success
    except httpx.HTTPError:
        return False
