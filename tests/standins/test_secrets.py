"""Secrets that a platform file refers to: whatever a command prints and leaves, none stands there, also where the platform sends them back."""

import pathlib

import pytest
import standin_space
import standins
from planted import Watch
from runs import ROOT


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
    watch.files(but={tmp_path / "token"})
    assert watch.found == set()


@pytest.mark.thorough
def test_a_run_that_is_told_its_own_token_keeps_it_nowhere(tmp_path: pathlib.Path) -> None:
    platform, watch = sandbox(tmp_path, "echo,refuses")
    experiment = str(ROOT / "experiments" / "sandbox-agent-crash.json")
    run = watch.run("--verbose", "run", experiment, REPRISE_PLATFORM=str(platform))
    assert run.returncode == 1
    history = (tmp_path / "runs" / "latest" / "history" / "load.jsonl").read_text()
    assert "Bearer <secret>" in history, run.stdout
    assert watch.files(but={tmp_path / "token"}) > 8
    assert (watch.found, watch.looks > 10) == (set(), True)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"SPACE_PASSWORD": "planted-wrong-word"}, "was refused with 401"),
        pytest.param(
            {"SPACE_DSN": "postgresql://watcher:planted-pass@127.0.0.1:9/x"},
            "can't be read",
            marks=pytest.mark.thorough,
        ),
        ({"SPACE_DSN": "host=127.0.0.1 password=planted-pass nonsense"}, "can't be read"),
        pytest.param({"SPACE_DSN": "planted-pass"}, "can't be read", marks=pytest.mark.thorough),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(
    tmp_path: pathlib.Path, space_database: str, env: dict[str, str], says: str
) -> None:
    space = standin_space.written(tmp_path, space_database, "echo")
    watch = Watch(tmp_path, {**standin_space.secrets(space), "planted": "planted-pass", "wrong": "planted-wrong-word"})
    given = {**space.env, **env}
    if "SPACE_PASSWORD" in env:
        component = space.file.read_text().replace(
            'ADMIN_PASSWORD = { env = "SPACE_PASSWORD" }', 'ADMIN_PASSWORD = "another-one"'
        )
        space.file.write_text(component)
    doctor = watch.run("reprise", "doctor", str(space.file), **given)
    assert doctor.returncode == 3
    assert says in " ".join(doctor.stdout.split()), doctor.stdout + doctor.stderr
    watch.files(but={tmp_path / "admin.dsn"})
    assert watch.found == set()
