"""What `prepare` decided and the lab's processes read: DIR/lab.json, and the secrets beside it.

Strict on both sides: the processes are started with the folder's name only, and refuse a file that is not `prepare`'s.
"""

import pathlib

import msgspec

from chaosreprise.errors import BadInput

FILE = "lab.json"
TEMPLATE = "python"
NAMESPACE = "lab"
CONTROL_PLANE = "control-plane"
PLATFORMS = ("docker", "kubernetes", "vm", "cloud")  # what agents run on, in turn
TOKEN_S = 24 * 3600.0
HEARTBEATS_A_PING = 3.6  # a real control plane sends a ping every 54 s at one heartbeat in 15 s
MISSED_HEARTBEATS = 3  # a real control plane calls an agent offline after 45 s at one heartbeat in 30 s or less


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One lab. Times in seconds. `links`: the ports of each link, as whoever uses it connects there; `agent_ports`: where the
    control plane listens for each agent, at the other end of its link; of several control planes one each.

    Of a lab in a cluster: the `namespace` of its pods, and the `hosts` of its services; else all of it is on this machine.
    """

    id: str
    agents: list[str]
    users: list[str]
    heartbeat_s: float
    reconcile_s: float
    backoff_s: float
    control_port: int
    database_port: int
    links: dict[str, list[int]]
    agent_ports: dict[str, list[int]]
    more_control_ports: list[int] = []
    number_of_regions: int = 1
    number_of_clusters: int = 1
    number_of_platforms: int = 1
    token_s: float = TOKEN_S
    disk_mib: int = 0
    disk_port: int = 0
    witness_port: int = 0
    namespace: str = ""
    hosts: dict[str, str] = {}

    def host(self, component: str) -> str:
        return self.hosts.get(component, "127.0.0.1")

    @property
    def sessions_link(self) -> int | None:
        """The port by which sessions are reached; None where each is reached at its own."""
        return self.links["sessions"][0] if "sessions" in self.links else None

    @property
    def offline_s(self) -> float:
        return MISSED_HEARTBEATS * self.heartbeat_s

    @property
    def shown_offline_s(self) -> float:
        """Within which it surely shows: silence is looked for once a round, and a round may just have passed."""
        return self.offline_s + 2 * self.reconcile_s

    @property
    def ping_s(self) -> float:
        return HEARTBEATS_A_PING * self.heartbeat_s

    @property
    def control_url(self) -> str:
        """Of the first control plane, without a link: for the keeper, which asks whether it is there."""
        return f"http://127.0.0.1:{self.control_port}"

    @property
    def control_planes(self) -> dict[str, int]:
        """The port of each by its name; the first one has the name that an only one has."""
        others = {f"{CONTROL_PLANE}/{number}": port for number, port in enumerate(self.more_control_ports, 2)}
        return {CONTROL_PLANE: self.control_port} | others

    @property
    def regions(self) -> dict[str, list[str]]:
        """The agents of each region."""
        found: dict[str, list[str]] = {}
        for agent in self.agents:
            found.setdefault(self.region_of(agent), []).append(agent)
        return found

    def region_of(self, agent: str) -> str:
        return f"r{self.agents.index(agent) % self.number_of_regions + 1}"

    def cluster_of(self, agent: str) -> str:
        """Neighbours share one, where regions and platforms change from one agent to the next."""
        return f"c{self.agents.index(agent) * self.number_of_clusters // len(self.agents) + 1}"

    def platform_of(self, agent: str) -> str:
        """Shifted by one each round, so that agents of one region are not all of one platform."""
        around, number = divmod(self.agents.index(agent), self.number_of_platforms)
        return PLATFORMS[(around + number) % self.number_of_platforms]

    def doors_of(self, agent: str) -> list[int]:
        """The ports where this agent connects, in turn: agents begin at different control planes, as behind a balancer."""
        ports = self.links[f"agents/{agent}"]
        first = self.agents.index(agent) % len(ports)
        return ports[first:] + ports[:first]

    def url(self, link: str) -> str:
        """The control plane, by this link."""
        return f"http://127.0.0.1:{self.links[link][0]}"


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
