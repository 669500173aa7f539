"""`chaos reprise conformance` on a real lab: it holds, catches what does not, and leaves nothing whatever ends it."""

import asyncio
import copy
import json
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import msgspec
import psycopg
import pytest
from runs import CHAOS, CLEAN, start_lab

from chaosreprise.errors import NotAllowed
from chaosreprise.faults import ledger
from chaosreprise.history import Answer, Effect, Report, Sign
from chaosreprise.history.events import Mark
from chaosreprise.platform import file
from chaosreprise.platform.adapter import Broken
from chaosreprise.run import conformance, conforming, doctor, litter
from chaosreprise.run.trial import Record, Trial
from chaosreprise.stack import starter

Edited = Callable[..., pathlib.Path]
WAIT_S = 20.0


def sessions(lab: starter.Stack) -> list[str]:
    """Those that have not ended."""
    query = "select id from sessions where state not in ('terminated', 'failed')"
    with psycopg.connect((lab.dir / "secrets" / "reader.dsn").read_text()) as connection:
        return [str(row[0]) for row in connection.execute(query).fetchall()]


def marks(lab: starter.Stack) -> list[pathlib.Path]:
    return litter.left(file.load(str(lab.platform_file)).id)


@pytest.fixture(scope="module")
def record(lab: starter.Stack) -> Record:
    """What a trial on a whole lab has seen."""
    platform = file.load(str(lab.platform_file))
    trial = Trial(platform, "conformance-test", lambda: None)

    async def go() -> None:
        try:
            await trial.go()
        finally:
            await trial.close()

    asyncio.run(go())
    return trial.record


@pytest.fixture
def spoilt(record: Record) -> Record:
    """A copy of its own, for a test that changes it."""
    own = copy.copy(record)
    own.events, own.sent = list(record.events), list(record.sent)
    own.refused, own.after = dict(record.refused), list(record.after)
    return own


def wrong(lab: starter.Stack, record: Record) -> dict[str, str]:
    found = conforming.shown(file.load(str(lab.platform_file)), record)
    return {f"{one.said.about} {one.said.name}".strip(): one.said.say for one in found if one.said.state != "ok"}


def costs(lab: starter.Stack, record: Record) -> list[str]:
    return conforming.untrusted(conforming.shown(file.load(str(lab.platform_file)), record))


def test_a_correct_lab_holds_everything_and_nothing_is_left(lab: starter.Stack) -> None:
    found = conformance.run(str(lab.platform_file))
    assert found.holds, found.lines()
    assert found.untrusted == []
    assert (sessions(lab), marks(lab)) == ([], [])
    told = {one.about for one in found.said}
    assert told == {"creates", "answer", "effect", "rows", "refused", "stream", "incarnations", "removal"}
    assert {one.name for one in found.said if one.about == "effect"} == {"start", "hibernate", "wake", "stop", "step"}
    refused = {one.name for one in found.said if one.about == "refused"}
    assert refused >= {"wake of one that runs", "create that asks for no quantity of memory"}
    assert refused >= {f"{op} without a login" for op in ("read", "start", "hibernate", "stop")}
    assert max(map(len, found.lines())) <= 110


def test_one_session_is_enough_where_the_budget_allows_no_more(edited: Edited) -> None:
    found = conformance.run(str(edited(("max_sessions = 60", "max_sessions = 1"))))
    assert found.holds, found.lines()
    assert "1, each another one" in "\n".join(found.lines())


def test_a_defect_of_the_platform_is_found_without_any_fault() -> None:
    lab = start_lab("ids-by-the-second")
    try:
        found = conformance.run(str(lab.platform_file))
        assert sessions(lab) == []
    finally:
        lab.end()
    assert not found.holds
    assert [one.name for one in found.said if one.about == "creates" and one.state == "not ok"] == ["command id"]
    assert "lost" in found.untrusted


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('stack = "lab-', 'stack = "not-lab-'), "another platform than the file was written for"),
        (("max_sessions = 60", "max_sessions = 0"), "not one session may be made"),
    ],
)
def test_a_platform_that_may_not_be_tried_is_not(
    change: tuple[str, str], says: str, lab: starter.Stack, edited: Edited
) -> None:
    with pytest.raises(NotAllowed, match=says):
        conformance.run(str(edited(change)))
    assert (sessions(lab), marks(lab)) == ([], [])


