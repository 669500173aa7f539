"""Secrets that a platform file refers to: whatever a command prints and leaves, none stands there, also where the platform sends them back."""

import contextlib
import os
import pathlib
import subprocess
import threading
from collections.abc import Callable

import pytest
import standin_space
import standins
from runs import CHAOS, ROOT


class Watch:
    """Runs commands, and afterwards finds planted secrets in what they printed, wrote, and had in their command lines."""

    def __init__(self, folder: pathlib.Path, secrets: dict[str, str]) -> None:
        self.folder, self.secrets = folder, secrets
        self.found: set[str] = set()
        self.looks = self.printed = 0

    def run(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        done = threading.Event()
        looking = threading.Thread(target=self._look_at_processes, args=(done,))
        looking.start()
        try:
            command = [CHAOS, "--no-version-check", *arguments]
            ran = subprocess.run(command, cwd=self.folder, env={**os.environ, **env}, capture_output=True)
        finally:
            done.set()
            looking.join()
        self.printed += len(ran.stdout + ran.stderr)
        self._note("printed by " + " ".join(arguments[:2]), ran.stdout + ran.stderr)
        return subprocess.CompletedProcess(command, ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def files(self, but: set[pathlib.Path]) -> int:
        """Look through all files; how many there were."""
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path not in but]
        for path in paths:
            self._note(str(path.relative_to(self.folder)), path.read_bytes())
        return len(paths)

    def _note(self, where: str, text: bytes) -> None:
        self.found |= {f"{name}: {where}" for name, secret in self.secrets.items() if part(secret) in text}

    def _look_at_processes(self, done: threading.Event) -> None:
        while not done.wait(0.05):
            for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self._note("a command line", line.read_bytes())
            self.looks += 1


def part(secret: str) -> bytes:
    """What is long enough to be a secret too: its beginning."""
    return secret[: max(10, len(secret) // 2)].encode()


def sandbox(folder: pathlib.Path, defect: str) -> tuple[pathlib.Path, Watch]:
    """Whose token stands in a file; the platform keeps no secret of its own in one."""
    secret = "planted-token-4f1c9d"
    (folder / "token").write_text(f"{secret}\n")
    return standins.sandbox(folder, defect, token='{ file = "token" }'), Watch(folder, {"token": secret})


def test_a_server_that_echoes_what_it_was_shown_gives_no_token_away(tmp_path: pathlib.Path) -> None:
    """Each create is answered with 500 and its own headers."""
    platform, watch = sandbox(tmp_path, "echo,refuses")
    flow = watch.run("reprise", "flow", str(platform))
    assert flow.returncode == 1
    assert "Bearer <secret>" in flow.stdout, flow.stdout + flow.stderr
    experiment = str(ROOT / "experiments" / "sandbox-agent-crash.json")
    run = watch.run("--verbose", "run", experiment, REPRISE_PLATFORM=str(platform))
    assert run.returncode == 1
    history = (tmp_path / "runs" / "latest" / "history" / "load.jsonl").read_text()
    assert "Bearer <secret>" in history, run.stdout
    assert watch.files(but={tmp_path / "token"}) > 8
    assert (watch.found, watch.looks > 10) == (set(), True)


@pytest.fixture
def planted(tmp_path: pathlib.Path, space_database: str) -> Callable[..., tuple[standin_space.Space, Watch]]:
    def make(defect: str = "none", **more: str) -> tuple[standin_space.Space, Watch]:
        space = standin_space.written(tmp_path, space_database, defect, **more)
        secrets = {name: space.env[name] for name in ("SPACE_PASSWORD", "SPACE_JWT", "SPACE_KEY", "SPACE_DSN")}
        return space, Watch(tmp_path, {**secrets, "reader": standin_space.READER})

    return make


def test_a_run_and_a_doctor_leave_no_secret(
    planted: Callable[..., tuple[standin_space.Space, Watch]], tmp_path: pathlib.Path
) -> None:
    space, watch = planted()
    doctor = watch.run("reprise", "doctor", "--json", str(space.file), **space.env)
    assert "watcher may only read" in doctor.stdout, doctor.stderr
    run = watch.run("run", str(standin_space.rows_only(tmp_path)), **space.env, REPRISE_PLATFORM=str(space.file))
    assert run.returncode == 0, run.stdout + run.stderr
    names = {path.name for path in (tmp_path / "runs" / "latest").resolve().rglob("*")}
    assert names >= {
        "plan.json",
        "verdict.json",
        "journal.json",
        "junit.xml",
        "report.html",
        "faults.jsonl",
        "load.jsonl",
    }
    watch.files(but=set())
    assert watch.found == set()


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"SPACE_PASSWORD": "planted-wrong-word"}, "was refused with 401"),
        ({"SPACE_DSN": "postgresql://watcher:planted-pass@127.0.0.1:9/x"}, "can't be read"),
        ({"SPACE_DSN": "host=127.0.0.1 password=planted-pass nonsense"}, "can't be read"),
        ({"SPACE_DSN": "planted-pass"}, "can't be read"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(
    planted: Callable[..., tuple[standin_space.Space, Watch]], env: dict[str, str], says: str
) -> None:
    space, watch = planted("echo")
    watch.secrets |= {"planted": "planted-pass", "wrong": "planted-wrong-word"}
    given = {**space.env, **env}
    if "SPACE_PASSWORD" in env:
        component = space.file.read_text().replace(
            'ADMIN_PASSWORD = { env = "SPACE_PASSWORD" }', 'ADMIN_PASSWORD = "another-one"'
        )
        space.file.write_text(component)
    doctor = watch.run("reprise", "doctor", str(space.file), **given)
    assert doctor.returncode == 3
    assert says in " ".join(doctor.stdout.split()), doctor.stdout + doctor.stderr
    watch.files(but=set())
    assert watch.found == set()
