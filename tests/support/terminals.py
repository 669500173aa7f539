"""A program on a terminal of its own, as a person has it: Ctrl-C is typed there, and it can be closed."""

import os
import pathlib
import select
import subprocess
import sys
import threading
import time

TICK_S = 0.02
# Signals as a shell in the foreground leaves them, whatever started the tests; and the terminal is the program's own.
LAUNCH = """
import fcntl, os, signal, sys, termios
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """`text` is what has been printed so far."""

    def __init__(self, command: list[str], folder: pathlib.Path, env: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, *command],
                cwd=folder,
                env=env,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        finally:
            os.close(slave)
        self._printed = bytearray()
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return self._printed.decode(errors="replace").replace("\r\n", "\n")

    def until_said(self, text: str, timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while text not in self.text:
            if time.monotonic() > end or (self.process.poll() is not None and text not in self.text):
                raise AssertionError(f"{text!r} was not said:\n{self.text}")
            time.sleep(TICK_S)

    def ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def close(self) -> None:
        """What the kernel does when the window is closed: SIGHUP, and writes fail from then on."""
        if not self._closing.is_set():
            self._closing.set()
            self._reader.join()
            os.close(self._master)

    def finish(self, timeout_s: float = 60) -> int:
        """Its exit code; what it printed last has been read when this returns."""
        code = self.process.wait(timeout_s)
        if not self._closing.is_set():
            self._reader.join()
        return code

    def _read(self) -> None:
        """Until it is closed here, or until nobody has the other end any more (EIO)."""
        while not self._closing.is_set():
            if select.select([self._master], [], [], TICK_S)[0]:
                try:
                    self._printed += os.read(self._master, 65536)
                except OSError:
                    return
