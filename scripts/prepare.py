"""Makes the environment of a checkout; `scripts/prepare` calls it when its quick look finds that something is amiss.

    prepare.py INPUTS FOLDER runtime|dev [COMMAND [ARGUMENT...]]

It works with uv when that is on the PATH, else with venv and pip, and writes nowhere but to the checkout and their
caches. One at a time works on a checkout (a lock that death frees); what a dead one left half made is made again.
Standard library only, since nothing else is there yet.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
MARK = "# scripts/prepare of Reprise"  # begins the log: a folder without it is somebody else's and never emptied
NO_ENVIRONMENT = 3
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TAIL = 12  # lines of the log that are shown when a step fails
PR_SET_PDEATHSIG = 1
# Settings that would lead an installer away from our folder.
ASTRAY = {
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV",
}


class Refused(Exception):
    """There is no environment; the message is one sentence that says why and what to do."""


class Stamp(NamedTuple):
    """What a whole environment was made of, a line each; `scripts/prepare` looks at the first two only.

    `has` is runtime, dev, or adding: whole for running, but tools for the tests were being added when it was written.
    """

    has: str
    key: str
    recipe: str
    version: str


class Plan(NamedTuple):
    """What is to be done: make all of it anew, or add the tests' tools to what is there."""

    anew: bool
    extras: str
    version: str


class Progress:
    """Says on standard error what is being done: one line that grows on a terminal, elsewhere a line a step."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._step = ""
        self._begin = time.monotonic()
        self._terminal = sys.stderr.isatty()
        if not self._terminal:
            self._print(what)

    def step(self, text: str) -> None:
        self._step = text
        if not self._terminal:
            self._print(f"  {text}")
        self.tick()

    def tick(self) -> None:
        if self._terminal:
            dots = "." * (1 + int(time.monotonic() - self._begin) // 2)
            self._print(f"\r\033[K{self._what} {dots} {self._step}"[: shutil.get_terminal_size().columns + 3], end="")

    def done(self) -> None:
        line = f"{self._what} ".ljust(50, ".") + f" {time.monotonic() - self._begin:.0f} s"
        self._print(f"\r\033[K{line}" if self._terminal else line)

    def broken_off(self) -> None:
        if self._terminal:
            self._print("")

    @staticmethod
    def _print(text: str, end: str = "\n") -> None:
        print(text, end=end, file=sys.stderr, flush=True)


def main(inputs: str, path: str, want: str, *command: str) -> int:
    folder = pathlib.Path(path)
    try:
        with claimed(folder) as lock:
            prepare(folder, inputs, want, lock)
        program = folder / "bin" / command[0] if command else None
        if program and not os.access(program, os.X_OK):
            raise Refused(f"{program} is no command of the environment")
    except Refused as error:
        print(f"Reprise can't be prepared: {error}", file=sys.stderr)
        return NO_ENVIRONMENT
    except OSError as error:
        print(
            f"Reprise can't be prepared in {folder}: {error.filename or 'writing'}: {error.strerror}", file=sys.stderr
        )
        return NO_ENVIRONMENT
    except KeyboardInterrupt:
        print("Stopped; the next start prepares it from the beginning.", file=sys.stderr)
        return INTERRUPTED
    if program:
        os.execv(program, [str(program), *command[1:]])  # the same process, as if it had been called at once
    return 0


@contextlib.contextmanager
def claimed(folder: pathlib.Path) -> Iterator[int]:
    """The folder, ours alone while we work. pip writes beside pyproject.toml as well, so that is what is locked."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(ROOT / "pyproject.toml", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}: clone Reprise to a folder that you may write to") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Reprise is being prepared by another start here: waiting for it", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield lock
    finally:
        os.close(lock)


def prepare(folder: pathlib.Path, inputs: str, want: str, lock: int) -> None:
    """Bring the folder to what is wanted: nothing to do, tools to add, or all of it."""
    stamp = read_stamp(folder)
    sound = stamp is not None and is_sound(stamp, folder)
    if stamp and sound and (want == "runtime" or stamp.has == "dev"):
        write_stamp(folder, stamp._replace(key=key_of(inputs, folder)))  # only a tool's settings were edited
        return
    if stamp and sound and stamp.has == "runtime" and installers(folder, anew=False):
        progress = Progress(f"Adding the tests' tools to {name(folder)} (once)")
        plan = Plan(anew=False, extras="dev", version=stamp.version)
    else:
        again = empty(folder)
        progress = Progress(f"Preparing Reprise in {name(folder)} ({'again' if again else 'once'})")
        plan = Plan(anew=True, extras="dev" if stamp and stamp.has == "dev" else want, version=VERSION)
    try:
        install(folder, plan, progress, lock)
    except BaseException:
        progress.broken_off()
        raise
    write_stamp(folder, Stamp(plan.extras, key_of(inputs, folder), recipe_of(plan.version), plan.version))
    progress.done()


def install(folder: pathlib.Path, plan: Plan, progress: Progress, lock: int) -> None:
    """With the first installer that can do it: one that is there may still lack a certificate or a mirror that another has."""
    tools = installers(folder, plan.anew)
    if not tools:
        raise Refused(
            f"{sys.executable} lacks the module ensurepip: install it (Debian, Ubuntu: apt-get install python3-venv), "
            "or uv, or name another interpreter: PYTHON=/path/to/python3.12 ./scripts/chaos ..."
        )
    stamp = read_stamp(folder)
    if stamp:
        write_stamp(folder, stamp._replace(has="adding"))
    for tool in tools:
        failed = next(
            (text for text, command in steps(tool, folder, plan) if not run(text, command, folder, progress, lock)),
            None,
        )
        if failed is None:
            return
        if tool != tools[-1]:
            progress.step(f"{tool} could not do it: trying {tools[-1]}")
            if plan.anew:
                empty(folder)
    if stamp:
        write_stamp(folder, stamp)  # an installer that fails by itself takes back what it began
    log = folder / "prepare.log"
    progress.broken_off()
    print(*log.read_text(errors="replace").splitlines()[-TAIL:], sep="\n", file=sys.stderr)
    raise Refused(f"{tools[-1]} failed at this step: {failed}; all that it said is in {log}")


