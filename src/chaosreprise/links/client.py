"""toxiproxy-python, extended: several servers in one process, time limits, updates of toxics, and errors of ours.

Its classes talk through one global address without a time limit. Here each server has a door of its own, the objects
are theirs (`isinstance` holds, `down()`, `get_toxic`, `destroy_all` are inherited), and each method that talks is ours. An error is
one of Reprise's and, where theirs has a class for it, that one too.
"""

from typing import Any
from urllib.parse import quote

import httpx
import toxiproxy
from toxiproxy import exceptions
from toxiproxy.toxic import Toxic as TheirToxic

from chaosreprise.errors import BadInput, NotAllowed, NotPossible, RepriseError, Unreachable, shown

LIMIT_S = (
    5.0  # the real server waits for a stalled receiver when a toxic is removed, up to 25 s; who expects that says so
)
FIELDS = ("name", "type", "stream", "toxicity", "attributes", "clients")  # the last is known to ours only


class NotThere(NotPossible, exceptions.NotFound):  # type: ignore[misc]
    """No such proxy or toxic: the server restarted, or somebody removed it."""


class Exists(NotAllowed, exceptions.ProxyExists):  # type: ignore[misc]
    """Another proxy or toxic has this name."""


class Refused(BadInput, exceptions.InvalidToxic):  # type: ignore[misc]
    """The server can't do what was asked."""


ERRORS: dict[int, type[RepriseError]] = {
    400: Refused,
    401: NotAllowed,
    403: NotAllowed,
    404: NotThere,
    409: Exists,
    503: Unreachable,  # the real server gives up its own answer after 25 s, and goes on with what was asked
}


class Door:
    """One server's HTTP API. Safe to share between threads: it keeps no connection."""

    def __init__(self, url: str, token: str = "", limit_s: float = LIMIT_S) -> None:
        self.url = url.rstrip("/") if "://" in url else f"http://{url.rstrip('/')}"
        self._limit_s = limit_s
        self._client = httpx.Client(
            headers={"User-Agent": "chaosreprise"} | ({"Authorization": f"Bearer {token}"} if token else {}),
            timeout=limit_s,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,  # a proxy for the web is none for this
            verify=self.url.startswith("https:"),  # 20 ms
        )

    def ask(self, method: str, *names: str, body: object = None) -> Any:
        """The JSON of an answer, None when it has none. Unreachable, NotThere, Exists, Refused or NotAllowed."""
        path = "/" + "/".join(quote(name, safe="") for name in names)
        try:
            answer = self._client.request(method, self.url + path, json=body)
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"Toxiproxy at {self.url} did not answer {method} {path} in {self._limit_s:g} s."
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"Toxiproxy at {self.url} can't be reached ({error}): start it, or set TOXIPROXY_URL to one that runs."
            ) from error
        if answer.status_code >= 400:
            raise self._error(method, path, answer)
        return _json(answer)

    def _error(self, method: str, path: str, answer: httpx.Response) -> RepriseError:
        said = _json(answer)
        reason = said.get("error") if isinstance(said, dict) else answer.text.strip()
        kind = ERRORS.get(answer.status_code, NotPossible)
        return kind(f"Toxiproxy at {self.url} refused {method} {path}: {reason or f'status {answer.status_code}'}.")


