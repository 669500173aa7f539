"""Sessions that a run made and could not stop because it was killed: litter, a fault whose undo is to stop them.

A run leaves a mark in the user's state directory before its first session, and takes it away after its last one is stopped.
The mark names the platform file, so that `chaos reprise heal` can stop them as well as the next run can; passwords stand
in that file by reference only. Only sessions of runs with a mark are touched: a tag alone may be somebody else's. Where nothing
lists sessions their names stand in the mark, too (`platform.made`).
"""

import asyncio
import contextlib
import pathlib
from collections.abc import Iterator

import msgspec

from chaosreprise.errors import NotAllowed, RepriseError, RunBroken
from chaosreprise.faults import ledger
from chaosreprise.kubernetes.forwarding import forwarded
from chaosreprise.paths import slug, state_dir, state_path
from chaosreprise.platform import adapter, made
from chaosreprise.platform.file import Platform, load


class Mark(msgspec.Struct):
    """The platform's id and its file. Empty: written by a version that did not say so."""

    platform: str = ""
    file: str = ""


def mark(platform: Platform, run: str) -> pathlib.Path:
    """Say that this run may leave sessions; remove the file when it surely does not. Raises RunBroken when that can't be said."""
    state_dir("litter", slug(platform.id))
    path = made.mark(platform.id, run)
    try:
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(Mark(platform.id, str(pathlib.Path(platform.path).absolute()))) + b"\n")
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise RunBroken(
            f"{path}: can't be written ({error.strerror}), and without it sessions could be left behind: "
            "make room, or set XDG_STATE_HOME to another folder"
        ) from error
    return path


def left(platform_id: str) -> list[pathlib.Path]:
    """The marks of runs, whose names are those of the runs: earlier ones, for who holds the platform's lock."""
    folder = state_path("litter", slug(platform_id))
    return sorted(folder.iterdir()) if folder.is_dir() else []


def clear(platform: Platform) -> Iterator[str]:
    """Stop what earlier runs left here; a line each. Call it while holding the platform's lock. Raises Unreachable or BadInput."""
    for path in left(platform.id):
        if line := stop(platform, path.name):
            yield line
        path.unlink()


def stop(platform: Platform, run: str) -> str | None:
    """Stop the sessions that a run left; what was done. Raises Unreachable or BadInput."""
    names = asyncio.run(adapter.make(platform, run).tidy())
    said = [f"{len(names)} sessions of run {run} were left: stopped"] if names else []
    if nameless := made.Made(platform.id, run).known().nameless:
        said.append(
            f"{nameless} creates of run {run} had no clear answer: each may have left a session that nobody can name"
        )
    return "; ".join(said) or None


def tidy_all() -> Iterator[tuple[str, bool]]:
    """Stop what earlier runs left, on every platform that no run is testing now: lines, and whether all is well."""
    for folder in sorted(state_dir("litter").iterdir()):
        for path in sorted(folder.iterdir()):
            with contextlib.suppress(NotAllowed, FileNotFoundError):  # a run is under way there, or has just tidied up
                yield from _tidy(path, _read(path))
        with contextlib.suppress(OSError):
            folder.rmdir()


def _tidy(path: pathlib.Path, mark: Mark) -> Iterator[tuple[str, bool]]:
    if not mark.file:
        yield (
            f"run {path.name}: it may have left sessions, and its mark {path} names no platform: run an experiment there",
            False,
        )
        return
    with ledger.lock(mark.platform):
        if state_dir("stacks") in pathlib.Path(mark.file).parents and not pathlib.Path(mark.file).exists():
            path.unlink()  # a lab that has ended, and its sessions with it
            return
        try:
            platform = load(mark.file)
            if platform.commands:
                yield (
                    f"run {path.name}: it may have left sessions on {mark.platform}, which only a run starts: the next one stops them",
                    True,
                )
                return
            with forwarded(platform.cluster, platform.file.forward):
                line = stop(platform, path.name)
        except RepriseError as error:
            yield f"run {path.name}: it may have left sessions on {mark.platform}, not stopped: {error}", False
            return
        path.unlink()
    if line:
        yield f"{mark.platform}: {line}", True


def _read(path: pathlib.Path) -> Mark:
    try:
        return msgspec.json.decode(path.read_bytes().partition(b"\n")[0], type=Mark)
    except msgspec.DecodeError:
        return Mark()
