"""The lab's links: all its traffic goes through proxies, so that each part of it can be broken.

    clients, agents, control plane -> our own proxy -> [a real Toxiproxy] -> where it was going

Ours stands in front, where it can look at what passes. It carries the toxics as well, unless there is a real Toxiproxy: a
server at TOXIPROXY_URL, which is a guest's place (`links.guest` puts our proxies there and takes them away), or
`toxiproxy-server` on the PATH, which runs as a component of the stack. Each link leads to an address of its own, so that the
kernel's tables tell them apart: the control plane listens once more for each agent.
"""

import os
import pathlib
import secrets
import shutil
import sys
from typing import Any

import msgspec

from chaosreprise.errors import BadInput, shown
from chaosreprise.lab.settings import Settings
from chaosreprise.stack.spec import ComponentSpec, Ready

URL = "TOXIPROXY_URL"
BINARY = "toxiproxy-server"
TOKEN = "secrets/links"
CONFIG, BEHIND = "links.json", "toxiproxy.json"
DEFAULT_PORT = 8474
SHARED = ("clients", "database", "sessions")  # the links that are not an agent's


class Links(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What was decided when the lab was made. `behind`: the ports of a real server's proxies, by link; `real` is its API."""

    api: int
    router: int
    behind: dict[str, list[int]] = {}
    real: str | None = None
    command: list[str] = []


def of_agent(agent: str) -> str:
    return f"agents/{agent}"


def ports_needed(agents: int, control_planes: int) -> int:
    """Of both APIs and the router, and three a link: ours, a real one's, the control plane's; an agent has one to each of these."""
    return 3 + 3 * (len(SHARED) + agents * control_planes)


def decide(ports: list[int], lab: Settings) -> Links:
    """Which server carries the toxics; takes the ports that it needs out of `ports`. Raises BadInput when TOXIPROXY_URL is none."""
    api, router, own = ports.pop(), ports.pop(), ports.pop()
    chained = {name: [ports.pop() for _ in fronts] for name, fronts in lab.links.items()}
    if url := os.environ.get(URL):
        return Links(api=api, router=router, behind=chained, real=_checked(url))
    if binary := shutil.which(BINARY):
        command = [binary, "-host", "127.0.0.1", "-port", str(own), "-config", BEHIND]
        return Links(api=api, router=router, behind=chained, real=f"http://127.0.0.1:{own}", command=command)
    return Links(api=api, router=router)


def write(folder: pathlib.Path, lab: Settings, links: Links) -> None:
    """The proxies of both servers, and the token of ours."""
    (folder / TOKEN).write_text(secrets.token_hex(16))
    ends = _ends(lab, links)
    _save(folder / CONFIG, lab, lab.links, ends | links.behind)
    if links.behind:
        _save(folder / BEHIND, lab, links.behind, ends)


def components(folder: pathlib.Path, links: Links) -> list[ComponentSpec]:
    python = [sys.executable, "-P", "-m"]
    ours = [*python, "chaosreprise.links", "--port", str(links.api), "--router", str(links.router)]
    ours += ["--config", str(folder / CONFIG), "--token-file", str(folder / TOKEN)]
    found = [ComponentSpec(name="links", command=ours, ready=Ready(tcp=links.api))]
    if links.real is not None:
        guest = [*python, "chaosreprise.links.guest", links.real, str(folder / BEHIND)]
        first = next(iter(links.behind.values()))[0]
        real = ComponentSpec(name="toxiproxy", command=links.command or guest, ready=Ready(tcp=first))
        real.env = {"LOG_LEVEL": "error"}
        found.append(real)
    return found


def tables(lab: Settings, links: Links) -> str:
    """The part of platform.toml."""
    ours = f'"http://127.0.0.1:{links.api}"'
    token = f'{{ file = "{TOKEN}" }}'
    admin = f'admin = "{links.real}"' if links.real else f"admin = {ours}\ntoken = {token}"
    return "".join(
        f'[links."{name}"]\n{admin}\nproxy = {_quoted(proxies(lab, name))}\ntaps = {ours}\ntaps_token = {token}\n\n'
        for name in lab.links
    )


def proxies(lab: Settings, name: str) -> list[str]:
    """The names of a link's proxies: a server may be used by others too."""
    own = f"{lab.id}-{name.replace('/', '-')}"
    return [own, *(f"{own}-{number}" for number in range(2, len(lab.links[name]) + 1))]


def _quoted(names: list[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else f"[{', '.join(quoted)}]"


def _ends(lab: Settings, links: Links) -> dict[str, list[int]]:
    """The ports that each link leads to."""
    ends = {"clients": [lab.control_port], "database": [lab.database_port], "sessions": [links.router]}
    return ends | {of_agent(agent): ports for agent, ports in lab.agent_ports.items()}


def _save(path: pathlib.Path, lab: Settings, listen: dict[str, list[int]], upstream: dict[str, list[int]]) -> None:
    wanted: list[dict[str, Any]] = [
        {
            "name": proxy,
            "listen": f"127.0.0.1:{here}",
            "upstream": f"127.0.0.1:{there}",
            "enabled": True,
            "tap": name != "sessions",  # whose protocol is the lab's own
        }
        for name in listen
        for proxy, here, there in zip(proxies(lab, name), listen[name], upstream[name], strict=True)
    ]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(wanted)) + b"\n")


def _checked(url: str) -> str:
    whole = url if "://" in url else f"http://{url}"
    host, _, port = whole.partition("://")[2].rstrip("/").partition(":")
    if not whole.startswith("http://") or not host or "/" in host or not (port or "0").isdigit():
        raise BadInput(
            f"{URL} = {shown(url)}: expected the URL of a Toxiproxy, such as http://127.0.0.1:{DEFAULT_PORT}"
        )
    return f"http://{host}:{port or DEFAULT_PORT}"