def steps(tool: str, folder: pathlib.Path, plan: Plan) -> list[tuple[str, list[str]]]:
    """What the tool does, in words and as commands. The project itself is built with the setuptools of the environment."""
    python = str(folder / "bin" / "python")
    base = getattr(sys, "_base_executable", sys.executable)  # never the python of an environment that is about to go
    if tool == "uv":
        create = ["uv", "venv", "--allow-existing", "--python", base, str(folder)]
        add = ["uv", "pip", "install", "--python", python, "--compile-bytecode"]
    else:
        create = [base, "-I", "-m", "venv", str(folder)]
        add = [python, "-I", "-m", "pip", "install", "--no-input", "--progress-bar=off"]
    project = read_project()
    wanted = project["build-system"]["requires"] + project["project"]["dependencies"]
    if plan.extras == "dev":
        wanted += project["project"]["optional-dependencies"]["dev"]
    pins = constraints(plan.version)
    made = [(f"environment of Python {plan.version}", create)] if plan.anew else []
    return [
        *made,
        (f"packages pinned in constraints/{pins.name}, with {tool}", [*add, "--constraint", str(pins), *wanted]),
        ("Reprise itself", [*add, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]),
    ]


def run(text: str, command: list[str], folder: pathlib.Path, progress: Progress, lock: int) -> bool:
    """Run one step, its output to the log. It dies with us, and holds the lock for as long as it lives."""
    progress.step(text)
    with (folder / "prepare.log").open("a") as log:
        print(f"\n$ {' '.join(command)}", file=log, flush=True)
        environment = {key: value for key, value in os.environ.items() if key not in ASTRAY}
        environment |= {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "UV_PYTHON_DOWNLOADS": "never",
        }
        if command[0] == "uv" and not has_cache():
            environment["UV_NO_CACHE"] = "1"
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=ROOT,
            pass_fds=[lock],
            preexec_fn=die_with_parent,  # noqa: PLW1509 - we have one thread
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(0.5) == 0
                progress.tick()
        finally:
            process.kill()
            process.wait()


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def has_cache() -> bool:
    """uv insists on a cache, and a user may have no home."""
    folder = os.environ.get("UV_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "uv"
    )
    try:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def installers(folder: pathlib.Path, anew: bool) -> list[str]:
    ensurepip = importlib.util.find_spec("ensurepip")
    has_pip = bool(ensurepip and ensurepip.origin) if anew else (folder / "bin" / "pip").exists()
    return [tool for tool, there in (("uv", shutil.which("uv")), ("pip", has_pip)) if there]


def empty(folder: pathlib.Path) -> bool:
    """Empty the folder for a new beginning, marked as ours; true if something was there. Refuses somebody else's."""
    log = folder / "prepare.log"
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name != "prepared")  # the stamp goes first
    ours = log.is_file() and log.read_text(errors="replace").startswith(MARK)
    if entries and not ours:
        raise Refused(
            f"{folder} is there and was not made by scripts/prepare: move it away, or name another: REPRISE_VENV=.venv-reprise"
        )
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != log:
            entry.unlink()
    log.write_text(f"{MARK}\n")
    return bool(entries)


def is_sound(stamp: Stamp, folder: pathlib.Path) -> bool:
    """Whether the environment is still what pyproject.toml and constraints/ ask for, and the interpreter that PYTHON names."""
    return (
        stamp.key.endswith(f" {place_of(folder)}")
        and os.access(folder / "bin" / "python", os.X_OK)
        and stamp.recipe == recipe_of(stamp.version)
        and (stamp.version == VERSION or not os.environ.get("PYTHON"))
    )


def key_of(inputs: str, folder: pathlib.Path) -> str:
    return f"{inputs} {place_of(folder)}"


def place_of(folder: pathlib.Path) -> str:
    """An environment works in its place and with its interpreter only: not after a move, nor after an upgrade of the system."""
    return f"{folder} {os.path.realpath(folder / 'bin' / 'python')}"


def recipe_of(version: str) -> str:
    """A hash of what decides over the content: not of the settings of ruff or pytest, which share pyproject.toml."""
    project = read_project()
    decides = [
        project["build-system"],
        project["project"],
        project["tool"]["setuptools"],
        constraints(version).read_text(),
    ]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def constraints(version: str) -> pathlib.Path:
    """Chaos Toolkit 1.20 and later need Python 3.12: two sets of versions."""
    return ROOT / "constraints" / ("py311.txt" if version == "3.11" else "py312.txt")


def read_project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def read_stamp(folder: pathlib.Path) -> Stamp | None:
    try:
        return Stamp(*(folder / "prepared").read_text().splitlines())
    except (OSError, TypeError):
        return None


def write_stamp(folder: pathlib.Path, stamp: Stamp) -> None:
    new = folder / "prepared.new"
    new.write_text("".join(f"{line}\n" for line in stamp))
    new.replace(folder / "prepared")


def name(folder: pathlib.Path) -> str:
    return str(folder.relative_to(ROOT)) if folder.is_relative_to(ROOT) else str(folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
