"""`chaos reprise conformance` on real sandboxes, which list nothing: it holds, and finds without any fault what is wrong."""

import asyncio
import copy
import pathlib
import subprocess
from collections.abc import Iterator

import httpx
import msgspec
import pytest
import sandboxes
from runs import CHAOS, start_lab

from chaosreprise.history import Effect, Report
from chaosreprise.platform import file, made
from chaosreprise.platform.file import Platform
from chaosreprise.run import conformance, conforming, doctor, labs
from chaosreprise.run.trial import Record, Trial
from chaosreprise.stack import starter

TOGETHER = "creates at once"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One that asks for tokens."""
    path = sandboxes.platform_file(tmp_path_factory.mktemp("sandbox"), authentication=True)
    with labs.standing(file.load(str(path))) as platform:
        yield platform


@pytest.fixture(scope="module")
def embedded() -> Iterator[starter.Stack]:
    stack = start_lab(serves="sandbox")
    try:
        yield stack
    finally:
        stack.end()


@pytest.fixture(scope="module")
def record(sandbox: Platform) -> Record:
    """What a trial on a correct sandbox has seen."""
    trial = Trial(sandbox, "conformance-test", lambda: None)

    async def go() -> None:
        try:
            await trial.go()
        finally:
            await trial.close()

    asyncio.run(go())
    return trial.record


@pytest.fixture
def spoilt(record: Record) -> Record:
    own = copy.copy(record)
    own.events, own.sent, own.refused = list(record.events), list(record.sent), dict(record.refused)
    own.at_once = list(record.at_once)
    return own


def told(sandbox: Platform, record: Record, *states: str) -> dict[str, str]:
    found = conforming.shown(sandbox, record)
    return {f"{one.said.about} {one.said.name}".strip(): one.said.say for one in found if one.said.state in states}


def test_a_correct_sandbox_holds_everything_and_creates_of_one_second_were_tried(
    sandbox: Platform, record: Record
) -> None:
    assert told(sandbox, record, "limited", "not ok") == {}
    said = told(sandbox, record, "ok")
    assert said.keys() >= {
        "creates session",
        "creates command id",
        TOGETHER,
        "answer step",
        "effect step",
        "ended",
        "rows sessions",
    }
    for what, rule in (("runtime", "bad-request"), ("token", "not-authenticated")):
        assert said[f"refused create without a {what}"] == f"by the rule {rule}"
    assert said["refused stop of a session that never was"] == "by the rule no-such-session"
    assert said["refused step of one that has ended"] == "by status 500, which proves nothing by itself"
    for what in ("create with an unsigned token", "step of another tenant", "step of another tenant at the tools"):
        assert said[f"refused {what}"] == "by the rule not-authenticated"
    assert said["refused and left"] == "nothing: none of 18 had an effect"
    taken = [one for one in record.at_once if one.answer.outcome == "ok"]
    assert len(record.at_once) == 3
    assert f"3 within {0.0:.1f}" in said[TOGETHER]
    assert f"{len(taken)} accepted, {3 - len(taken)} turned away" in said[TOGETHER]


def test_creates_that_left_too_far_apart_or_not_at_all_are_no_pass(sandbox: Platform, spoilt: Record) -> None:
    first = spoilt.at_once[0]
    late = msgspec.structs.replace(first.answer, lo=first.answer.lo + 2 * 10**9)
    spoilt.at_once[0] = first._replace(answer=late)
    assert "was not tried: they left too far apart" in told(sandbox, spoilt, "limited")[TOGETHER]
    spoilt.at_once = []
    assert "was not tried: 3 within one second" in told(sandbox, spoilt, "limited")[TOGETHER]
    assert "isolation" in conforming.untrusted(conforming.shown(sandbox, spoilt))


def test_a_row_an_effect_and_a_key_that_are_missing_are_found(sandbox: Platform, spoilt: Record) -> None:
    whole, spoilt.events = spoilt.events, [one for one in spoilt.events if not isinstance(one, Report)]
    found = told(sandbox, spoilt, "not ok")
    assert "have none, such as session-" in found["rows sessions"]
    assert "have none, such as step-" in found["rows commands"]
    spoilt.events = [one for one in whole if not isinstance(one, Effect)]
    assert "is 0 times in workspaces, not once" in told(sandbox, spoilt, "not ok")["effect step"]
    spoilt.sent = [
        one._replace(answer=msgspec.structs.replace(one.answer, result=None)) if one.operation.op == "step" else one
        for one in spoilt.sent
    ]
    assert "does not begin with the key" in told(sandbox, spoilt, "not ok")["answer step"]


@pytest.mark.parametrize(
    ("defect", "about"),
    [
        ("shared-id", "creates at once"),
        pytest.param("runs-after-terminate", "refused step of one that has ended", marks=pytest.mark.thorough),
        pytest.param("open-door", "refused create without a token", marks=pytest.mark.thorough),
        pytest.param("any-signature", "refused create with a forged token", marks=pytest.mark.thorough),
    ],
)
def test_a_defect_of_the_platform_is_found_without_any_fault(defect: str, about: str, tmp_path: pathlib.Path) -> None:
    path = sandboxes.platform_file(tmp_path, defect=defect, authentication=defect in ("open-door", "any-signature"))
    found = conformance.run(str(path))
    assert not found.holds
    assert about in [f"{one.about} {one.name}" for one in found.said if one.state == "not ok"], found.lines()
    assert "isolation" in found.untrusted or defect != "shared-id"


def test_who_is_cut_short_stops_what_it_has_made_since_nobody_else_could(
    sandbox: Platform,
) -> None:
    made: list[str] = []

    async def go() -> None:
        trial = Trial(sandbox, "conformance-cut", lambda: None)
        task = asyncio.create_task(trial.go())
        while not trial.record.sessions:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made.extend(trial.record.sessions)
        await trial.close()

    asyncio.run(go())
    assert made
    assert sandbox.file.sandbox is not None
    for name in made:
        url = f"{sandbox.file.sandbox.data_plane}/sessions/{name}/terminate"
        assert httpx.post(url, trust_env=False).status_code == 404, "it has ended"


def test_what_one_that_was_killed_has_made_is_ended_by_heal(
    embedded: starter.Stack, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = str(embedded.platform_file)
    own = made.mark(file.load(path).id, "")
    trying = subprocess.Popen([CHAOS, "--no-version-check", "--no-log-file", "reprise", "conformance", path])
    sandboxes.until(lambda: any(b'"made"' in mark.read_bytes() for mark in own.glob("*")), "a session was made")
    trying.kill()
    trying.wait()
    [mark] = own.glob("*")
    [session, *_] = made.Made(file.load(path).id, mark.name).known().left
    told = subprocess.run([CHAOS, "reprise", "heal"], capture_output=True, text=True)
    assert f"sessions of run {mark.name} were left: stopped" in told.stdout, told.stdout + told.stderr
    assert not mark.exists()
    at = file.load(path).file.sandbox
    assert at is not None
    assert httpx.post(f"{at.data_plane}/sessions/{session}/terminate", trust_env=False).status_code == 404


def test_before_a_run_nobody_is_connected_to_an_agent_and_doctor_says_that_its_link_can_be_broken() -> None:
    stack = start_lab(serves="sandbox")
    try:
        found = doctor.examine(str(stack.platform_file))
    finally:
        stack.end()
    said = {f"{one.about} {one.name}": one.state for one in found.said}
    assert said["experiment sandbox-latency"] == said["fault links.latency"] == "ok", found.lines()


@pytest.mark.thorough
def test_the_embedded_one_holds_too_and_asks_nobody_for_a_token(embedded: starter.Stack) -> None:
    found = conformance.run(str(embedded.platform_file))
    assert found.holds, found.lines()
    assert not [one for one in found.said if "token" in one.name]