class Toxic(TheirToxic):  # type: ignore[misc]
    """A toxic as its server shows it."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: dict[str, int]

    def __init__(self, **shown_as: Any) -> None:
        super().__init__(**shown_as)
        self.clients: list[str] = shown_as.get("clients", [])


class Proxy(toxiproxy.Proxy):  # type: ignore[misc]
    """A proxy as its server showed it; `refresh` looks again."""

    name: str
    upstream: str
    listen: str
    enabled: bool

    def __init__(self, door: Door, **shown_as: Any) -> None:
        super().__init__(**shown_as)
        self._door = door
        self.tap = bool(shown_as.get("tap"))  # of ours only

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, as `socket.create_connection` takes it."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def refresh(self) -> "Proxy":
        super().__init__(**self._ask("GET"))
        return self

    def toxics(self) -> dict[str, Toxic]:
        return {one["name"]: Toxic(**one) for one in self._ask("GET", "toxics")}

    def add_toxic(self, **wanted: Any) -> Toxic:
        """`type`, and where they differ from the server's: `name`, `stream`, `toxicity`, `attributes`."""
        unknown = sorted(set(wanted) - set(FIELDS))
        if unknown or "type" not in wanted:
            raise Refused(f"A toxic takes a type and {', '.join(FIELDS)}, not {shown(unknown or sorted(wanted))}.")
        return Toxic(**self._ask("POST", "toxics", body=wanted))

    def update_toxic(self, name: str, toxicity: float | None = None, **attributes: int) -> Toxic:
        """What is not named stays as it is."""
        body = {"attributes": attributes} | ({} if toxicity is None else {"toxicity": toxicity})
        return Toxic(**self._ask("PATCH", "toxics", name, body=body))

    def destroy_toxic(self, toxic_name: str) -> bool:
        self._ask("DELETE", "toxics", toxic_name)
        return True

    def destroy(self) -> bool:
        self._ask("DELETE")
        return True

    def disable(self) -> None:
        self.update(enabled=False)

    def enable(self) -> None:
        self.update(enabled=True)

    def update(self, **wanted: Any) -> "Proxy":
        """`listen`, `upstream`, `enabled`; another end closes the connections."""
        super().__init__(**self._ask("PATCH", body=wanted))
        return self

    def _ask(self, method: str, *names: str, body: object = None) -> Any:
        return self._door.ask(method, "proxies", self.name, *names, body=body)


class Toxiproxy(toxiproxy.Toxiproxy):  # type: ignore[misc]
    """One server by its URL; as many of these in one process as there are servers."""

    def __init__(self, url: str = "http://127.0.0.1:8474", token: str = "", limit_s: float = LIMIT_S) -> None:
        self._door = Door(url, token, limit_s)
        self.url = self._door.url

    def proxies(self) -> dict[str, Proxy]:
        return {name: Proxy(self._door, **one) for name, one in self._door.ask("GET", "proxies").items()}

    def get_proxy(self, proxy_name: str) -> Proxy | None:
        try:
            return Proxy(self._door, **self._door.ask("GET", "proxies", proxy_name))
        except NotThere:
            return None

    def proxy_named(self, proxy_name: str) -> Proxy:
        """Without asking whether it is there, and where."""
        return Proxy(self._door, name=proxy_name, upstream="", listen="", enabled=True)

    def running(self) -> bool:
        try:
            return self.version() is not None
        except Unreachable:
            return False

    def version(self) -> str | None:
        said = self._door.ask("GET", "version")
        return said.get("version") if isinstance(said, dict) else None

    def reset(self) -> bool:
        """Enables each proxy and removes each toxic of the server, whoever made it: not for a server that others use."""
        self._door.ask("POST", "reset")
        return True

    def create(self, upstream: str, name: str, listen: str | None = None, enabled: bool | None = None) -> Proxy:
        wanted: dict[str, Any] = {"name": name, "upstream": upstream, "listen": listen or "127.0.0.1:0"}
        if enabled is not None:
            wanted |= {"enabled": enabled}
        return Proxy(self._door, **self._door.ask("POST", "proxies", body=wanted))

    def populate(self, proxies: list[dict[str, Any]]) -> list[Proxy]:
        """In the server, in one request: what is there with the same ends stays with its toxics and connections."""
        answer = self._door.ask("POST", "populate", body=proxies)
        return [Proxy(self._door, **one) for one in answer["proxies"] or []]

    def read_so_far(self) -> dict[str, Any]:
        """Of a server of ours, by proxy: its `connections` and how each is read, and what `toxics` on messages have done."""
        found: dict[str, Any] = self._door.ask("GET", "reprise", "connections")
        return found

    def update_api_consumer(self, host: str, port: int) -> None:
        """Theirs changes the address of all servers at once; here each has its own."""
        raise NotPossible(f"Make another Toxiproxy for {host}:{port}: each keeps to its own server.")


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json() if answer.content else None
    except ValueError:
        return None
