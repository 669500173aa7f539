"""Change a small file system in memory that only some processes see: its size, and whether it may be written.

`remount` runs this file as a program of its own, since who enters a namespace stays there. Only the standard library is used.
"""

import contextlib
import ctypes
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

MS_RDONLY, MS_REMOUNT = 1, 32  # mount(2)
LIMIT_S = 5.0
KIB = 1024


class Place(NamedTuple):
    """A mounted file system as a process sees it: device, where it is, what of it, its type, its size if it has one."""

    device: str
    path: str
    root: str
    kind: str
    kib: int
    read_only: bool


def places(pid: int) -> list[Place]:
    """What a process sees, in the order of mounting (proc(5), mountinfo)."""
    found = []
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            own, _, common = line.partition(" - ")
            _, _, device, root, path, *_ = own.split()
            kind, _, options = common.split(" ", 2)
            stated = dict(one.partition("=")[::2] for one in options.split(","))
            size = stated.get("size", "0k").removesuffix("k")
            found.append(Place(device, path, root, kind, int(size) if size.isdigit() else 0, "ro" in stated))
    return found


def namespace(pid: int, kind: str = "mnt") -> str:
    """The namespace of a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        return str(pathlib.Path(f"/proc/{pid}/ns/{kind}").readlink())
    return ""


def remount(pid: int, path: str, kib: int, *, read_only: bool) -> None:
    """In the namespaces of a process. Raises OSError, EBUSY when files are open for writing that must not be, EINVAL when
    there is more in it than would fit.
    """
    command = [sys.executable, "-I", "-S", __file__, str(pid), path, str(kib), str(int(read_only))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        number = int(done.stdout or 0)
        raise OSError(number, os.strerror(number) if number else done.stderr.strip()[-200:], path)


def _main(pid: int, path: str, kib: int, read_only: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("user", "mnt"):
        if namespace(os.getpid(), kind) == namespace(pid, kind):
            continue
        with open(f"/proc/{pid}/ns/{kind}", "rb") as file:
            if libc.setns(file.fileno(), 0) != 0:
                return int(ctypes.get_errno())
    options = f"size={kib}k".encode()
    if libc.mount(None, path.encode(), None, MS_REMOUNT | (MS_RDONLY if read_only else 0), options) != 0:
        return int(ctypes.get_errno())
    return 0


if __name__ == "__main__":
    failed = _main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    print(failed)
    sys.exit(1 if failed else 0)
