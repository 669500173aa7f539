"""Toxiproxy's HTTP API (2.12) over the proxies of this process, on loopback, with a token where one is given; and under
/reprise what is ours alone.

A browser is turned away by its User-Agent, as there: any page could otherwise cut a connection of whoever visits it.
"""

import hmac
import http.server
import json
import re
import socket
import traceback
import urllib.parse
from collections.abc import Callable
from functools import partial
from typing import Any

from chaosreprise.links.addresses import AddressError
from chaosreprise.links.proxies import ApiError, Proxies

VERSION = "2.12.0"  # of the API that this is
LARGEST = 1 << 20  # bytes of a request
JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"
BROWSER = "Mozilla/"
IDLE_S = 60  # of a client that keeps its connection

Answer = tuple[int, str, bytes]
LINES: Answer = (200, "application/x-ndjson", b"")  # without an end: the connection is the loop's from there on


def _json(status: int, value: Any) -> Answer:
    return status, JSON, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _done(act: Callable[[], None]) -> Answer:
    act()
    return 204, "", b""


class Api:
    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        p = proxies
        one, toxics, toxic = "/proxies/([^/]+)", "/proxies/([^/]+)/toxics", "/proxies/([^/]+)/toxics/([^/]+)"
        self._routes: dict[str, dict[str, Callable[..., Answer]]] = {
            "/reset": {"POST": lambda _body: _done(p.reset)},
            "/proxies": {"GET": lambda _body: _json(200, p.index()), "POST": lambda body: _json(201, p.create(body))},
            "/populate": {"POST": lambda body: _json(201, p.populate(body))},
            one: {
                "GET": lambda _body, name: _json(200, p.show(name)),
                **dict.fromkeys(("POST", "PATCH"), lambda body, name: _json(200, p.update(name, body))),
                "DELETE": lambda _body, name: _done(partial(p.delete, name)),
            },
            toxics: {
                "GET": lambda _body, name: _json(200, p.toxics(name)),
                "POST": lambda body, name: _json(200, p.add_toxic(name, body)),
            },
            toxic: {
                "GET": lambda _body, name, label: _json(200, p.show_toxic(name, label)),
                **dict.fromkeys(
                    ("POST", "PATCH"), lambda body, name, label: _json(200, p.update_toxic(name, label, body))
                ),
                "DELETE": lambda _body, name, label: _done(partial(p.delete_toxic, name, label)),
            },
            "/version": {"GET": lambda _body: (200, f"{JSON};charset=utf-8", f'{{"version": "{VERSION}"}}\n'.encode())},
            "/reprise/frames": {"GET": lambda _body: LINES},
            "/reprise/connections": {"GET": lambda _body: _json(200, p.connections())},
            "/metrics": {"GET": lambda _body: (200, "text/plain; version=0.0.4; charset=utf-8", metrics(p))},
        }

    def subscribe(self, sock: socket.socket, proxies: frozenset[str]) -> None:
        with self._proxies.lock:
            self._proxies.subscribe(sock, proxies)

    def answer(self, method: str, path: str, agent: str, body: bytes) -> Answer:
        """As the real server: where nothing is, and how, is told to anybody."""
        for pattern, methods in self._routes.items():
            if found := re.fullmatch(pattern, path):
                if method not in methods:
                    return 405, "", b""
                if agent.startswith(BROWSER):
                    return 403, PLAIN, b"User agent not allowed\n"
                return self._call(methods[method], body, *found.groups())
        return 404, PLAIN, b"404 page not found\n"

    def _call(self, handler: Callable[..., Answer], body: bytes, *names: str) -> Answer:
        try:
            with self._proxies.lock:
                return handler(body, *names)
        except ApiError as error:
            return _refusal(error.status, error.body)
        except AddressError as error:
            return _refusal(500, {"error": str(error), "status": 500})
        except Exception as error:  # noqa: BLE001  a bug; the server goes on, and says so where it is started
            traceback.print_exc()
            return _refusal(500, {"error": repr(error), "status": 500})


def _refusal(status: int, body: dict[str, Any]) -> Answer:
    """In plain text, as Go's http.Error sends it; but `populate` says in JSON what it has done so far."""
    if "proxies" in body:
        return _json(status, body)
    return status, PLAIN, _json(status, body)[2] + b"\n"


def metrics(proxies: Proxies) -> bytes:
    lines = []
    for number, what in enumerate(("received", "sent")):
        lines += [f"# HELP toxiproxy_proxy_{what}_bytes_total ", f"# TYPE toxiproxy_proxy_{what}_bytes_total counter"]
        for proxy in proxies.all():
            for direction in ("downstream", "upstream"):
                labels = {
                    "direction": direction,
                    "listener": proxy.listen,
                    "proxy": proxy.name,
                    "upstream": proxy.upstream,
                }
                told = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())
                lines.append(f"toxiproxy_proxy_{what}_bytes_total{{{told}}} {proxy.passed(direction)[number]}")
    return ("\n".join(lines) + "\n").encode()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, api: Api, token: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.api, self.token = api, token
        self.subscribers: set[socket.socket] = set()

    def handle_error(self, *_arguments: object) -> None:
        """A client that went away in the middle is its own business."""

    def shutdown_request(self, request: Any) -> None:
        """A subscriber's connection lives on in the loop: this is only its first descriptor."""
        if request in self.subscribers:
            self.subscribers.discard(request)
            self.close_request(request)
        else:
            super().shutdown_request(request)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "chaosreprise-links"
    sys_version = ""
    wbufsize = -1  # one packet an answer
    timeout = IDLE_S

    def _handle(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length) > LARGEST or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._send(400, PLAIN, b"400 Bad Request: a Content-Length of at most 1 MiB is needed\n")
            return
        body = self.rfile.read(int(length))
        if not self._is_allowed():
            self._send(
                *_json(401, {"error": "the header Authorization: Bearer TOKEN is missing or wrong", "status": 401})
            )
            return
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        answer = self.server.api.answer(self.command, path, self.headers.get("User-Agent", ""), body)
        if answer is LINES:
            self._subscribe(urllib.parse.parse_qs(query).get("proxy", []))
        else:
            self._send(*answer)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = do_OPTIONS = _handle  # noqa: N815

    def _subscribe(self, proxies: list[str]) -> None:
        """Lines until one side closes; the loop sends them, and this thread ends."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", LINES[1])
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        self.server.subscribers.add(self.connection)
        self.server.api.subscribe(self.connection.dup(), frozenset(proxies))

    def _is_allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        return not self.server.token or hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """The answer tells the client all there is to say."""
