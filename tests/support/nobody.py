"""Somebody without rights: uid 65534. Python and the checkout are made reachable for him in the tests' own mounts only."""

import os
import pathlib
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping

import pytest
from runs import CHAOS, ROOT

UID = 65534


def reaches_python_and(*more: pathlib.Path) -> None:
    """Within `own_mounts`: a folder closed to others then shows but what is needed below it. Skips where we are not root."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a process as somebody else")
    closed: dict[pathlib.Path, list[pathlib.Path]] = {}
    for path in {pathlib.Path(name).resolve() for name in (sys.base_prefix, sys.prefix, ROOT, *more)}:
        shut = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & stat.S_IXOTH]
        closed.setdefault(shut[0], []).append(path) if shut else None
    for folder, below in closed.items():
        _show_only(folder, below)


def _show_only(folder: pathlib.Path, below: list[pathlib.Path]) -> None:
    kept = pathlib.Path(tempfile.mkdtemp())
    _mount("-t", "tmpfs", "tmpfs", kept)
    for number, path in enumerate(below):
        (kept / str(number)).mkdir()
        _mount("--rbind", path, kept / str(number))
    _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder)
    for number, path in enumerate(below):
        path.mkdir(parents=True, exist_ok=True)
        _mount("--rbind", kept / str(number), path)
    subprocess.run(["umount", "--lazy", kept], check=True)
    kept.rmdir()


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def chaos(folder: pathlib.Path, env: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [CHAOS, "--no-version-check", *arguments],
        cwd=folder,
        env={**env, "HOME": "/nonexistent"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=UID,
        group=UID,
        extra_groups=[],
    )
