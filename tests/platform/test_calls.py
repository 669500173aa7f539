"""What one call over HTTP proves: only what can't have happened is a refusal."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from chaosreprise.errors import Unreachable
from chaosreprise.history import Answer
from chaosreprise.history.events import Refusal
from chaosreprise.platform import calls
from chaosreprise.platform.adapter import Operation

REFUSALS = [
    Refusal(id="full", status=503, body="no room", ops=["start"]),
    Refusal(id="bad", status=400),
]
START, STEP = (Operation(cmd="c1", op=op, key="k") for op in ("start", "step"))  # type: ignore[arg-type]


@pytest.fixture
def serve() -> Iterator[Callable[[bytes | None], str]]:
    """A server that answers whatever comes with these bytes, and closes; with None it closes at once."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serving(said: bytes | None) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                if said is not None:
                    connection.sendall(said)

    def begin(said: bytes | None) -> str:
        threading.Thread(target=serving, args=[said], daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield begin
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def call(url: str, operation: Operation = START) -> tuple[Answer, bool]:
    async def once() -> tuple[Answer, bool]:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10.0) as http:
            said, answer = await calls.attempt(http, operation, "PUT", "/x", content="body")
            good = answer is not None and calls.accepted(REFUSALS, operation, answer.status_code, answer.text, said)
            return said, good

    return asyncio.run(once())


def answer(status: int, body: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("status", "body", "operation", "outcome", "rule"),
    [
        (201, "", START, "ok", None),
        (503, "there is no room left", START, "fail", "full"),
        (503, "there is no room left", STEP, "info", None),
        (503, "upstream timed out", START, "info", None),
        (400, "", STEP, "fail", "bad"),
        (500, "oops", STEP, "info", None),
        (302, "", STEP, "info", None),
    ],
)
def test_an_answer_is_a_refusal_only_by_the_table(serve, status, body, operation, outcome, rule):
    said, good = call(serve(answer(status, body)), operation)
    assert (said.outcome, said.rule, said.status) == (outcome, rule, status)
    assert good is (outcome == "ok")
    assert said.lo < said.hi


@pytest.mark.parametrize("said", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal"])
def test_a_connection_that_breaks_off_proves_nothing(serve, said: bytes | None):
    found, good = call(serve(said))
    assert (found.outcome, found.rule, good) == ("info", None, False)
    assert found.error


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_without_a_connection_nothing_happened():
    found, good = call(nobody())
    assert (found.outcome, found.rule, good) == ("fail", "unconnected", False)


def test_a_question_of_our_own_is_answered_or_said_to_be_unreachable(serve):
    async def ask(url: str) -> tuple[str, bool]:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            return (await calls.ask(http, "/x")).text, await calls.answers(http, "/x")

    assert asyncio.run(ask(serve(answer(200, "yes")))) == ("yes", True)
    with pytest.raises(Unreachable, match=r"no answer to GET /x .*: is the platform up"):
        asyncio.run(ask(nobody()))


def test_an_error_is_no_answer_to_a_question(serve):
    async def ask(url: str) -> bool:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            return await calls.answers(http, "/x")

    assert asyncio.run(ask(serve(answer(500)))) is False
    assert asyncio.run(ask(nobody())) is False
