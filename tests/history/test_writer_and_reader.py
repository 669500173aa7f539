"""A history is written whole, read strictly, and followed while it grows."""

import os
import pathlib
import resource
import signal
import time

import pytest

from chaosreprise.errors import BadInput, RunBroken
from chaosreprise.history import Coverage, Phase, Submit, Tail, Writer, load
from chaosreprise.history.writer import BATCH_S


def phase(at: int) -> Phase:
    return Phase(lo=at, hi=at, name="baseline", edge="begin")


def test_what_was_written_is_read_in_order_of_time_whatever_the_segment(tmp_path: pathlib.Path) -> None:
    with Writer(tmp_path, "a", "r1") as a, Writer(tmp_path, "b", "r1") as b:
        a.write(phase(30))
        b.write(phase(10))
        a.write(phase(20))
    history = load(tmp_path)
    assert [event.lo for event in history.events] == [10, 20, 30]
    assert sorted(segment.writer for segment in history.segments) == ["a", "b"]
    assert history.torn == []


def test_a_submit_is_in_the_kernel_when_write_returns_and_behind_what_came_before(tmp_path: pathlib.Path) -> None:
    with Writer(tmp_path, "load", "r1") as writer:
        writer.write(phase(1))
        writer.write(Submit(lo=2, hi=2, cmd="cmd-1", op="stop", key="k", intended=2), at_once=True)
        assert [event.lo for event in load(tmp_path).events] == [1, 2]


def test_a_torn_last_line_is_dropped_and_named_and_any_other_bad_line_is_refused_with_its_number(
    tmp_path: pathlib.Path,
) -> None:
    with Writer(tmp_path, "load", "r1") as writer:
        writer.write(phase(1))
    path = tmp_path / "load.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"type":"phase","lo":')
    history = load(tmp_path)
    assert (len(history.events), history.torn) == (1, ["load.jsonl"])
    path.write_bytes(whole + b'{"type":"phase","lo":\n' + whole.splitlines()[1] + b"\n")
    with pytest.raises(BadInput, match=r"load.jsonl, line 3: not an event"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"type":"phase","lo":5,"hi":1,"name":"x","edge":"begin"}', "lo 5 is after hi 1"),
        (b'{"type":"phase","lo":1,"hi":1,"name":"x","edge":"middle"}', "Invalid enum value 'middle'"),
        (b'{"type":"nothing"}', "Invalid value 'nothing'"),
        (b"\xff\xfe", "not an event"),
        (b'{"type":"submit","lo":1,"hi":1,"cmd":"c","op":"explode","intended":1,"key":"k"}', "explode"),
    ],
)
def test_a_line_that_is_no_event_is_refused_with_the_reason(tmp_path: pathlib.Path, line: bytes, reason: str) -> None:
    with Writer(tmp_path, "load", "r1"):
        pass
    with (tmp_path / "load.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(BadInput, match=reason):
        load(tmp_path)


def test_segments_of_two_runs_are_not_judged_together(tmp_path: pathlib.Path) -> None:
    with Writer(tmp_path, "a", "r1"), Writer(tmp_path, "b", "r2"):
        pass
    with pytest.raises(BadInput, match="different runs"):
        load(tmp_path)


def test_a_folder_without_a_history_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BadInput, match="no history there"):
        load(tmp_path)


def test_a_tail_yields_each_event_once_and_waits_for_the_end_of_a_line(tmp_path: pathlib.Path) -> None:
    tail = Tail(tmp_path)
    with Writer(tmp_path, "a", "r1") as writer:
        writer.write(phase(1), at_once=True)
        assert len(list(tail.new())) == 2
        assert list(tail.new()) == []
        with (tmp_path / "a.jsonl").open("ab") as file:
            file.write(b'{"type":"phase","lo":2,"hi":2,')
            file.flush()
            assert list(tail.new()) == []
            file.write(b'"name":"quiet","edge":"begin"}\n')
        assert [event.name for event in tail.new()] == ["quiet"]  # type: ignore[union-attr]


def write_until_it_is_said(writer: Writer, at_once: bool) -> None:
    for _ in range(1 if at_once else 1000):
        writer.write(Coverage(lo=1, hi=1, of="rows", on=True, why="x" * 100), at_once=at_once)
        time.sleep(0 if at_once else BATCH_S / 2)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_full_disk_is_said_by_a_write_at_once_and_by_the_next_one_of_a_batch(
    tmp_path: pathlib.Path, at_once: bool
) -> None:
    writer = Writer(tmp_path, "a", "r1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(writer.path).st_size + 10, hard))
    try:
        with pytest.raises(RunBroken, match=r"a\.jsonl: can't be written"):
            write_until_it_is_said(writer, at_once)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
        with pytest.raises(RunBroken):
            writer.close()


def test_a_segment_is_never_written_twice(tmp_path: pathlib.Path) -> None:
    with Writer(tmp_path, "a", "r1"):
        pass
    with pytest.raises(RunBroken, match="File exists"):
        Writer(tmp_path, "a", "r1")
