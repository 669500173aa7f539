"""The StreamSpace adapter against a small real server: what each answer proves, and what it does not."""

import asyncio
import json
import pathlib
import resource
import socket
import subprocess

import msgspec
import pytest

from chaosreprise.errors import BadInput, Unreachable
from chaosreprise.history import Answer
from chaosreprise.history.events import Op
from chaosreprise.observe import Seen
from chaosreprise.platform import adapter, file
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.ledgers import slots_parser, workspaces_parser
from chaosreprise.platform.steps import step_code
from chaosreprise.platform.streamspace_marks import BASE_MEMORY
from chaosreprise.procs import incarnation

TEXT = """\
version = 1
kind = "streamspace"
name = "x"
[control]
url = "http://127.0.0.1:{port}"
user = "u"
password = {{ file = "password" }}
template = "t"
steps = "http://127.0.0.1:{port}"
[budget]
users = ["a"]
[timing]
settle = {{ backoff_s = 1, reconcile_s = 1, slowest_s = 1 }}
[evidence.slots]
kind = "files"
path = "slots.jsonl"
"""


def speaker(folder: pathlib.Path, port: int, run: str = "r1") -> adapter.Adapter:
    (folder / "password").write_text("word")
    (folder / "p.toml").write_text(TEXT.format(port=port))
    return adapter.make(file.load(str(folder / "p.toml")), run)


