"""Slots: compare-and-set, interpreters, workspaces, the ledger."""

import asyncio
import json
import os
import signal
import socket
import stat

import pytest
import toystack
from toystack import ask, eventually

from chaosreprise.errors import BadInput, Unreachable
from chaosreprise.procs import is_alive, send_signal
from chaosreprise.stack.client import AsyncKeeper, Conflict, Keeper, SlotGone


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """One for all tests here: each has a slot of its own."""
    stack = toystack.launch([], folder=tmp_path_factory.mktemp("stacks") / "shared")
    yield stack
    stack.end()


@pytest.fixture
def s1(request):
    return f"s-{abs(hash(request.node.name))}"


@pytest.fixture
def keeper(stack):
    with Keeper(stack.address) as keeper:
        yield keeper


def marks(stack, slot):
    return [(line["mark"], line["gen"], line["inc"] and line["inc"][2]) for line in toystack.ledger(stack, slot)]


def test_a_made_slot_has_an_interpreter_that_answers_in_its_workspace_with_its_token(stack, keeper, s1):
    slot = keeper.make(s1, 0, note=7, spec={"memory": "2Gi"})
    said = ask(slot.processes[0].port)
    assert said["pid"] == slot.processes[0].inc.pid
    assert said["cwd"] == slot.workspace == str(stack.dir / "workspaces" / s1)
    assert said["env"]["REPRISE_SESSION_TOKEN"] == slot.token
    assert stat.S_IMODE((stack.dir / "workspaces" / s1).stat().st_mode) == 0o750
    assert (slot.gen, slot.state, slot.note, slot.spec) == (1, "up", 7, {"memory": "2Gi"})
    assert keeper.get(s1) == slot


def test_a_slot_never_made_is_null(keeper, s1):
    assert keeper.get(s1) is None


def test_a_change_of_another_generation_is_a_conflict_that_carries_the_slot(stack, keeper, s1):
    made = keeper.make(s1, 0)
    with pytest.raises(Conflict) as caught:
        keeper.down(s1, 0)
    assert caught.value.slot == made
    with pytest.raises(Conflict):
        keeper.make(s1, 0)
    assert [mark for mark, *_ in marks(stack, s1)] == ["made", "up"]


def test_the_life_of_a_slot_is_in_the_ledger_in_its_order(stack, keeper, s1):
    first = keeper.make(s1, 0, spec="x").processes[0].inc
    assert keeper.down(s1, 1, note=2).processes == []
    assert not is_alive(first)
    second = keeper.up(s1, 2).processes[0].inc
    assert keeper.gone(s1, 3).state == "gone"
    assert not is_alive(second)
    assert marks(stack, s1) == [
        ("made", 1, None),
        ("up", 1, first.pid),
        ("down", 2, first.pid),
        ("up", 3, second.pid),
        ("down", 4, second.pid),
        ("gone", 4, None),
    ]
    lines = toystack.ledger(stack, s1)
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
    assert [line["spec"] for line in lines] == ["x", None, None, None, None, None]


def test_the_workspace_is_kept_over_down_and_after_gone(stack, keeper, s1):
    workspace = stack.dir / "workspaces" / s1
    keeper.make(s1, 0)
    (workspace / "file").write_text("kept")
    keeper.down(s1, 1)
    keeper.up(s1, 2)
    keeper.gone(s1, 3)
    assert (workspace / "file").read_text() == "kept"


def test_a_slot_that_is_gone_can_only_be_made_again_with_another_token(keeper, s1):
    before = keeper.make(s1, 0)
    keeper.gone(s1, 1)
    for verb in (keeper.up, keeper.down, keeper.gone):
        with pytest.raises(SlotGone):
            verb(s1, 2)
    with pytest.raises(SlotGone):
        keeper.up("never", 0)
    after = keeper.make(s1, 2)
    assert after.gen == 3
    assert after.token != before.token


def test_a_replayed_up_starts_a_second_interpreter_beside_the_first(stack, keeper, s1):
    keeper.make(s1, 0)
    slot = keeper.up(s1, 1)
    assert len({ask(process.port)["pid"] for process in slot.processes}) == 2
    assert len(keeper.make(s1, 2).processes) == 3
    keeper.down(s1, 3)
    assert [mark for mark, *_ in marks(stack, s1)] == ["made", "up", "up", "made", "up", "down", "down", "down"]


def test_an_interpreter_that_dies_by_itself_is_a_crash_and_comes_back_in_the_same_generation(stack, keeper, s1):
    slot = keeper.make(s1, 0)
    first = slot.processes[0].inc
    send_signal(first, signal.SIGKILL)
    back = eventually(lambda: [process.inc for process in keeper.get(s1).processes if process.inc != first])[0]
    assert ask(keeper.get(s1).processes[0].port)["env"]["REPRISE_SESSION_TOKEN"] == slot.token
    assert marks(stack, s1)[2:] == [("crash", 1, first.pid), ("back", 1, back.pid)]


