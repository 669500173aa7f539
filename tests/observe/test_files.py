"""A ledger in files: every line once, and every moment that was not watched is a gap."""

import asyncio
import json
import pathlib
from collections.abc import Callable

from chaosreprise.clock import SystemClock
from chaosreprise.history import Coverage, Effect, Timed
from chaosreprise.observe import FileSource, FolderSource, Seen

HZ = 200


def parse(seen: Seen) -> Effect | None:
    line = json.loads(seen.line)
    return (
        None if line == "other" else Effect(lo=seen.lo, hi=seen.hi, ledger="l", object=seen.object, mark="b", key=line)
    )


def watch(source: FileSource | FolderSource, *steps: Callable[[], object]) -> list[Timed]:
    """Run a source, with a few looks between the steps; returns what it emitted."""
    events: list[Timed] = []

    async def main() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(source.run(SystemClock(), events.append, stop))
        for step in steps:
            await asyncio.sleep(8 / HZ)
            step()
        await asyncio.sleep(8 / HZ)
        stop.set()
        await task

    asyncio.run(main())
    return events


def keys(events: list[Timed]) -> list[str | None]:
    return [event.key for event in events if isinstance(event, Effect)]


def coverage(events: list[Timed]) -> list[tuple[str, bool, str]]:
    return [(event.of, event.on, event.why) for event in events if isinstance(event, Coverage)]


def append(path: pathlib.Path, text: str) -> Callable[[], object]:
    def step() -> None:
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(text)

    return step


def test_each_line_is_seen_once_within_its_two_looks_and_a_torn_one_when_it_is_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_text('"1"\n')
    events = watch(FileSource("l", path, HZ, parse), append(path, '"2"\n"thr'), append(path, 'ee"\n"other"\n'))
    assert keys(events) == ["1", "2", "three"]
    assert coverage(events) == [("l", True, "watching"), ("l", False, "done")]
    assert all(event.lo <= event.hi for event in events)


def test_a_file_that_shrank_is_a_gap_and_its_lines_are_not_seen_twice(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_text('"1"\n"2"\n')
    events = watch(FileSource("l", path, HZ, parse), lambda: path.write_text('"1"\n'), append(path, '"3"\n'))
    assert keys(events) == ["1", "2", "3"]
    assert next(what for what in coverage(events) if not what[1]) == ("l", False, "f shrank")


def test_a_file_that_was_replaced_or_vanished_is_a_gap(tmp_path: pathlib.Path) -> None:
    path, other = tmp_path / "f", tmp_path / "g"
    path.write_text('"1"\n')
    other.write_text('"1"\n"2"\n')
    events = watch(FileSource("l", path, HZ, parse), lambda: other.replace(path), path.unlink)
    reasons = [why for _, on, why in coverage(events) if not on]
    assert "f was replaced" in reasons
    assert reasons[-1].startswith("f vanished")
    assert keys(events) == ["1"]


def test_a_line_that_nobody_can_read_is_a_gap(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_text('"1"\n')
    events = watch(FileSource("l", path, HZ, parse), append(path, "not json\n"))
    assert any(not on and why.startswith("a line can't be read") for _, on, why in coverage(events))


def test_a_file_not_yet_made_in_a_watched_folder_is_covered_and_empty(tmp_path: pathlib.Path) -> None:
    events = watch(FolderSource("w", tmp_path, "ledger", HZ, parse), append(tmp_path / "s1" / "ledger", '"1"\n'))
    assert keys(events) == ["1"]
    assert [event.object for event in events if isinstance(event, Effect)] == ["s1"]
    assert coverage(events) == [("w", True, "watching"), ("w", False, "done")]


def test_a_gap_of_one_object_leaves_the_others_covered(tmp_path: pathlib.Path) -> None:
    ledger = tmp_path / "s1" / "ledger"
    append(ledger, '"1"\n')()
    events = watch(FolderSource("w", tmp_path, "ledger", HZ, parse), ledger.unlink)
    assert [(of, on) for of, on, _ in coverage(events)] == [("w", True), ("w/s1", False), ("w/s1", True), ("w", False)]


def test_a_folder_that_vanishes_ends_the_coverage_of_all(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    events = watch(FolderSource("w", folder, "ledger", HZ, parse), folder.rmdir)
    assert [(of, on) for of, on, _ in coverage(events)] == [("w", True), ("w", False)]
    assert "is not there: make it" in coverage(events)[1][2]
