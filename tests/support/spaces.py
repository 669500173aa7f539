"""A StreamSpace as whoever speaks its contract sees it: the embedded platform, and the stand-in of strangers."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import standin_space
from psycopg.rows import dict_row
from standins import STANDINS
from toystack import free_port

from chaosreprise.lab import settings
from chaosreprise.stack import starter

AGENTS = 2
WAIT_S = 30.0
SMALL = {"memory": "128Mi", "cpu": "100m"}


@dataclass
class Served:
    """`dsn`: of one who may see and change everything. `key`: of the agent `agent`."""

    url: str
    password: str
    dsn: str
    bootstrap: str
    agent: str
    key: str
    template: str
    user: str

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=f"{self.url}/api/v1", timeout=20, trust_env=False)

    def enter(self) -> None:
        """Log in, and wait for the agents."""
        self.until(self._logged_in, "the control plane answers")
        self.until(lambda: self.ask("GET", "/admin/agents?status=online").json()["total"] == AGENTS, "agents are there")

    def _logged_in(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            said = self.http.post("/auth/login", json={"username": "admin", "password": self.password})
            if said.status_code == 200:
                self.http.headers["Authorization"] = f"Bearer {said.json()['token']}"
                return True
        return False

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None, **options: Any) -> httpx.Response:
        """`key`: of an agent."""
        headers = {"X-Agent-API-Key": key} if key is not None else {}
        return self.http.request(method, path, json=body, headers=headers, **options)

    def create(self, **fields: Any) -> httpx.Response:
        body = {"user": self.user, "template": self.template, "resources": SMALL}
        return self.ask("POST", "/sessions", body | fields)

    def running(self) -> str:
        name: str = self.create().json()["name"]
        self.in_state(name, "running")
        return name

    def in_state(self, name: str, state: str) -> None:
        self.until(lambda: self.ask("GET", f"/sessions/{name}").json()["state"] == state, f"{name} is {state}")

    def ended(self, name: str) -> None:
        self.ask("DELETE", f"/sessions/{name}")
        self.in_state(name, "terminated")

    def sql(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def until(self, look: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + WAIT_S
        while not look():
            assert time.monotonic() < end, f"not within {WAIT_S} s: {what}"
            time.sleep(0.01)


@contextlib.contextmanager
def lab() -> Iterator[Served]:
    """The embedded platform."""
    stack = starter.start(agents=AGENTS, users=6, heartbeat_s=0.2, reconcile_s=0.1, owned=True)

    def secret(name: str) -> str:
        return (stack.dir / "secrets" / name).read_text()

    try:
        served = Served(
            settings.load(stack.dir).control_url, secret("admin"), secret("superuser.dsn"), secret("bootstrap"), "a1", secret("agents/a1"), "python", "user01"
        )  # fmt: skip
        with served.http:
            served.enter()
            yield served
    finally:
        stack.end()


@contextlib.contextmanager
def stand_in(folder: pathlib.Path, defect: str = "none", **more: str) -> Iterator[Served]:
    """Its processes, started by hand."""
    at, port = STANDINS / "streamspace", free_port()
    with standin_space.database(folder) as dsn, contextlib.ExitStack() as running:
        env = {"PATH": os.environ["PATH"], "PORT": str(port), "DATABASE_URL": dsn, "STANDIN_DEFECT": defect}
        env |= {"ADMIN_PASSWORD": standin_space.PASSWORD, "JWT_SECRET": "jwt", "RATE_LIMIT_ENABLED": "false"}
        env |= {"AGENT_BOOTSTRAP_KEY": standin_space.BOOTSTRAP, "CONTROL_PLANE_URL": f"ws://127.0.0.1:{port}"}
        env |= {"AGENT_API_KEY": standin_space.KEY, "HEALTH_CHECK_INTERVAL": "1"} | more

        def start(program: str, **own: str) -> None:
            process = subprocess.Popen([sys.executable, at / program], env=env | own, cwd=folder)
            running.callback(process.wait)
            running.callback(process.kill)

        start("control_plane.py")
        for agent in standin_space.AGENTS:
            start("agent.py", AGENT_ID=agent, OBJECTS=str(folder / f"objects-{agent}"))
        served = Served(
            f"http://127.0.0.1:{port}", standin_space.PASSWORD, dsn, standin_space.BOOTSTRAP, standin_space.AGENTS[0],
            standin_space.KEY, "firefox-browser", standin_space.USERS[0],
        )  # fmt: skip
        with served.http:
            served.enter()
            yield served
