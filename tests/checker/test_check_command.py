"""`chaos reprise check`: anyone's history is judged by its files alone, or refused in one sentence that says where and why."""

import json
import pathlib

import msgspec
import pytest
from click.testing import CliRunner
from histories import complete, segments

from chaosreprise import cli
from chaosreprise.history import History, load

EXPOSURE = {"stop": 1, "hibernate": 1, "wake": 1}
encode = msgspec.json.encode


def write(history: History, folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    for writer, lines in segments(history).items():
        (folder / f"{writer}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return write(complete(n=1, seconds_of_steps=0.3, exposure=EXPOSURE).history(), tmp_path / "run" / "history")


def check(*places: object):
    return CliRunner().invoke(cli.reprise, ["check", *map(str, places)])


def refused(*places: object) -> str:
    told = check(*places)
    assert (told.exit_code, told.stdout) == (3, "")
    assert told.stderr.startswith("reprise: ")
    assert told.stderr.count("\n") == 1, told.stderr
    return told.stderr


def test_a_folder_the_folder_of_its_run_and_its_segments_are_the_same_history(folder: pathlib.Path):
    told = [check(folder), check(folder.parent), check(*folder.iterdir()), check(folder, folder / "load.jsonl")]
    assert [one.exit_code for one in told] == [0, 0, 0, 0]
    assert len({one.output for one in told}) == 1
    assert "PASS  agent-failover" in told[0].output


def test_it_says_what_recheck_says_of_a_run(folder: pathlib.Path):
    again = CliRunner().invoke(cli.reprise, ["recheck", str(folder.parent)])
    own, theirs = check(folder).stdout.splitlines(), again.stdout.splitlines()
    assert again.exit_code == 0
    assert own[2:-1] == theirs[2 : len(own) - 1]


def test_one_file_may_hold_all_segments_and_lack_its_last_line_feed(folder: pathlib.Path, tmp_path: pathlib.Path):
    whole = b"".join(path.read_bytes() for path in folder.iterdir())
    (tmp_path / "all.json").write_bytes(whole.rstrip(b"\n"))
    told = check(tmp_path / "all.json")
    assert (told.exit_code, told.stderr) == (0, "")


def test_the_exit_code_follows_the_verdict_and_json_is_the_verdict_alone(folder: pathlib.Path, tmp_path: pathlib.Path):
    made = complete(n=1, seconds_of_steps=0.3, exposure=EXPOSURE)
    made.effect("wake", "s-a2-hib0", 8.9)
    broken = write(made.history(), tmp_path / "broken")
    (folder / "warden.jsonl").unlink()
    for place, code, value in ((broken, 1, "false"), (folder, 2, "unknown")):
        told = check(place, "--json")
        assert told.exit_code == code
        assert json.loads(told.stdout)["verdict"] == value


@pytest.mark.parametrize("writer", ["load", "owner", "recorder", "warden"])
def test_a_torn_last_line_is_dropped_and_said_with_what_it_means(folder: pathlib.Path, writer: str):
    path = folder / f"{writer}.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    told = check(folder)
    assert told.exit_code == 2
    assert told.stderr.startswith(
        f"reprise: {writer}.jsonl: it ends within a line, or has none, and that end was dropped"
    )
    assert f"{writer}.jsonl ends in a torn line" in " ".join(told.stdout.split())


def test_an_empty_segment_is_one_whose_writer_died_before_its_first_line(folder: pathlib.Path):
    (folder / "takeover.jsonl").write_bytes(b"")
    told = check(folder)
    assert told.exit_code == 2
    assert told.stderr.startswith("reprise: takeover.jsonl: it ends within a line, or has none")


def test_without_a_contract_nothing_says_what_is_judged(folder: pathlib.Path):
    (folder / "owner.jsonl").unlink()
    told = check(folder)
    assert told.exit_code == 2
    assert "the history has no contract: nothing says what the run had to show" in told.stdout


PHASE = b'{"type":"phase","lo":1,"hi":1,"name":"x","edge":"begin"}'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "it is empty"),
        (b"\x00\x01\x02", "JSON is malformed"),
        (b"\xff" + PHASE, "JSON is malformed"),
        (PHASE.replace(b"x", b"\xff"), "invalid start byte"),
        (b"[" * 100_000, "array"),
        (b'{"type":"observe","lo":1,"hi":1,"source":"a","signal":"b","value":' + b"[" * 100_000, "nested too deeply"),
        (PHASE.replace(b'"lo":1', b'"lo":-1'), "Expected `int` >= 0 - at `$.lo`"),
        (PHASE.replace(b'"hi":1', b'"hi":' + b"9" * 30), "`$.hi`"),
        (PHASE.replace(b'"hi":1', b'"hi":' + b"9" * 9_999), "out of range"),
        (PHASE.replace(b'"hi":1', b'"hi":1.5'), "Expected `int`, got `float` - at `$.hi`"),
        (PHASE.replace(b'"lo":1', b'"lo":2'), "lo 2 is after hi 1"),
        (PHASE.replace(b"phase", b"fase"), "Invalid value 'fase' - at `$.type`"),
        (PHASE.replace(b'"name":"x",', b""), "missing required field `name`"),
    ],
    ids=range(13),
)
def test_a_line_that_is_no_event_is_refused_with_its_number_and_the_reason(
    folder: pathlib.Path, line: bytes, says: str
):
    path = folder / "load.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:4], line, *lines[4:]]))
    sentence = refused(folder)
    assert f"{path}, line 5: " in sentence
    assert says in sentence