def test_it_keeps_off_a_platform_that_a_run_is_testing(lab: starter.Stack) -> None:
    with (
        ledger.lock(file.load(str(lab.platform_file)).id),
        pytest.raises(NotAllowed, match="being tested by another run"),
    ):
        conformance.run(str(lab.platform_file))


@pytest.fixture
def begun(lab: starter.Stack, tmp_path: pathlib.Path) -> Iterator["subprocess.Popen[str]"]:
    """One under way that has made a session."""
    command = [CHAOS, "--no-version-check", "--no-log-file", "reprise", "conformance", str(lab.platform_file)]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + WAIT_S
    while not sessions(lab):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_asked_to_end_removes_its_sessions_first(
    number: signal.Signals, lab: starter.Stack, begun: "subprocess.Popen[str]"
) -> None:
    begun.send_signal(number)
    _, said = begun.communicate(timeout=WAIT_S)
    assert begun.returncode == 3
    assert f"interrupted by {number.name}" in said
    assert sessions(lab) == []
    for _ in marks(lab):  # only if a create was under way: the next one looks again
        conformance.run(str(lab.platform_file))
    assert marks(lab) == []


def test_what_a_killed_one_leaves_is_said_and_removed_by_the_next(
    lab: starter.Stack, begun: "subprocess.Popen[str]"
) -> None:
    begun.kill()
    begun.wait()
    [mark] = marks(lab)
    said = doctor.examine(str(lab.platform_file)).said
    assert any(mark.name in one.say and one.about == "left" for one in said)
    assert any("are there" in one.say and one.about == "sessions" for one in said), said
    found = conformance.run(str(lab.platform_file))
    assert found.holds
    assert any(f"sessions of run {mark.name} were left: stopped" in one.say for one in found.said)
    assert (sessions(lab), marks(lab)) == ([], [])


def test_an_effect_that_comes_twice_or_never_or_late_is_found(lab: starter.Stack, spoilt: Record) -> None:
    assert wrong(lab, spoilt) == {}
    made = next(one for one in spoilt.events if isinstance(one, Effect) and one.mark == "made" and one.key)
    spoilt.events.append(msgspec.structs.replace(made, gen=99))
    assert "is 2 times in slots, not once" in wrong(lab, spoilt)["effect start"]
    spoilt.events = [one for one in spoilt.events if not (isinstance(one, Effect) and one.mark == "down")]
    assert "is 0 times in slots, not once" in wrong(lab, spoilt)["effect hibernate"]
    late = spoilt.description.bounds["step"] * 2
    spoilt.events = [
        msgspec.structs.replace(one, hi=one.hi + late) if isinstance(one, Effect) and one.mark == "e" else one
        for one in spoilt.events
    ]
    assert "beyond its bound" in wrong(lab, spoilt)["effect step"]
    assert {"lost", "duplicate", "late"} <= set(costs(lab, spoilt))


def test_a_session_that_is_not_heard_of_by_its_name_is_found(lab: starter.Stack, spoilt: Record) -> None:
    spoilt.description = msgspec.structs.replace(spoilt.description, signs=["witness"])
    for name in spoilt.sessions:
        spoilt.events.append(Sign(lo=1, hi=1, ledger="witness", session=name, inc=["p", "b"], number=1))
    assert wrong(lab, spoilt) == {}
    spoilt.events[-1].session = "x1"
    said = f"1 of {len(spoilt.sessions)} sessions were not heard of: {spoilt.sessions[-1]}, but somebody called x1"
    assert wrong(lab, spoilt) == {"signs witness": said}
    assert {"split-brain", "state-loss"} <= set(costs(lab, spoilt))


