"""Memory control groups as the kernel shows them: version 2 (cgroup-v2.rst) and version 1 (cgroup-v1/memory.rst).

A group of ours is made where the process may be moved to and the memory controller works: in version 1 below the group
that it is in, in version 2 beside it, since there a group has either processes or groups. What a process has already stays
charged to the group that it was in, in both versions: a limit is one on what it takes from then on.
"""

import contextlib
import os
import pathlib
from typing import Literal, NamedTuple

import msgspec

from chaosreprise.errors import NotPossible
from chaosreprise.procs import Incarnation, family

LIMIT = {1: "memory.limit_in_bytes", 2: "memory.max"}
PROCESSES = "cgroup.procs"
AT_ONCE = (
    32 << 10
)  # bytes: the kernel asks for up to 8 pages at once, so this much may be unused when it is refused some


class Place(msgspec.Struct, kw_only=True):
    """Where a process is, and where a group for it can be made."""

    version: Literal[1, 2]
    group: str
    parent: str


class Pressure(NamedTuple):
    """What a limit has done: how often it was hit, and how many processes the kernel has killed for it."""

    hits: int
    killed: int


def place(inc: Incarnation) -> Place:
    """Raises NotPossible with the reason why no memory limit can be set for this process here."""
    try:
        cgroup = pathlib.Path(f"/proc/{inc.pid}/cgroup").read_text()
    except OSError as error:
        raise NotPossible(f"process {inc.pid} ended just now, so it has no group") from error
    found = where(cgroup, pathlib.Path("/proc/self/mountinfo").read_text())
    if found is None:
        raise NotPossible("no memory controller (cgroup) is mounted on this machine: no memory limit can be set")
    for file in (found.parent, f"{found.parent}/{PROCESSES}", f"{found.group}/{PROCESSES}"):
        if not os.access(file, os.W_OK):
            raise NotPossible(
                f"{file} may not be written: a memory limit needs root here, or a group that is delegated to you"
            )
    if found.version == 2 and "memory" not in pathlib.Path(found.parent, "cgroup.subtree_control").read_text().split():
        raise NotPossible(
            f"{found.parent}/cgroup.subtree_control does not enable memory: no memory limit can be set there"
        )
    return found


def where(cgroup: str, mountinfo: str) -> Place | None:
    """From the text of /proc/PID/cgroup and /proc/PID/mountinfo. Where both versions are mounted, version 1 has it or not."""
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in cgroup.splitlines())}
    for controllers, path in paths.items():
        if "memory" in controllers.split(",") and (group := _visible(mountinfo, "cgroup", path)):
            return Place(version=1, group=group[0], parent=group[0])
    if "" in paths and (group := _visible(mountinfo, "cgroup2", paths[""])):
        folder, mount = group
        return Place(version=2, group=folder, parent=folder if folder == mount else str(pathlib.Path(folder).parent))
    return None


def make(path: pathlib.Path, version: int, limit: int) -> None:
    """A group with this limit. Raises NotPossible when the kernel refuses."""
    try:
        path.mkdir()
        (path / LIMIT[version]).write_text(str(limit))
    except OSError as error:
        raise NotPossible(f"{path}: no group with a limit of {limit} bytes can be made ({error.strerror})") from error


def limit_of(path: pathlib.Path, version: int) -> int:
    return int((path / LIMIT[version]).read_text())


def move(inc: Incarnation, path: pathlib.Path) -> int:
    """A process and its descendants into a group; how many were not there yet. A parent goes first: its children follow."""
    there = (path / PROCESSES).read_text().split()
    left = [one for one in family(inc) if str(one.pid) not in there]
    for one in left:
        with contextlib.suppress(ProcessLookupError):
            (path / PROCESSES).write_text(str(one.pid))
    return len(left)


def pressure(path: pathlib.Path, version: int) -> Pressure:
    """Version 1 also counts a hit when it asks for more than is needed, to have some in stock: that is left out."""
    if version == 2:
        events = _numbers(path / "memory.events")
        return Pressure(events["max"], events["oom_kill"])
    full = int((path / "memory.max_usage_in_bytes").read_text()) >= limit_of(path, 1) - AT_ONCE
    hits = int((path / "memory.failcnt").read_text()) if full else 0
    return Pressure(hits, _numbers(path / "memory.oom_control").get("oom_kill", 0))


def _visible(mountinfo: str, kind: str, path: str) -> tuple[str, str] | None:
    """The folder of a group, and where its hierarchy is mounted; None if it is mounted nowhere or outside of what is."""
    for line in mountinfo.splitlines():
        fields, _, more = line.partition(" - ")
        root, point = fields.split()[3:5]
        filesystem, _, options = more.split()[:3]
        if filesystem != kind or (kind == "cgroup" and "memory" not in options.split(",")) or "/.." in path:
            continue
        if f"{path}/".startswith(f"{root.rstrip('/')}/"):
            return point + path.removeprefix(root.rstrip("/")).rstrip("/"), point
    return None


def _numbers(file: pathlib.Path) -> dict[str, int]:
    return {name: int(number) for name, number in map(str.split, file.read_text().splitlines())}
