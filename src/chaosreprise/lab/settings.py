"""What `prepare` decided and the lab's processes read: DIR/lab.json, and the secrets beside it.

Strict on both sides: the processes are started with the folder's name only, and refuse a file that is not `prepare`'s.
"""

import pathlib

import msgspec

from chaosreprise.errors import BadInput

FILE = "lab.json"
TEMPLATE = "python"
NAMESPACE = "lab"
PLATFORM = "docker"
MISSED_HEARTBEATS = 3  # a real control plane calls an agent offline after 45 s at one heartbeat in 30 s or less


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One lab. Times in seconds."""

    id: str
    agents: list[str]
    users: list[str]
    heartbeat_s: float
    reconcile_s: float
    backoff_s: float
    control_port: int
    database_port: int

    @property
    def offline_s(self) -> float:
        return MISSED_HEARTBEATS * self.heartbeat_s

    @property
    def shown_offline_s(self) -> float:
        """Within which it surely shows: silence is looked for once a round, and a round may just have passed."""
        return self.offline_s + 2 * self.reconcile_s

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"


def save(folder: pathlib.Path, settings: Settings) -> None:
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")


def load(folder: pathlib.Path) -> Settings:
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except OSError as error:
        raise BadInput(
            f"{path}: can't be read ({error.strerror}): make a lab with `python -m chaosreprise.lab prepare`"
        ) from error
    except msgspec.DecodeError as error:
        raise BadInput(f"{path}: {error}: make a new lab with `python -m chaosreprise.lab prepare`") from error


def secret(folder: pathlib.Path, name: str) -> str:
    return (folder / "secrets" / name).read_text().strip()
