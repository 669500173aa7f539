"""A process of the run, asked by JSON lines over its standard input and output (the other end is `chaosreprise.serve`).

From any thread, since Chaos Toolkit probes the steady state from a second one under `--hypothesis-strategy continuously`.
"""

import concurrent.futures
import contextlib
import itertools
import json
import pathlib
import subprocess
import sys
import threading
from typing import Any

from chaosreprise.errors import BadInput, RepriseError, RunBroken, Unreachable

ERRORS: dict[str, type[RepriseError]] = {error.code: error for error in (BadInput, RunBroken, Unreachable)}


class Child:
    """Started with `python -m <module> <arguments>`; its standard error goes to `<logs>/<name>.log`."""

    def __init__(self, name: str, module: str, arguments: list[str], logs: pathlib.Path) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        logs.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._numbers = itertools.count(1)
        self._waiting: dict[int, concurrent.futures.Future[Any]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._last_words: str | None = None
        self.needed_by: list[Child] = []
        """Who can't answer any more when this one has died."""
        threading.Thread(target=self._read, name=f"answers of {name}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, verb: str, timeout_s: float = 120.0, **arguments: Any) -> Any:
        """The result of a request. Raises what the child said, RunBroken when it died, or TimeoutError."""
        return self.begin(verb, **arguments).result(timeout_s)

    def begin(self, verb: str, **arguments: Any) -> "concurrent.futures.Future[Any]":
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = future
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps({"id": number, "do": verb, **arguments}).encode() + b"\n")
                self._process.stdin.flush()
            except OSError:
                self._waiting.pop(number, None)
                future.set_exception(self._dead())
        return future

    def close(self, timeout_s: float = 5.0) -> None:
        """Ask it to end, and see it ended. Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RepriseError, TimeoutError):
            self.ask("bye", timeout_s=timeout_s)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                answer = json.loads(line)
                with self._lock:
                    future = self._waiting.pop(answer["id"], None)
                if future is None:
                    self._last_words = answer.get("say")
                elif answer["ok"]:
                    future.set_result(answer["result"])
                else:
                    future.set_exception(ERRORS.get(answer["code"], RunBroken)(answer["say"]))
        self._process.wait()
        error = self._dead()
        for child in [self] if self._closed else [self, *self.needed_by]:
            child._give_up(error)

    def _give_up(self, error: RunBroken) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(error)

    def _dead(self) -> RunBroken:
        if self._last_words:
            return RunBroken(f"the {self.name} process of this run has ended: {self._last_words}")
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        why = f": {lines[-1]}" if lines else ""
        return RunBroken(f"the {self.name} process of this run has ended{why} (its log: {self.log})")
