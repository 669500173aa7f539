"""`chaos reprise reaper` as a process."""

import pathlib
import signal
import subprocess
import threading


class Reaper:
    """`chaos reprise reaper`, by what it says."""

    def __init__(self, chaos: pathlib.Path, path: pathlib.Path) -> None:
        command = [chaos, "--no-version-check", "--no-log-file", "reprise", "reaper", path]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        self.lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self._process.stdout), daemon=True)  # type: ignore[arg-type]
        self._reader.start()

    def said(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    def end(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        self._reader.join()
        with self._process:
            return self._process.wait()
