"""The bodies that the control plane reads. A wrong type is refused with 400; unknown keys are ignored, as Go does."""

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import field

from chaosreprise.lab.quota import DEFAULT_CPU, DEFAULT_MEMORY
from chaosreprise.lab.refusals import bad_request

T = TypeVar("T")


class Login(msgspec.Struct):
    username: str = ""
    password: str = ""


class Resources(msgspec.Struct):
    memory: str = DEFAULT_MEMORY
    cpu: str = DEFAULT_CPU


class Create(msgspec.Struct):
    """A session as it is asked for: on this `cluster` and `platform`, and in this `region` where that can be."""

    user: str = ""
    template: str = ""
    resources: Resources = field(default_factory=Resources)
    persistentHome: bool = False  # noqa: N815 - the name on the wire
    idleTimeout: str = ""  # noqa: N815
    maxSessionDuration: str = ""  # noqa: N815
    tags: list[str] = []
    cluster: str = ""
    region: str = ""
    platform: str = ""


class Step(msgspec.Struct):
    command: str = ""


class AgentInfo(msgspec.Struct):
    """What an agent says of itself."""

    agentId: str = ""  # noqa: N815
    platform: Literal["kubernetes", "docker", "vm", "cloud"] = "docker"
    region: str = ""
    clusterId: str = ""  # noqa: N815
    capacity: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Heartbeat(msgspec.Struct):
    status: Literal["online", "draining"] = "online"
    activeSessions: int = 0  # noqa: N815
    capacity: dict[str, Any] = {}


class AgentCommand(msgspec.Struct):
    """What an administrator tells an agent to do."""

    action: str = ""
    sessionId: str = ""  # noqa: N815
    payload: dict[str, Any] = {}


class NewTemplate(msgspec.Struct):
    """In snake_case, unlike everything else."""

    repository_id: int = 1
    name: str = ""
    display_name: str = ""
    description: str = ""
    category: str = ""
    app_type: str = ""
    icon_url: str = ""
    manifest: dict[str, Any] = {}
    tags: list[str] = []


def read(body: bytes, into: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=into)
    except msgspec.DecodeError as error:
        raise bad_request(str(error)) from error