def test_an_interpreter_that_crashes_comes_back_on_its_port_and_refuses_connections_meanwhile(launch, s1):
    stack = launch([], backoff_s=0.3)
    with Keeper(stack.address) as keeper:
        slot = keeper.make(s1, 0)
        for _ in range(2):
            was = keeper.get(s1).processes[0]
            with socket.create_connection(("127.0.0.1", was.port), 5):  # one that lives on beyond the crash, too
                send_signal(was.inc, signal.SIGKILL)
                eventually(lambda: not keeper.get(s1).processes)
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", was.port), 5)
                back = eventually(lambda: keeper.get(s1).processes)[0]
            assert (back.port, ask(back.port)["pid"]) == (slot.processes[0].port, back.inc.pid)
        assert back.inc != was.inc


def test_each_interpreter_of_a_slot_keeps_a_port_of_its_own(stack, keeper, s1):
    keeper.make(s1, 0)
    before = keeper.up(s1, 1).processes
    send_signal(before[0].inc, signal.SIGKILL)
    eventually(lambda: (now := keeper.get(s1).processes) and len(now) == 2 and before[0] not in now)
    assert {process.port for process in keeper.get(s1).processes} == {process.port for process in before}
    assert len({ask(process.port)["pid"] for process in before}) == 2


def test_down_between_crash_and_back_is_still_one_down(stack, keeper, s1):
    slot = keeper.make(s1, 0)
    send_signal(slot.processes[0].inc, signal.SIGKILL)
    eventually(lambda: not keeper.get(s1).processes)
    keeper.down(s1, 1)
    keeper.down(s1, 2)
    assert marks(stack, s1)[3:] == [("down", 2, None)]


def test_an_interpreter_with_a_grace_is_asked_first(launch, s1):
    stack = launch([], grace_s=2.0)
    with Keeper(stack.address) as keeper:
        slot = keeper.make(s1, 0)
        ask(slot.processes[0].port)
        keeper.down(s1, 1)  # the default action of SIGTERM: well within the grace
        assert not is_alive(slot.processes[0].inc)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101])
def test_a_slot_name_that_is_no_folder_name_is_refused(keeper, name):
    with pytest.raises(BadInput, match="expected up to 100 of"):
        keeper.make(name, 0)


def test_many_slots_change_at_once_and_each_once(launch):
    stack = launch([])

    async def churn():
        async with await AsyncKeeper.connect(stack.address) as keeper:
            await asyncio.gather(*(keeper.make(f"s{n}", 0) for n in range(10)))
            both = await asyncio.gather(*(keeper.down("s1", 1) for _ in range(2)), return_exceptions=True)
            assert sorted(type(answer).__name__ for answer in both) == ["Conflict", "Slot"]
            await asyncio.gather(*(keeper.gone(f"s{n}", 1) for n in (0, *range(2, 10))))
            return await keeper.status()

    status = asyncio.run(churn())
    assert [slot.state for slot in status.slots].count("gone") == 9


def test_an_asynchronous_client_learns_that_the_stack_has_ended(launch):
    stack = launch([])

    async def end():
        async with (
            await AsyncKeeper.connect(stack.address) as first,
            await AsyncKeeper.connect(stack.address) as second,
        ):
            await first.end()
            with pytest.raises(Unreachable):
                await second.status()

    asyncio.run(end())


def test_a_client_that_does_not_read_holds_up_nobody(stack, keeper):
    for number in range(4):
        keeper.make(f"slow{number}", 0, note="x" * 10000)
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect("\0" + stack.address[1:])
        slow.settimeout(0.5)
        request = b'{"id": 1, "do": "status"}\n' * 500
        for _ in range(4):
            try:
                slow.sendall(request)
            except OSError:  # dropped
                break
        assert keeper.status().ready


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"hello", "malformed"),
        (b'{"id": 1, "do": "explode"}', "explode"),
        (b'{"id": 1, "do": "up", "slot": "s1", "gen": "1"}', "Expected `int`"),
        (b'{"id": 1, "do": "end", "now": true}', "unknown field"),
    ],
)
def test_a_bad_request_is_answered_with_what_is_wrong(stack, line, expected):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + stack.address[1:])
        connection.sendall(line + b"\n")
        answer = json.loads(connection.recv(10000))
    assert answer["code"] == "bad-request"
    assert expected in answer["say"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_gets_no_answer(stack):
    with socket.socket(socket.AF_UNIX) as connection:
        os.seteuid(65534)
        try:
            connection.connect("\0" + stack.address[1:])
        finally:
            os.seteuid(0)
        try:
            connection.sendall(b'{"id": 1, "do": "status"}\n')
            assert connection.recv(10) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass
