"""Everything that docs/adapters.md shows is executed: its files, written out, are a platform, its adapter and an experiment that finds its bug."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import zipfile
from typing import Any

import pytest
from pages import commands, missing
from runs import CLEAN

from chaosreprise.paths import slug

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text()
PORT = "8765"
FILES = {"kill-the-toy.json", "pyproject.toml", "reprise_toy.py", "toy.py", "toy.toml"}
ADAPTER_LINES = 100
CHAOS = 'chaos() { command chaos --no-version-check "$@"; }\n'
INSTALL = "pip install ."  # which may ask the network for its backend: the same backend is asked here
WHEEL = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"


class Reader:
    """Somebody who does what the page says, in a folder beside the checkout."""

    def __init__(self, folder: pathlib.Path, port: int) -> None:
        self.folder, self._port = folder, port
        (folder / "docs").symlink_to(ROOT / "docs")
        path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        state = {"XDG_STATE_HOME": str(folder / "state")}
        self._env = {**CLEAN, **state, "PATH": path, "PYTHONPATH": str(folder / "site")}

    def type(self, command: str) -> "subprocess.CompletedProcess[str]":
        if command == INSTALL:
            return self._install()
        done = self._run(["bash", "-c", CHAOS + command])
        self._take_a_free_port()
        return done

    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "runs" / "latest" / "verdict.json").read_text())
        return found

    def leave_litter(self) -> tuple[pathlib.Path, pathlib.Path]:
        """As an earlier run leaves it that was killed: its mark, and a session that runs."""
        mark = self.folder / "state" / "reprise" / "litter" / slug(f"toy@{socket.gethostname()}") / "killed"
        session = self.folder / "toy-home" / "sessions" / "killed.s1"
        mark.parent.mkdir(parents=True)
        mark.touch()
        session.mkdir(parents=True)
        return mark, session

    def _install(self) -> "subprocess.CompletedProcess[str]":
        done = self._run([sys.executable, "-c", WHEEL])
        for wheel in (self.folder / "dist").glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(self.folder / "site")
        (self.folder / "reprise_toy.py").unlink()  # what is installed is what is used
        return done

    def _take_a_free_port(self) -> None:
        """The page's may be somebody else's here."""
        for file in self.folder.glob("*.toml"):
            file.write_text(file.read_text().replace(PORT, str(self._port)))

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def reader(tmp_path: pathlib.Path) -> Reader:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return Reader(tmp_path, port)


def test_the_page_builds_a_platform_and_its_adapter_passes_and_finds_the_planted_bug(reader: Reader):
    typed = list(commands(PAGE))
    verdicts = []
    for number, (command, expected) in enumerate(typed):
        done = reader.type(command)
        assert missing(expected, done.stdout) is None, (command, done.stdout)
        if number == 0:
            mark, session = reader.leave_litter()
            assert {path.name for path in reader.folder.iterdir() if path.is_file()} == FILES
            lines = (reader.folder / "reprise_toy.py").read_text().rstrip().splitlines()
            assert len(lines) <= ADAPTER_LINES
        if "chaos run" in command:
            verdicts.append((done.returncode, reader.verdict()))
        else:
            assert done.returncode == 0, (command, done.stdout)
    assert not mark.exists()
    assert (session / "ended").exists()
    (passed, correct), (failed, wrong) = verdicts
    assert (passed, correct["verdict"]) == (0, "true")
    assert {name: correct["checks"][name]["verdict"] for name in ("lost", "duplicate", "phantom")} == dict.fromkeys(
        ("lost", "duplicate", "phantom"), "true"
    )
    assert (failed, wrong["verdict"]) == (1, "false")
    duplicate = wrong["checks"]["duplicate"]
    assert duplicate["verdict"] == "false"
    assert re.match(r"cmd-\d+ step in session \S+: took effect at .* and at ", duplicate["witnesses"][0]["say"])
    assert wrong["checks"]["lost"]["verdict"] != "false"
