"""The environment makes itself: on first use, once, again when it must be, and never in somebody else's folder.

The scripts are the real ones, and so are venv and pip; the project that they prepare here is a tiny one, whose packages
lie in a folder, so that the network is not needed and a preparation takes seconds.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile

import pytest

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = ("chaos", "prepare", "prepare.py")
NO_ENVIRONMENT = 3
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
PYPROJECT = """
[build-system]
requires = ["tiny-backend"]
build-backend = "tiny_backend"
[project]
name = "tiny"
version = "1"
dependencies = ["tiny-chaos"]
[project.optional-dependencies]
dev = ["tiny-dev"]
[tool.setuptools]
[tool.ruff]
line-length = 100
"""
BACKEND = f"""
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(folder + "/tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        wheel.writestr("tiny-1.dist-info/WHEEL", {WHEEL!r})
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return "tiny-1-py3-none-any.whl"
"""
CHAOS = "import sys\ndef main():\n    print(*sys.argv[1:])\n"


def make_wheel(folder: pathlib.Path, name: str, code: str, entry_points: str = "") -> None:
    module = name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{module}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}.py", code)
        wheel.writestr(f"{module}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{module}-1.dist-info/WHEEL", WHEEL)
        wheel.writestr(f"{module}-1.dist-info/RECORD", "")
        wheel.writestr(f"{module}-1.dist-info/entry_points.txt", entry_points)


class Tiny:
    """A checkout of a tiny project, and the machine that it is on."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.root = folder / "check out"  # with a blank, as folders of people have
        self.machine = folder / "machine"
        (self.root / "scripts").mkdir(parents=True)
        (self.root / "constraints").mkdir()
        for script in SCRIPTS:
            shutil.copy2(ROOT / "scripts" / script, self.root / "scripts" / script)
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        for stack in ("py311", "py312"):
            (self.root / "constraints" / f"{stack}.txt").write_text("tiny-chaos==1\ntiny-dev==1\n")
        packages = self.machine / "packages"
        packages.mkdir(parents=True)
        make_wheel(packages, "tiny-backend", BACKEND)
        make_wheel(packages, "tiny-chaos", CHAOS, "[console_scripts]\nchaos = tiny_chaos:main\n")
        make_wheel(packages, "tiny-dev", "")
        (self.machine / "bin").mkdir()
        (self.machine / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
        self.environment = {
            "PATH": f"{self.machine / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.machine),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(packages),
            "PIP_USER": "1",  # as some people have it set for good
        }

    @property
    def venv(self) -> pathlib.Path:
        return self.root / ".venv"

    @property
    def stamp(self) -> pathlib.Path:
        return self.venv / "prepared"

    def command(self, script: str, *arguments: str) -> list[str]:
        return [str(self.root / "scripts" / script), *arguments]

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | more
        return subprocess.run(
            self.command(script, *arguments),
            env=environment,
            cwd=self.machine,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start(self, script: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        environment, pipe = self.environment | more, subprocess.PIPE
        return subprocess.Popen(
            self.command(script, *arguments), env=environment, cwd=self.machine, stdout=pipe, stderr=pipe, text=True
        )

    def processes(self) -> list[int]:
        """The processes whose command line names this checkout."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if bytes(self.root) in words:
                    found.append(int(entry.name))
        return found


@pytest.fixture
def tiny(tmp_path: pathlib.Path) -> Tiny:
    return Tiny(tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """One that was prepared for running. Tests may use it, and must leave it as whole as they found it."""
    made = Tiny(tmp_path_factory.mktemp("prepared"))
    done = made.run("chaos", "run", "x.json")
    assert (done.returncode, done.stdout) == (0, "--no-version-check run x.json\n"), done.stderr
    first, *steps, last = done.stderr.splitlines()
    assert first == "Preparing Reprise in .venv (once)"
    assert len(steps) == 3
    assert last.startswith("Preparing Reprise in .venv (once) ......")
    assert last.endswith(" s")
    return made


def test_a_second_start_prints_nothing_and_touches_nothing(prepared: Tiny):
    before = {path: path.lstat().st_mtime_ns for path in (prepared.stamp, prepared.venv, prepared.venv / "prepare.log")}
    done = prepared.run("chaos", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "--no-version-check --version\n", "")
    assert {path: path.lstat().st_mtime_ns for path in before} == before


def test_naming_the_same_python_changes_nothing(prepared: Tiny):
    done = prepared.run("chaos", "--version", PYTHON=sys.executable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "--no-version-check --version\n", "")


def test_a_symbolic_link_from_elsewhere_is_the_same_command(prepared: Tiny, tmp_path: pathlib.Path):
    link = tmp_path / "chaos"
    link.symlink_to(prepared.root / "scripts" / "chaos")
    done = subprocess.run(
        [link, "x"], env=prepared.environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("--no-version-check x\n", "")
    assert list(tmp_path.iterdir()) == [link]


def test_settings_of_the_tools_do_not_prepare_it_again(prepared: Tiny):
    before = prepared.stamp.read_text()
    (prepared.root / "pyproject.toml").write_text(PYPROJECT.replace("100", "120"))
    assert prepared.run("prepare").stderr == ""
    assert prepared.stamp.read_text() != before  # the quick look will do again


def test_a_command_that_is_not_there_is_told_in_one_sentence(prepared: Tiny):
    for again in ({}, {"PYTHON": sys.executable}):  # by the quick look, and by the whole one
        done = prepared.run("prepare", "nothing-of-ours", **again)
        assert (done.returncode, done.stdout) == (NO_ENVIRONMENT, "")
        assert (
            done.stderr
            == f"Reprise can't be prepared: {prepared.venv}/bin/nothing-of-ours is no command of the environment\n"
        )


def test_a_failed_addition_leaves_it_as_whole_as_it_was(prepared: Tiny):
    refused = prepared.run("prepare", "--dev", PIP_FIND_LINKS="/nowhere")
    assert refused.returncode == NO_ENVIRONMENT
    assert "tiny-dev" in refused.stderr
    assert refused.stderr.splitlines()[-1].endswith(f"all that it said is in {prepared.venv / 'prepare.log'}")
    assert prepared.run("chaos", "x").stderr == ""


def test_what_the_tests_need_is_added_once_and_kept(prepared: Tiny):
    prepared.run("prepare")
    added = prepared.run("prepare", "--dev", "python", "-c", "import tiny_dev")
    assert added.returncode == 0, added.stderr
    assert added.stderr.startswith("Adding the tests' tools to .venv (once)\n")
    assert prepared.run("prepare", "--dev").stderr == ""
    assert prepared.run("chaos", "x").stderr == ""


def test_other_constraints_or_another_place_prepare_it_again_with_what_it_had(prepared: Tiny):
    """The last one on `prepared`, which is elsewhere afterwards."""
    prepared.run("prepare", "--dev")
    (prepared.root / "constraints" / "py311.txt").write_text("tiny-chaos==1\ntiny-dev==1\n# changed\n")
    (prepared.root / "constraints" / "py312.txt").write_text("tiny-chaos==1\ntiny-dev==1\n# changed\n")
    moved = prepared.root.with_name("moved")
    prepared.root.rename(moved)
    prepared.root = moved
    done = prepared.run("prepare", "python", "-c", "import tiny_dev")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Preparing Reprise in .venv (again)\n")


@pytest.mark.thorough
def test_killed_in_the_middle_it_leaves_nothing_running_and_is_made_again(tiny: Tiny):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # pip waits for its answer
        process = tiny.start("chaos", "x", PIP_FIND_LINKS=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        silent.settimeout(90)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        end = time.monotonic() + 5
        while tiny.processes() and time.monotonic() < end:
            time.sleep(0.02)
        assert tiny.processes() == []
        connection.close()
    assert not tiny.stamp.exists()
    done = tiny.run("chaos", "x")
    assert (done.returncode, done.stdout) == (0, "--no-version-check x\n"), done.stderr
    assert done.stderr.startswith("Preparing Reprise in .venv (again)\n")


@pytest.mark.thorough
def test_of_two_at_once_one_prepares_and_both_run(tiny: Tiny):
    starts = [tiny.start("chaos", "x") for _ in range(2)]
    outputs = [start.communicate(timeout=120) for start in starts]
    assert [start.returncode for start in starts] == [0, 0]
    assert [stdout for stdout, _ in outputs] == ["--no-version-check x\n"] * 2
    waited, worked = sorted((stderr for _, stderr in outputs), key=len)
    assert waited == "Reprise is being prepared by another start here: waiting for it\n"
    assert worked.startswith("Preparing Reprise in .venv (once)\n")


@pytest.mark.thorough
def test_where_uv_fails_pip_is_tried(tiny: Tiny):
    uv = tiny.machine / "bin" / "uv"
    uv.write_text("#!/bin/sh\necho no certificate\nexit 2\n")
    uv.chmod(0o755)
    done = tiny.run("chaos", "x")
    assert (done.returncode, done.stdout) == (0, "--no-version-check x\n"), done.stderr
    assert "  uv could not do it: trying pip\n" in done.stderr


@pytest.mark.thorough
def test_without_packages_it_says_so_and_leaves_no_stamp(tiny: Tiny):
    done = tiny.run("chaos", "x", PIP_FIND_LINKS="/nowhere")
    assert (done.returncode, done.stdout) == (NO_ENVIRONMENT, "")
    assert "No matching distribution found for tiny-" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Reprise can't be prepared: pip failed at this step: packages")
    assert last.endswith(f"all that it said is in {tiny.venv / 'prepare.log'}")
    assert not tiny.stamp.exists()


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("/nowhere/python3", "there is no /nowhere/python3, and it needs Python 3.11 or newer"),
        ("/bin/true", "/bin/true does not run as a Python"),
        ("OLD", "OLD is Python 3.9.18, and it needs 3.11 or newer"),
    ],
)
def test_a_python_that_will_not_do_is_told_in_one_sentence(tiny: Tiny, python: str, sentence: str):
    old = tiny.machine / "bin" / "OLD"
    old.write_text("#!/bin/sh\necho 3.9.18\n")
    old.chmod(0o755)
    done = tiny.run("chaos", "x", PYTHON=python)
    assert (done.returncode, done.stdout) == (NO_ENVIRONMENT, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Reprise can't be prepared: {sentence}: ")
    assert not tiny.venv.exists()


def test_a_folder_of_somebody_else_is_left_alone(tiny: Tiny):
    tiny.venv.mkdir()
    (tiny.venv / "thesis.txt").write_text("three years of work")
    done = tiny.run("chaos", "x")
    assert done.returncode == NO_ENVIRONMENT
    assert done.stderr.startswith(
        f"Reprise can't be prepared: {tiny.venv} is there and was not made by scripts/prepare: "
    )
    assert [entry.name for entry in tiny.venv.iterdir()] == ["thesis.txt"]


def test_a_place_where_nothing_can_be_made_is_told_in_one_sentence(tiny: Tiny):
    done = tiny.run("chaos", "x", REPRISE_VENV="/proc/reprise")
    assert done.returncode == NO_ENVIRONMENT
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "Reprise can't be prepared: /proc/reprise: No such file or directory: clone Reprise to a folder"
    )
