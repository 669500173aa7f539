"""Faults on the database. The warden makes and undoes them; they return when they are proven, and fail, undone, when not.

Each takes `at`, the moment at which it strikes (docs/moments.md): seconds, a phase, or what happens to a command.
"""

from typing import Any

from chaosreprise.run.current import At, inject, undo

__all__ = [
    "bring_back",
    "commit_lost",
    "cpu_hog",
    "crash",
    "crash_loop",
    "descriptors",
    "disk_full",
    "disk_read_only",
    "disk_slow",
    "exhaust_connections",
    "hang",
    "lock_table",
    "memory_limit",
    "pause",
    "read_only",
    "refuse",
    "relieve",
    "reset_in_commit",
    "restart",
    "resume",
    "slow_statements",
    "take_away",
]


def take_away(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Kill the database and keep it down until `bring_back`; `hold_s` is the longest planned time in seconds."""
    return inject("database.take_away", **locals())


def bring_back() -> list[dict[str, Any]]:
    """Let the database start again; returns when it lets clients in. Nothing when it is not away."""
    return undo("database")


def crash(in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Kill the database with SIGKILL; its supervisor starts it again, and this returns when it lets clients in.

    `in_flight`: just before, commands are sent for the sessions of all agents, until as many of each kind as the
    experiment wants exposed are under way.
    """
    return inject("database.crash", **locals())


def restart(in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Ask the database to end (SIGINT, PostgreSQL's fast shutdown); as `crash` otherwise."""
    return inject("database.restart", **locals())


def pause(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Freeze the database until `resume`."""
    return inject("database.pause", **locals())


def resume() -> list[dict[str, Any]]:
    """Wake the database. Nothing when it is not paused."""
    return undo("database")


def crash_loop(hold_s: float = 60.0, every_s: float = 0.5, at: At = None) -> list[dict[str, Any]]:
    """Kill the database each time it has come back and lived for `every_s` seconds, until `relieve`."""
    return inject("database.crash_loop", **locals())


def read_only(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Let the database refuse every write (25006), of open sessions too, until `relieve`. Reads go on."""
    return inject("database.read_only", **locals())


def exhaust_connections(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Use up the database's connections until `relieve`: those that are open work, a new one is refused (53300)."""
    return inject("database.exhaust_connections", **locals())


def lock_table(table: str, readers: bool = True, hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Lock a table until `relieve`: who touches it waits. `readers` as false: not who only reads."""
    return inject("database.lock_table", **locals())


def slow_statements(delay_s: float = 0.2, table: str = "", hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Let each transaction wait for about `delay_s` seconds at its first table, or only at `table`, until `relieve`."""
    return inject("database.slow_statements", **locals())


def commit_lost(
    statement: str = "", nth: int = 1, commits: int = 0, hold_s: float = 60.0, in_flight: bool = False, at: At = None
) -> list[dict[str, Any]]:
    """Let the database commit and lose its answer, of `commits` commits (0: all) from the `nth` on, until `relieve`.

    `statement`: only of transactions with a statement that has this in it. Proven when the first was hit: something must
    be written, by the load's own steps or, with `in_flight`, by commands that are sent just before.
    """
    return inject("database.commit_lost", **locals())


def reset_in_commit(
    statement: str = "", nth: int = 1, commits: int = 0, hold_s: float = 60.0, in_flight: bool = False, at: At = None
) -> list[dict[str, Any]]:
    """Reset the connection of whoever asks for a commit, so that nothing is kept; otherwise as `commit_lost`."""
    return inject("database.reset_in_commit", **locals())


def cpu_hog(hold_s: float = 60.0, hogs: int = 3, at: At = None) -> list[dict[str, Any]]:
    """Let the database share one processor with `hogs` busy processes, until `relieve`."""
    return inject("database.cpu_hog", **locals())


def memory_limit(hold_s: float = 60.0, mib: int = 0, at: At = None) -> list[dict[str, Any]]:
    """Let the database take `mib` MiB of memory more than now, until `relieve`. Needs a cgroup that may be written."""
    return inject("database.memory_limit", **locals())


def descriptors(hold_s: float = 60.0, spare: int = 0, at: At = None) -> list[dict[str, Any]]:
    """Use up the file descriptors of the database but for `spare`, until `relieve`."""
    return inject("database.descriptors", **locals())


def disk_full(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Let nothing more be written to the database's files, until `relieve`. Needs a small file system of its own."""
    return inject("database.disk_full", **locals())


def disk_read_only(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Kill the database, and start it on a file system that it may not write, until `relieve`. Needs one of its own."""
    return inject("database.disk_read_only", **locals())


def disk_slow(hold_s: float = 60.0, delay_ms: float = 20.0, at: At = None) -> list[dict[str, Any]]:
    """Hold up each operation on the database's files for `delay_ms` milliseconds, until `relieve`. Needs strace."""
    return inject("database.disk_slow", **locals())


def refuse(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Let the link to the database refuse who connects, and close what is connected, until `relieve`."""
    return inject("database.refuse", **locals())


def hang(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Freeze the link to the database until `relieve`: it is there and never answers."""
    return inject("database.hang", **locals())


def relieve() -> list[dict[str, Any]]:
    """Undo whatever is on the database. Nothing when nothing is."""
    return undo("database")