def ask(folder: pathlib.Path, reply: bytes, op: Op = "hibernate", key: str = "k1") -> tuple[Answer, bytes]:
    """One operation against a server that says `reply` and closes; the answer, and what was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        asked.append(head + await reader.readexactly(length))
        writer.write(reply)
        await writer.drain()
        writer.close()

    async def main() -> Answer:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            speaks = speaker(folder, server.sockets[0].getsockname()[1])
            answer = await speaks.perform(Operation(cmd="c1", op=op, key=key, session="s1", user="a"))
            await speaks.close()
        return answer

    return asyncio.run(main()), b"".join(asked)


def http(status: int, body: object = "", text: str | None = None) -> bytes:
    data = (json.dumps(body) if text is None else text).encode()
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode()
        + data
    )


@pytest.mark.parametrize(
    ("op", "reply", "outcome", "rule"),
    [
        ("hibernate", http(202, {"commandId": "cmd-1"}), "ok", None),
        ("hibernate", http(202, text="not json"), "info", None),
        ("hibernate", http(409, {"error": "x"}), "fail", "wrong-state"),
        ("hibernate", http(404, {"error": "Session not found"}), "fail", "not-found"),
        ("hibernate", http(404, text="<html>default backend - 404</html>"), "fail", "nothing-there"),
        ("hibernate", http(302), "info", None),
        ("hibernate", http(202, []), "info", None),
        ("hibernate", http(202, text="null"), "info", None),
        ("hibernate", http(200, text="<html>please log in</html>"), "info", None),
        ("hibernate", http(502, text="<html>Bad Gateway</html>"), "info", None),
        ("hibernate", http(401), "fail", "no-token"),
        ("hibernate", http(500), "info", None),
        ("hibernate", http(503, {"error": "No agents available"}), "info", None),
        ("start", http(503, {"error": "No agents available"}), "fail", "no-agents"),
        ("start", http(429, {"error": "x", "retryAfter": 60}), "fail", "rate-limited"),
        ("start", http(503, {"error": "overloaded"}), "info", None),
        ("start", http(403, {"error": "Quota exceeded"}), "fail", "quota"),
        ("start", http(403, {"error": "forbidden"}), "info", None),
        ("step", http(202, {"id": "step-1", "stdout": "k1\n"}), "ok", None),
        ("step", http(202, {"id": "step-1", "stdout": "another\n", "stderr": "Traceback"}), "info", None),
        ("step", http(410), "fail", "gone"),
        ("stop", b"", "info", None),
        ("stop", b"HTTP/1.1 202 X\r\nContent-Length: 50\r\n\r\n{", "info", None),
        ("stop", b"nonsense\r\n\r\n", "info", None),
    ],
)
def test_only_what_surely_did_not_happen_is_a_fail_and_only_what_surely_did_is_ok(
    tmp_path: pathlib.Path, op: Op, reply: bytes, outcome: str, rule: str | None
) -> None:
    answer, _ = ask(tmp_path, reply, op)
    assert (answer.outcome, answer.rule) == (outcome, rule), answer
    assert answer.lo <= answer.hi


def test_a_refused_connection_is_a_fail_since_nothing_was_ever_connected(tmp_path: pathlib.Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        speaks = speaker(tmp_path, unused.getsockname()[1])
        answer = asyncio.run(speaks.perform(Operation(cmd="c1", op="stop", key="k", session="s1")))
    assert (answer.outcome, answer.rule) == ("fail", "unconnected")
    with pytest.raises(Unreachable, match="is the platform up"):
        asyncio.run(speaks.open())


def test_a_create_carries_its_key_and_its_answer_names_the_session_and_the_command(tmp_path: pathlib.Path) -> None:
    reply = http(
        202,
        {
            "name": "a-t-00000001",
            "status": {"message": "Session provisioning in progress (agent: a1, command: cmd-0a1b2c3d)"},
        },
    )
    answer, asked = ask(tmp_path, reply, "start", key="134217999")
    assert (answer.session, answer.id) == ("a-t-00000001", "cmd-0a1b2c3d")
    body = json.loads(asked.partition(b"\r\n\r\n")[2])
    assert body["resources"] == {"memory": "134217999", "cpu": "109m"}
    assert body["tags"] == ["reprise", "reprise-r1"]


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("cmd-0a1b2c3d", "cmd-0a1b2c3d"),
        ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
    ],
)
def test_ids_may_be_numbers_or_whole_uuids_and_whatever_else_may_be_null(
    tmp_path: pathlib.Path, command: str, named: str
) -> None:
    status = {"message": f"Session provisioning in progress (agent: a1, command: {command})", "url": None}
    answer, _ = ask(tmp_path, http(202, {"status": status, "name": 17, "tags": None, "resources": None}), "start")
    assert (answer.session, answer.id) == ("17", named)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer, "a history can be read again"
    bare, _ = ask(tmp_path, http(202, {"name": "s1", "status": None}), "start")
    assert (bare.outcome, bare.session, bare.id) == ("ok", "s1", None)
    counted, _ = ask(tmp_path, http(202, {"name": "s1", "commandId": 42, "message": None}))
    assert counted.id == "42"


@pytest.mark.parametrize(
    ("head", "body", "seconds"),
    [
        ("Retry-After: 7", "", 7.0),
        ("Retry-After: 0", "", 0.0),
        ("Retry-After: 1000000", "", 600.0),
        ("Retry-After: Thu, 01 Jan 1970 00:00:00 GMT", "", 0.0),
        ("Retry-After: soon", "", 1.0),
        ("Retry-After: nan", "", 1.0),
        ("X-Other: 1", '{"error": "x", "details": "y", "retryAfter": 60}', 60.0),
        ("X-Other: 1", "<html>slow down</html>", 1.0),
        ("X-Other: 1", "[]", 1.0),
    ],
)
def test_a_limit_of_rates_is_a_refusal_that_says_how_long_to_wait(
    tmp_path: pathlib.Path, head: str, body: str, seconds: float
) -> None:
    reply = http(429, text=body).replace(b"Content-Type: application/json", head.encode())
    answer, _ = ask(tmp_path, reply, "start")
    assert (answer.outcome, answer.rule, answer.retry_s) == ("fail", "rate-limited", seconds)


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (http(401), BadInput, r"refused with 401: check control.user and control.password"),
        (
            http(301).replace(b"Content-Type", b"Location: https://space.example.org/\r\nContent-Type"),
            BadInput,
            r"it leads to https://space.example.org/: set control.url to where",
        ),
        (http(429, {"retryAfter": 60}), Unreachable, r"takes no login for 60 s, by its limit of rates"),
        (http(503, text="<html>no upstream</html>"), Unreachable, r"answered with 503: is the platform up\?"),
        (http(200, text="<html>welcome</html>"), BadInput, r"has no token: check that this is the control plane"),
        (http(200, ["t"]), BadInput, r"has no token"),
    ],
)
def test_a_login_that_is_no_login_says_what_to_do(
    tmp_path: pathlib.Path, reply: bytes, kind: type[Exception], says: str
) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            await speaker(tmp_path, server.sockets[0].getsockname()[1]).open()

    with pytest.raises(kind, match=says):
        asyncio.run(main())


def test_keys_are_unique_in_a_run_and_differ_between_runs(tmp_path: pathlib.Path) -> None:
    one, other = speaker(tmp_path, 1, "r1").keys(48), speaker(tmp_path, 1, "r2").keys(48)
    assert len({*one, *other}) == 96
    assert all(BASE_MEMORY < int(key) < 2 * BASE_MEMORY for key in one + other)


def test_a_step_leaves_its_two_lines_in_the_working_directory_and_prints_its_key(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(step_code("r1.7"), {})  # as the session's interpreter does it
    assert capsys.readouterr().out.split()[0] == "r1.7"
    parse = workspaces_parser("r1")
    events = [parse(Seen("s1", line, 1, 2)) for line in (tmp_path / "ledger").read_bytes().splitlines()]
    assert [(event.mark, event.key, event.session, event.lo == event.hi) for event in events if event] == [
        ("b", "r1.7", "s1", True),
        ("e", "r1.7", "s1", True),
    ]
    assert workspaces_parser("r2")(Seen("s1", (tmp_path / "ledger").read_bytes().splitlines()[0], 1, 2)) is None


@pytest.mark.parametrize("limit", [200 << 20, resource.RLIM_INFINITY])
def test_what_a_process_may_take_is_what_the_kernel_says_of_it_while_it_lives(limit: int) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit, limit))
        inc = incarnation(process.pid)
        assert inc is not None
        line = {"t": 7, "mark": "up", "kind": "slot", "object": "s1", "gen": 1, "inc": list(inc)}
        parse = slots_parser(lambda spec: None)

        def limits() -> object:
            event = parse(Seen("slots", json.dumps(line).encode(), 5, 9))
            assert event is not None
            return event.limits

        assert limits() == {"memory": None if limit == resource.RLIM_INFINITY else limit}
        line["inc"] = [*inc[:3], 1]  # another life with this pid
        assert limits() == {}
    finally:
        process.kill()
        process.wait()
    line["inc"] = list(inc)
    assert limits() == {}


def test_a_slot_line_of_another_boot_is_known_only_between_two_looks() -> None:
    parse = slots_parser(lambda spec: str(spec["memory"]))
    parse(Seen("slots", b'{"v": 1, "boot": "another"}', 5, 9))
    event = parse(
        Seen(
            "slots",
            b'{"t": 7, "mark": "made", "kind": "slot", "object": "s1", "gen": 1, "spec": {"memory": "134217999"}}',
            5,
            9,
        )
    )
    assert event is not None
    assert (event.lo, event.hi, event.key, event.session) == (5, 9, "134217999", "s1")
