"""Commands whose every trace is looked through for secrets that were planted."""

import contextlib
import os
import pathlib
import subprocess
import threading

from runs import CHAOS


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
