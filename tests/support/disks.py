"""Small disks that get full: a tmpfs in a mount namespace of the tests' own process, so nothing of the machine changes.

The children of the test inherit the namespace; the mount is gone with the last of them.
"""

import contextlib
import ctypes
import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

CLONE_NEWNS = 0x00020000
PAGE = 4096
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def own_mounts() -> Iterator[None]:
    """Mounts of this process and of the children that it starts meanwhile are seen by nobody else. Skips where that is refused."""
    here, outside = pathlib.Path.cwd(), os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(CLONE_NEWNS) != 0:
            pytest.skip(
                f"a small disk needs a mount namespace, and that is refused here ({os.strerror(ctypes.get_errno())})"
            )
        made = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, text=True)
        try:
            if made.returncode != 0:
                pytest.skip(f"a small disk needs a mount, and that is refused here ({made.stderr.strip()})")
            yield
        finally:
            _libc.setns(outside, CLONE_NEWNS)
            os.chdir(here)
    finally:
        os.close(outside)


class Disk:
    """A tmpfs at `path`, which may hold so many bytes."""

    def __init__(self, path: pathlib.Path, size: int = 16 << 20) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", path], check=True)

    def fill(self) -> None:
        """Not a byte more can be written, also not at the end of a file, whose last page is filled with blanks."""
        with (self.path / "filler").open("ab", buffering=0) as filler:
            for piece in (1 << 20, PAGE):
                with contextlib.suppress(OSError):
                    while filler.write(bytes(piece)) == piece:
                        pass
        for file in self.path.rglob("*"):
            if file.is_file() and (room := -file.stat().st_size % PAGE):
                with contextlib.suppress(OSError), file.open("ab") as end:  # somebody may just have filled it
                    end.write(b" " * room)

    def empty(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)
