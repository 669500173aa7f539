"""`chaos reprise repeat N EXPERIMENT`: the same experiment N times, one after another, each with a seed of its own.

Each run is a `chaos run` of its own, so it is what anybody would have seen. It stands in a process group of its own: a
signal reaches this process, which hands it on once and waits, since a run that is told to end undoes what it broke first. A run
that left no directory could not even be opened: the next one could not either, so that ends it. What is known is written
after each run.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import msgspec

from chaosreprise import history
from chaosreprise.errors import BadInput
from chaosreprise.paths import runs_root
from chaosreprise.report import spread, verdict_file
from chaosreprise.report.spread import NOT_JUDGED, Run
from chaosreprise.run import preview, store
from chaosreprise.run.directory import Directory
from chaosreprise.run.seed import read_seed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHAOS = (sys.executable, "-m", "chaostoolkit", "--no-version-check", "run")
PREFIX = re.compile(r"^(\x1b\[[\d;]*m)*\[[^]]*\] ")  # colour, time and level of Chaos Toolkit's log
Say = Callable[[str], object]


class Repeating:
    """N runs of one experiment. `runs` grows; `stopped` is the signal that ended it before its time. `verbose`: what they say is not kept, but shown."""

    def __init__(self, experiment: str, times: int, seed: int | None, verbose: bool = False) -> None:
        """Raises BadInput for an experiment that can't be read, or a seed that is none."""
        self.experiment, self.times = experiment, times
        self.name = preview.read(experiment)[0].name
        self.seed = read_seed(os.environ.get("REPRISE_SEED") if seed is None else seed)
        read_seed(self.seed + times - 1)
        self.runs: list[Run] = []
        self.stopped: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._root = runs_root()
        self._path = self._root / self.name / f"repeat-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        self._log = None if verbose else self._path.with_suffix(".log")

    @property
    def path(self) -> pathlib.Path:
        return Directory(self._path).shown

    def go(self, say: Say) -> str:
        """Run them all, `say` a line after each, and return the worst verdict; one that was stopped is never true."""
        with self._writing():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._log is not None:
                self._log.touch()
        with self._listening():
            for number in range(self.times):
                run = None if self.stopped else self._run(self.seed + number)
                if run is None:
                    break
                self.runs.append(run)
                with self._writing():
                    verdict_file.replace(self._path, json.dumps(self.data(), indent=2) + "\n")
                say(spread.line(number + 1, self.times, run))
                if not run.directory:
                    break
        return self.worst

    @property
    def worst(self) -> str:
        """One that gets slower from run to run is false."""
        if any(trend.rises for trend in spread.trend(self.runs).values()):
            return "false"
        found = spread.worst(self.runs)
        return "unknown" if found == "true" and len(self.runs) < self.times else found

    def lines(self) -> Iterator[str]:
        """What there is to say at the end."""
        yield from spread.table(self.runs)
        yield from spread.trend_lines(self.runs)
        if self.stopped:
            yield f"stopped by {self.stopped} after {len(self.runs)} of {self.times} runs"
        yield f"written: {self.path}"

    def data(self) -> dict[str, Any]:
        """The same for machines."""
        found: dict[str, Any] = msgspec.to_builtins(
            {
                "v": 1,
                "experiment": self.experiment,
                "name": self.name,
                "times": self.times,
                "seed": self.seed,
                "stopped": self.stopped,
                "verdict": self.worst,
                "verdicts": spread.counts(self.runs),
                "figures": spread.spreads(self.runs),
                "trends": spread.trend(self.runs),
                "runs": self.runs,
            }
        )
        return found

    def _run(self, seed: int) -> Run | None:
        """One run; None where it was stopped before there was anything of it."""
        before, said = self._folders(), self._log.stat().st_size if self._log is not None else 0
        with contextlib.nullcontext() if self._log is None else self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*CHAOS, self.experiment],
                env={**os.environ, "REPRISE_SEED": str(seed)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=None if log is None else subprocess.STDOUT,
                process_group=0,
            )
        if self.stopped:  # between the last look and the start
            self._process.send_signal(signal.SIGINT)
        code = self._process.wait()
        mine = [folder for folder in self._folders() - before if _owner(folder) == self._process.pid]
        if mine:
            return _read(mine[0], seed)
        if self.stopped:
            return None
        return Run(verdict=NOT_JUDGED, seed=seed, why=f"it could not be opened (exit {code}): {self._last_words(said)}")

    def _folders(self) -> set[pathlib.Path]:
        return {path for path in (self._root / self.name).iterdir() if path.is_dir()}

    def _last_words(self, since: int) -> str:
        if self._log is None:
            return "see above"
        with self._log.open("rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").strip().splitlines()
        errors = [text for text in lines if " ERROR]" in text or " CRITICAL]" in text]
        said = PREFIX.sub("", (errors or lines or ["it said nothing"])[-1])
        return f"{said} (its output: {Directory(self._log).shown})"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = f"can't be written ({error.strerror}): make room, or set REPRISE_RUNS to another folder"
            raise BadInput(f"{self.path}: {why}") from error

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Each signal is handed on to the run that is under way. What is ignored stays so."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        heard = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
        for number in heard:
            signal.signal(number, self._caught)
        try:
            yield
        finally:
            for number in heard:
                signal.signal(number, before[number] or signal.SIG_DFL)

    def _caught(self, number: int, _: FrameType | None) -> None:
        self.stopped = self.stopped or signal.Signals(number).name
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


def _owner(folder: pathlib.Path) -> int | None:
    """The process of a run, by the first line of its owner's segment."""
    try:
        with (folder / "history" / "owner.jsonl").open("rb") as lines:
            pid = json.loads(lines.readline())["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if isinstance(pid, int) else None


def _read(folder: pathlib.Path, seed: int) -> Run:
    directory = str(Directory(folder).shown)
    try:
        run = spread.of_verdict(store.told(folder), directory)
        return msgspec.structs.replace(run, answers=spread.answers(history.load(folder / "history")))
    except BadInput as error:
        return Run(verdict=NOT_JUDGED, seed=seed, directory=directory, why=str(error))
