"""A small file system under the database, so that it can be full or read-only: `lab up --disk-mib`.

It is in memory, in user and mount namespaces of its own: no privilege is needed, nobody else sees it, and it is gone with the
last process in there, whatever killed that. This process keeps it; the database joins it (the keeper's `within`). What
`prepare` has made is copied into it once; a second time would be another database, so it refuses that.
"""

import ctypes
import os
import pathlib
import shutil
import socket

from chaosreprise.errors import NotPossible
from chaosreprise.procs import die_with_parent

LISTEN_FD = 3
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # <linux/sched.h>
MS_BIND = 0x1000  # mount(2)
NOBODY = 65534
MADE = "disk.made"
WHOLE = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"
_libc = ctypes.CDLL(None, use_errno=True)


def main(folder: pathlib.Path, mib: int) -> None:
    """Keep it for ever, and say that it is there."""
    parent = os.getppid()
    if (folder / MADE).exists():
        raise NotPossible(f"{folder}: the disk of this lab has ended, and with it its database: make a new lab")
    (folder / MADE).touch()
    _enter()
    die_with_parent(parent)  # last: a change of credentials clears it
    disk, data = folder / "disk", folder / "data"
    _mount(b"tmpfs", disk, b"tmpfs", 0, f"size={mib}m,mode=0700".encode())
    shutil.copytree(data, disk / "data", symlinks=True)
    (disk / "data").chmod(0o700)
    _mount(bytes(disk / "data"), data, None, MS_BIND, None)
    with socket.socket(fileno=LISTEN_FD) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(WHOLE)


def _enter() -> None:
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        raise NotPossible("no small file system can be mounted here: user namespaces are refused: leave --disk-mib out")
    for file, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid or NOBODY} {uid} 1"),  # PostgreSQL refuses to be root
        ("gid_map", f"{gid or NOBODY} {gid} 1"),
    ):
        pathlib.Path("/proc/self", file).write_text(line)


def _mount(source: bytes, on: pathlib.Path, kind: bytes | None, flags: int, options: bytes | None) -> None:
    if _libc.mount(source, bytes(on), kind, flags, options) != 0:
        why = os.strerror(ctypes.get_errno())
        raise NotPossible(f"{on}: no small file system can be mounted here ({why}): leave --disk-mib out")
