"""A small real HTTP server in this process: a control plane with sessions, a health page, a Prometheus. Tests change what it says."""

import contextlib
import http.server
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any


class Toy:
    """What the server says. `asked` are the requests: method and path."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.health = 200
        self.sessions: list[dict[str, Any]] = []
        self.total: int | None = None
        self.role = "admin"
        self.series: list[Any] = [1.0]
        self.said: dict[str, Any] | None = None
        self.asked: list[tuple[str, str]] = []

    def add(self, name: str, state: str = "running", tags: list[str] | None = None) -> None:
        self.sessions.append({"name": name, "state": state, "tags": tags or []})

    def answer(self, path: str, query: str) -> tuple[int, Any]:
        match path:
            case "/api/v1/auth/login":
                return 200, {"token": "t", "user": {"role": self.role}}
            case "/api/v1/sessions":
                return 200, {
                    "sessions": self.sessions,
                    "total": len(self.sessions) if self.total is None else self.total,
                }
            case "/api/v1/query":
                result = [{"metric": {"query": query}, "value": [1.0, str(value)]} for value in self.series]
                return 200, self.said or {"status": "success", "data": {"resultType": "vector", "result": result}}
        return self.health, {}


class Recording(Toy):
    """Hands everything on to a real server, and keeps what was asked."""

    def __init__(self, port: int, upstream: str) -> None:
        super().__init__(port)
        self._upstream = upstream

    def hand_on(self, method: str, path: str, headers: dict[str, str], data: bytes) -> tuple[int, bytes]:
        request = urllib.request.Request(self._upstream + path, data or None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@contextlib.contextmanager
def recording(upstream: str) -> Iterator[Recording]:
    with serve(upstream) as toy:
        assert isinstance(toy, Recording)
        yield toy


@contextlib.contextmanager
def serve(upstream: str | None = None) -> Iterator[Toy]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urllib.parse.urlsplit(self.path)
            toy.asked.append((self.command, parts.path))
            if isinstance(toy, Recording):
                kept = {
                    name: value for name, value in self.headers.items() if name in ("Authorization", "Content-Type")
                }
                status, data = toy.hand_on(self.command, self.path, kept, sent)
            else:
                query = urllib.parse.parse_qs(parts.query).get("query", [""])[0]
                status, body = toy.answer(parts.path, query)
                data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_PUT = do  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    toy = Toy(server.server_port) if upstream is None else Recording(server.server_port, upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield toy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