def test_a_home_that_was_not_asked_for_or_is_missing_or_goes_too_soon_is_found(
    lab: starter.Stack, spoilt: Record
) -> None:
    spoilt.description = msgspec.structs.replace(spoilt.description, homes="homes")
    first, bare, *_ = spoilt.sessions
    started = {one.answer.session: one for one in spoilt.sent if one.operation.op == "start"}
    at = spoilt.sent.index(started[bare])
    spoilt.sent[at] = started[bare]._replace(
        operation=msgspec.structs.replace(started[bare].operation, persistent=False)
    )

    def claim(session: str, mark: Mark, moment: int) -> None:
        home = f"{session}-home.1"
        spoilt.events.append(Effect(lo=moment, hi=moment, ledger="homes", object=home, session=session, mark=mark))

    assert "asked for one, and has 0 claims" in wrong(lab, spoilt)["homes"]
    for name in {*spoilt.sessions} - {bare}:
        claim(name, "made", started[name].answer.hi)
    assert wrong(lab, spoilt) == {}
    whole = [*spoilt.events]
    claim(bare, "made", 1)
    assert wrong(lab, spoilt) == {"homes": f"{bare} asked for none, and has {bare}-home.1"}
    spoilt.events = whole
    claim(first, "gone", started[first].answer.hi + 1)
    assert wrong(lab, spoilt) == {"homes": f"{first}-home.1 was gone before its session was told to end"}
    assert "state-loss" in costs(lab, spoilt)


def test_a_key_that_does_not_come_back_in_a_row_is_found(lab: starter.Stack, spoilt: Record) -> None:
    spoilt.events = [
        msgspec.structs.replace(one, fields=one.fields | {"key": "268435456"})
        if isinstance(one, Report) and one.about == "session"
        else one
        for one in spoilt.events
    ]
    assert "has not the key" in wrong(lab, spoilt)["rows keys"]
    assert "lifecycle" in costs(lab, spoilt)


def test_a_state_without_a_way_and_a_command_that_stays_open_are_found(lab: starter.Stack, spoilt: Record) -> None:
    last = [one for one in spoilt.events if isinstance(one, Report) and one.about == "session"][-1]
    spoilt.events.append(msgspec.structs.replace(last, state="running"))
    assert "went from terminated to running" in wrong(lab, spoilt)["rows states"]
    command = [one for one in spoilt.events if isinstance(one, Report) and one.about == "command"][-1]
    spoilt.events.append(msgspec.structs.replace(command, state="sent"))
    assert f"{command.id} is sent" in wrong(lab, spoilt)["rows commands"]
    spoilt.events[-1].state = "pending"
    assert f"{command.id} is pending for {command.owner}, which is called online" in wrong(lab, spoilt)["rows commands"]


def test_a_refusal_that_is_none_is_found(lab: starter.Stack, spoilt: Record) -> None:
    for what, outcome in (("wake of one that runs", "ok"), ("read without a login", "info")):
        one = spoilt.refused[what]
        spoilt.refused[what] = one._replace(answer=Answer(lo=1, hi=2, cmd="x", outcome=outcome, status=500))  # type: ignore[arg-type]
    found = wrong(lab, spoilt)
    assert "was accepted: status 500" in found["refused wake of one that runs"]
    assert "not in the adapter's table" in found["refused read without a login"]
    assert {"phantom", "lost"} <= set(costs(lab, spoilt))


def test_an_answer_that_lacks_a_field_and_a_list_that_lacks_a_session_are_found(
    lab: starter.Stack, spoilt: Record
) -> None:
    spoilt.sent = [one._replace(answer=msgspec.structs.replace(one.answer, id=None, listed=[])) for one in spoilt.sent]
    found = wrong(lab, spoilt)
    assert "it names no command" in found["answer hibernate"]
    assert "the list lacks" in found["answer list"]


def test_a_component_that_changes_and_a_stream_that_breaks_or_stays_are_found(
    lab: starter.Stack, spoilt: Record
) -> None:
    spoilt.after = [
        msgspec.structs.replace(one, inc=[*one.inc[:3], 1]) if one.name == "agents/a1" and one.inc else one
        for one in spoilt.after
    ]
    assert "agents/a1 changed while nothing was broken" in wrong(lab, spoilt)["incarnations"]
    spoilt.broke = None
    assert "did not end with its session" in wrong(lab, spoilt)["stream"]
    spoilt.broke_early = Broken(1, 2, "reset")
    assert "broke while its session ran: reset" in wrong(lab, spoilt)["stream"]
    assert "interrupted" in costs(lab, spoilt)


def test_the_command_says_it_for_machines_and_ends_with_0(lab: starter.Stack, tmp_path: pathlib.Path) -> None:
    command = [CHAOS, "--no-version-check", "--no-log-file", "reprise", "conformance", "--json", str(lab.platform_file)]
    done = subprocess.run(command, cwd=tmp_path, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["holds"] is True
