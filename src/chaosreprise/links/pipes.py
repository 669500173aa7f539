"""Kernel buffers through which a stream goes from socket to socket without being copied here."""

import contextlib
import fcntl
import os

SIZE = 1 << 18  # bytes; a receiver that does not take its bytes keeps as many in the kernel
SPARES = 8
FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE


class Pipe:
    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.held = 0
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._write, fcntl.F_SETPIPE_SZ, SIZE)

    def fill(self, source: int, most: int = SIZE) -> int:
        """Take what a socket has; 0 at its end, BlockingIOError when it has nothing."""
        self.held = os.splice(source, self._write, most, flags=FLAGS)
        return self.held

    def empty(self, target: int) -> int:
        """Give a socket what it takes of what is held; BlockingIOError when it takes nothing."""
        moved = os.splice(self._read, target, self.held, flags=FLAGS)
        self.held -= moved
        return moved

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Spares:
    """Pipes are borrowed for one move: only a receiver that does not take its bytes keeps one."""

    def __init__(self) -> None:
        self._pipes: list[Pipe] = []

    def take(self) -> Pipe:
        return self._pipes.pop() if self._pipes else Pipe()

    def give(self, pipe: Pipe) -> None:
        if pipe.held or len(self._pipes) >= SPARES:
            pipe.close()
        else:
            self._pipes.append(pipe)
