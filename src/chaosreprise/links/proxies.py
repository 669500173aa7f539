"""All proxies of a server, by name: what each request of the HTTP API does to them, and what it answers.

The rules and their order are those of Toxiproxy 2.12, and so are the sentences of the errors, which clients show.
"""

import copy
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

from chaosreprise.links import gojson
from chaosreprise.links.addresses import AddressError
from chaosreprise.links.feed import Feed
from chaosreprise.links.kinds import KINDS
from chaosreprise.links.loop import Loop
from chaosreprise.links.proxy import Proxy, shown
from chaosreprise.links.stage import Toxic

PROXY = {"name": str, "listen": str, "upstream": str, "enabled": bool, "tap": bool}
TOXIC = {"name": str, "type": str, "stream": str, "toxicity": float, "attributes": dict, "clients": list}


class ApiError(Exception):
    def __init__(self, message: str, status: int, extra: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.body = {"error": message, "status": status, **(extra or {})}
        self.status = status


class Proxies:
    """One request at a time: `lock` is held around each."""

    def __init__(self, loop: Loop) -> None:
        self.lock = threading.Lock()
        self.feed = Feed(loop)
        self.feed.changed = self._look
        self._loop = loop
        self._by_name: dict[str, Proxy] = {}

    def index(self) -> dict[str, Any]:
        return {name: self._by_name[name].shown() for name in sorted(self._by_name)}

    def all(self) -> Iterable[Proxy]:
        return list(self._by_name.values())  # the loop asks as well

    def create(self, body: bytes) -> dict[str, Any]:
        said = _read(body, PROXY)
        _need(said, "name", "name")
        _need(said, "upstream", "upstream")
        proxy = self._make(said)
        if proxy.name in self._by_name:
            raise ApiError("proxy already exists", 409)
        if said.get("enabled", True):
            proxy.start()
        self._by_name[proxy.name] = proxy
        return proxy.shown()

    def populate(self, body: bytes) -> dict[str, Any]:
        """All that could be made; a refusal says what was made before it."""
        done: list[dict[str, Any]] = []
        try:
            done.extend(self._put(said).shown() for said in self._wanted(body))
        except AddressError as error:
            raise ApiError(str(error), 500, {"proxies": done or None}) from error
        except ApiError as error:
            raise ApiError(str(error), error.status, {"proxies": done or None}) from error
        return {"proxies": done or None}

    def show(self, name: str) -> dict[str, Any]:
        return self._proxy(name).shown()

    def update(self, name: str, body: bytes) -> dict[str, Any]:
        proxy = self._proxy(name)
        said: dict[str, Any] = {"listen": proxy.listen, "upstream": proxy.upstream, "enabled": proxy.enabled} | _read(
            body, PROXY
        )
        if "tap" in said:
            proxy.read_along(said["tap"])
        proxy.update(said["listen"], said["upstream"], said["enabled"])
        return proxy.shown()

    def delete(self, name: str) -> None:
        self._proxy(name).stop()
        del self._by_name[name]

    def reset(self) -> None:
        for proxy in self.all():
            proxy.start()
            for toxic in list(proxy.toxics):
                proxy.remove(toxic)

    def toxics(self, name: str) -> list[dict[str, Any]]:
        toxics: list[dict[str, Any]] = self.show(name)["toxics"]
        return toxics

    def add_toxic(self, name: str, body: bytes) -> dict[str, Any]:
        proxy = self._proxy(name)
        said: dict[str, Any] = {"name": "", "type": "", "stream": "downstream", "toxicity": 1.0} | _read(body, TOXIC)
        if said["stream"].lower() not in {"upstream", "downstream"}:
            raise ApiError("stream was invalid, can be either upstream or downstream", 400)
        if said["type"] not in KINDS:
            raise ApiError("invalid toxic type", 400)
        label = said["name"] or f"{said['type']}_{said['stream']}"
        if any(toxic.name == label for toxic in proxy.toxics):
            raise ApiError("toxic already exists", 409)
        attributes = _changed(KINDS[said["type"]](), said.get("attributes"))
        if attributes.only and attributes.only != said["stream"].lower():
            raise ApiError(f"stream was invalid, {said['type']} acts on {attributes.only} only", 400)
        toxic = Toxic(attributes, label, said["type"], said["stream"], said["toxicity"], clients=_clients(said))
        proxy.add(toxic)
        return shown(toxic)

    def show_toxic(self, name: str, toxic: str) -> dict[str, Any]:
        return shown(self._toxic(self._proxy(name), toxic))

    def update_toxic(self, name: str, label: str, body: bytes) -> dict[str, Any]:
        proxy = self._proxy(name)
        toxic = self._toxic(proxy, label)
        said = _read(body, {key: TOXIC[key] for key in ("toxicity", "attributes")})
        attributes = _changed(toxic.attributes, said.get("attributes"))
        proxy.change(toxic, attributes, said.get("toxicity", toxic.toxicity))
        return shown(toxic)

    def delete_toxic(self, name: str, label: str) -> None:
        proxy = self._proxy(name)
        proxy.remove(self._toxic(proxy, label))

    def connections(self) -> dict[str, Any]:
        """What is read of each connection, and what the toxics that act on messages have done."""
        return {proxy.name: self._loop.call(proxy.read_so_far) for proxy in self.all()}

    def subscribe(self, sock: socket.socket, proxies: frozenset[str]) -> None:
        self._loop.call(lambda: self.feed.subscribe(sock, proxies, self._first))

    def _first(self) -> list[dict[str, Any]]:
        there = [one for proxy in self.all() for one in proxy.read_so_far()["connections"]]
        now = {"t": time.monotonic_ns()}
        return [now | {"what": "subscribed"}, *(now | {"what": "there"} | one for one in there)]

    def _look(self) -> None:
        for proxy in self.all():
            proxy.look()

    def _proxy(self, name: str) -> Proxy:
        if name not in self._by_name:
            raise ApiError("proxy not found", 404)
        return self._by_name[name]

    def _toxic(self, proxy: Proxy, label: str) -> Toxic:
        for toxic in proxy.toxics:
            if toxic.name == label:
                return toxic
        raise ApiError("toxic not found", 404)

    def _wanted(self, body: bytes) -> list[dict[str, Any]]:
        value = _value(body)
        if value is not None and not isinstance(value, list):
            raise ApiError("bad request body: a list of proxies was expected", 400)
        wanted = [_fields(one, PROXY) for one in value or []]
        for number, said in enumerate(wanted, 1):
            _need(said, "name", f"name at proxy {number}")
            _need(said, "upstream", f"upstream at proxy {number}")
        return wanted

    def _make(self, said: dict[str, Any]) -> Proxy:
        tap = said.get("tap", False)
        return Proxy(self._loop, said["name"], said.get("listen", ""), said["upstream"], self.feed, tap)

    def _put(self, said: dict[str, Any]) -> Proxy:
        """The one that is there, untouched, when it has the same ends; else a new one without toxics in its place."""
        proxy = self._make(said)
        if existing := self._by_name.get(proxy.name):
            if not existing.differs(proxy.listen, proxy.upstream):
                if "tap" in said:
                    existing.read_along(said["tap"])
                return existing
            existing.stop()
        if said.get("enabled", True):
            proxy.start()
        self._by_name[proxy.name] = proxy
        return proxy


def _clients(said: dict[str, Any]) -> tuple[str, ...]:
    clients = said.get("clients", [])
    if not all(isinstance(client, str) for client in clients):
        raise ApiError("bad request body: clients is a list of addresses", 400)
    return tuple(clients)


def _changed(attributes: Any, said: Any) -> Any:
    """A copy: a refused change leaves all as it was."""
    changed = copy.copy(attributes)
    for name, value in _fields(said, {name: type(value) for name, value in vars(attributes).items()}).items():
        setattr(changed, name, value)
    if wrong := changed.wrong():
        raise ApiError(f"bad request body: {wrong}", 400)
    return changed


def _need(said: dict[str, Any], field: str, called: str) -> None:
    if not said.get(field):
        raise ApiError(f"missing required field: {called}", 400)


def _read(body: bytes, types: dict[str, type]) -> dict[str, Any]:
    return _fields(_value(body), types)


def _value(body: bytes) -> Any:
    try:
        return gojson.first_value(body)
    except gojson.NotReadable as error:
        raise ApiError(f"bad request body: {error}", 400) from error


def _fields(value: Any, types: dict[str, type]) -> dict[str, Any]:
    try:
        return gojson.fields(value, types)
    except gojson.NotReadable as error:
        raise ApiError(f"bad request body: {error}", 400) from error