def test_what_is_no_history_is_refused_in_a_sentence(folder: pathlib.Path, tmp_path: pathlib.Path):
    empty, hollow, binary = tmp_path / "empty.jsonl", tmp_path / "hollow", tmp_path / "binary"
    empty.touch()
    hollow.mkdir()
    binary.write_bytes(bytes(range(256)) * 9)
    assert f"{empty}: nothing in it" in refused(empty)
    assert f"{hollow}: no history there (expected *.jsonl)" in refused(hollow)
    assert f"{binary}, line 1: not an event of a history" in refused(binary)
    assert f"{tmp_path / 'none'}: can't be read (No such file or directory)" in refused(tmp_path / "none")
    assert "Missing argument 'FILE...'" in refused()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "can't be read (Too many levels of symbolic links)" in refused(tmp_path / "loop")
    lines = (folder / "load.jsonl").read_bytes().splitlines(keepends=True)
    empty.write_bytes(b"".join(lines[1:]))
    assert "line 1: a segment begins with an event of type segment" in refused(empty)
    empty.write_bytes(lines[0].replace(b'"v":1', b'"v":2'))
    assert "version 2 of the history format; this Reprise reads 1" in refused(empty)


def test_a_line_that_does_not_end_is_refused_before_it_is_all_read(folder: pathlib.Path, monkeypatch):
    monkeypatch.setattr("chaosreprise.history.reader.LONGEST_LINE", 2_000)
    with (folder / "load.jsonl").open("ab") as file:
        file.write(PHASE.replace(b"x", b"x" * 3_000) + b"\n")
    assert "longer than 2,000 bytes, which no line of a history is" in refused(folder)


@pytest.mark.parametrize("what", ["run", "boot"])
def test_segments_that_do_not_belong_together_are_refused(folder: pathlib.Path, tmp_path: pathlib.Path, what: str):
    history = load(folder)
    for segment in history.segments:
        segment.writer = f"other {segment.writer}"
        setattr(segment, what, "another")
    (tmp_path / "other.jsonl").write_bytes(encode(history.segments[0]))
    assert f"segments of different {what}s (another, " in refused(folder, tmp_path / "other.jsonl")


def test_a_copy_of_a_segment_and_a_second_contract_are_refused(folder: pathlib.Path, tmp_path: pathlib.Path):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((folder / "recorder.jsonl").read_bytes())
    assert "two segments of the writer 'recorder': leave one of them out" in refused(folder, copy)
    history = load(folder)
    with (folder / "recorder.jsonl").open("ab") as file:
        file.write(encode(history.contract) + b"\n")
    assert "2 contracts: a history has one" in refused(folder)
