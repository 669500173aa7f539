"""The runs that a torture kills: a whole `chaos run`, or a small owner that does around a fault what a run does.

The small one is a fork of this process, since importing everything again would cost more than all the rest; its warden
is the real one.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
import traceback

from torture_draws import Draw
from torture_lab import Lab, Look, arguments

from chaosreprise.clock import SECOND
from chaosreprise.errors import RepriseError
from chaosreprise.faults import client as faults
from chaosreprise.faults import ledger
from chaosreprise.history import load
from chaosreprise.procs import Incarnation, die_with_parent, incarnation
from chaosreprise.run import healing, litter

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "support"))
from runs import CHAOS, EXPERIMENT, SHORT

FAILED, CRASHED = 1, 70
A_MOMENT_S = 0.04
Wanted = list[tuple[str, str]]  # kind and component


class Run:
    """A run under way. `tool` is its process, a child of this one."""

    def __init__(self, folder: pathlib.Path, lab: Lab, pid: int) -> None:
        self.folder, self._lab = folder, lab
        found = incarnation(pid)
        assert found is not None
        self.tool: Incarnation = found
        self.code: int | None = None

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.tool.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def directory(self) -> pathlib.Path | None:
        """Where its history is."""
        return self.folder

    def file(self) -> pathlib.Path | None:
        directory = self.directory()
        return None if directory is None else ledger.path(self._lab.platform.id, directory.name)

    def records(self) -> list[ledger.Record]:
        """The last record of each of its faults, the first one first."""
        path = self.file()
        return ledger.read(path) if path is not None and path.exists() else []

    def warden(self) -> Incarnation | None:
        """The warden, as its segment of the history names it."""
        directory = self.directory()
        with contextlib.suppress(OSError):
            if directory is not None:
                first = (directory / "history" / "warden.jsonl").open().readline()
                return incarnation(int(first.partition('"pid":')[2].partition(",")[0]))
        return None

    def unreadable(self) -> str | None:
        """Why its history can't be read."""
        directory = self.directory()
        try:
            load((directory or self.folder) / "history")
        except RepriseError as error:
            return str(error)
        return None

    def processes(self) -> list[int]:
        """All that was started since: whatever leaves its parents comes to this process, which is a subreaper."""
        self.ended()
        look, keeper = Look(), self._lab.stack.keeper.pid
        others = {keeper, *look.below(keeper)}
        return [pid for pid in look.below(os.getpid()) if pid not in others]

    def said(self) -> str:
        return (self.folder / "tool.log").read_text(errors="replace").strip()

    def end(self) -> None:
        """By force, whatever is left of it."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while not self.ended():
            time.sleep(A_MOMENT_S)


class Whole(Run):
    """`chaos run` of a short experiment on the lab."""

    def __init__(self, folder: pathlib.Path, lab: Lab, seed: int) -> None:
        folder.mkdir()
        environment = os.environ | {
            "REPRISE_PLATFORM": str(lab.stack.platform_file),
            "REPRISE_RUNS": str(folder / "runs"),
            "REPRISE_SEED": str(seed),
        }
        with (folder / "tool.log").open("ab") as log:
            self._process = subprocess.Popen(
                [CHAOS, "--no-version-check", "--no-log-file", "run", *SHORT, str(EXPERIMENT)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        super().__init__(folder, lab, self._process.pid)

    def ended(self) -> bool:
        self.code = self._process.poll()
        return self.code is not None

    def directory(self) -> pathlib.Path | None:
        latest = self.folder / "runs" / "latest"
        return latest.resolve() if latest.exists() else None


def small(folder: pathlib.Path, lab: Lab, draw: Draw, wanted: Wanted) -> Run:
    """A fork of this process that opens a run, makes these faults, undoes them, and ends."""
    folder.mkdir()
    sys.stdout.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return Run(folder, lab, pid)
    code = CRASHED
    try:
        die_with_parent(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with (folder / "tool.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if lab.stack.owner_write_fd is not None:
            os.close(lab.stack.owner_write_fd)
        _own(folder, lab, draw, wanted)
        code = 0
    except RepriseError as error:
        print(error)
        code = FAILED
    except BaseException:  # noqa: BLE001 - it must not go on as the parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _own(folder: pathlib.Path, lab: Lab, draw: Draw, wanted: Wanted) -> None:
    platform, keeper = lab.platform.id, lab.stack.address
    with faults.lock(platform):
        for healed in faults.heal(platform, keeper):
            print(f"healed {healed}")
        for earlier in litter.left(platform):
            lab.tidy(earlier.name)
            earlier.unlink()
        warden = faults.Warden.start(
            run=folder.name,
            platform_id=platform,
            keeper=keeper,
            history=folder / "history",
            platform_file=str(lab.stack.platform_file),
            guarded=draw.guarded,
        )
        try:
            if draw.plan_first:
                warden.request("plan", fault="f1", kind=wanted[0][0], on=wanted[0][1], args=arguments(wanted[0][0]))
                time.sleep(A_MOMENT_S)
            for number, (kind, on) in enumerate(wanted, start=1):
                hold_ns = int(draw.hold_s * SECOND)
                warden.request("inject", fault=f"f{number}", kind=kind, on=on, hold_ns=hold_ns, args=arguments(kind))
            time.sleep(draw.hold_s)
            if len(wanted) == 1 and not draw.bye_only:  # several are undone side by side, by `bye`
                warden.request("undo", fault="f1")
                time.sleep(A_MOMENT_S)
        finally:
            warden.close()


def heal(killed_after_s: float | None) -> None:
    """What `chaos reprise heal` does; before it another one, that is killed."""
    if killed_after_s is not None:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(RepriseError):
                healing.lines()
            os._exit(0)
        time.sleep(killed_after_s)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    healing.lines()
