"""A running sandbox for tests: its three processes, its callers, and whoever may look at its files and processes."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from urllib.parse import urlsplit

import httpx
import psycopg

from chaosreprise.lab.sandbox import tokens
from chaosreprise.lab.sandbox.prepare import AGENT, CONTROL, DATA, DATABASE, Options, prepare

WAIT_S = 20.0
APART_S = 1.05  # of two creates at the control plane, whose ids are seconds
MARK = "import os\nfd = os.open('ledger', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)\nos.write(fd, b{!r})\nos.close(fd)\n"
WAIT = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"

TOKENS = """\
token = {{ file = "token" }}
other_token = {{ file = "other" }}
tools = "{made.tools}/tools"
"""
FILE = """\
version = 1
kind = "sandbox"
name = "ours"
[identity]
host = "{host}"
[sandbox]
control_plane = "{made.control}"
data_plane = "{made.data_plane}"
agent = "{made.session_agent}"
runtime = "{made.runtime}"
{token}
[evidence.rows]
kind = "sqlite"
path = "it/control-plane.db"
hz = 20
[evidence.workspaces]
kind = "files"
path = "{made.workspaces}"
hz = 25
[allow]
faults = ["agents.crash"]
share = 1.0
[timing]
settle = {{ backoff_s = 0.4, reconcile_s = 0.1, slowest_s = 0.1 }}
offline_s = 1.0
[promises]
durable = true
at_most_once = true
files = true
memory = true
{more}
"""


def until(look, what, limit_s=WAIT_S):
    """Ask until the answer is true; that answer."""
    end = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        time.sleep(0.01)
    return found


def marks(text):
    """Code that appends a line to the ledger in its working directory."""
    return MARK.format(f"{text}\n")


def waiting(name):
    """Code that says where it begins and ends, and waits in between."""
    return marks(f"{name} b") + WAIT + marks(f"{name} e")


def stat(pid):
    """The fields of /proc/PID/stat from the state on; empty for none, or a zombie."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def pids():
    return [path.name for path in pathlib.Path("/proc").iterdir() if path.name.isdigit()]


def platform_file(folder, more="", env=None, **options):
    """One whose three processes are commands, with rows in SQLite; `env`: more of what each process finds in its environment."""
    made = prepare(folder / "it", Options(**options))
    names = {AGENT: "agents/a1"}
    parts = [
        f'[components."{names.get(process.name, process.name)}"]\nhow = "process"\ncommand = {json.dumps(process.command)}\n'
        f'port = {process.port}\n[components."{names.get(process.name, process.name)}".env]\n'
        + "".join(
            f"{name} = {json.dumps(value)}\n"
            for name, value in (process.env | (env or {})).items()
            if value and name != "PATH"
        )
        for process in made.processes
    ]
    (folder / "token").write_text(made.token)
    secret = made.process(CONTROL).env.get("AUTH_JWT_SECRET", "")
    (folder / "other").write_text(tokens.sign({"tenant_id": "others", "agent_id": "reprise"}, secret))
    path = folder / "platform.toml"
    path.write_text(FILE.format(
        made=made, host=socket.gethostname(), token=TOKENS.format(made=made) if made.token else "", more=more
    ) + "\n".join(parts))  # fmt: skip
    return path


class Platform:
    """A running sandbox, as its caller sees it, and whoever may look at its processes and files."""

    def __init__(self, folder, options):
        self.folder = folder
        self.made = prepare(folder, options)
        self.running = {}
        headers = {"Authorization": f"Bearer {self.made.token}"} if self.made.token else {}
        never_kept = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.Client(timeout=60, trust_env=False, limits=never_kept, headers=headers)
        self._last_create = 0.0

    def start(self, *names, **env):
        named = names or [process.name for process in self.made.processes]
        for name in named:
            process = self.made.process(name)
            with pathlib.Path(process.log).open("ab") as log:
                everything = os.environ | process.env | env
                self.running[name] = subprocess.Popen(
                    process.command, env=everything, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
                )
        for name in named:
            self.wait(name)
        return self

    def wait(self, name):
        until(lambda: self.answers(name), f"{name} answers")

    def answers(self, name):
        process = self.made.process(name)
        assert self.running[name].poll() is None, self.log(name)
        with contextlib.suppress(httpx.TransportError, psycopg.OperationalError):
            if name == DATABASE:
                psycopg.connect(self.made.database, connect_timeout=5).close()
                return True
            return self.http.get(process.health).status_code in {200, 401}
        return False

    def log(self, name):
        return pathlib.Path(self.made.process(name).log).read_text()

    def send(self, name, number):
        self.running[name].send_signal(number)

    def end(self, name, number=signal.SIGKILL):
        """Signal it, and wait until it has ended; with what."""
        self.send(name, number)
        return self.running[name].wait(WAIT_S)

    def restart(self, name, number=signal.SIGKILL):
        self.end(name, number)
        self.start(name)

    def post(self, url, value=None, **more):
        return self.http.post(url, json=value, **more)

    def create(self, *, apart=True, at="", **body):
        """At the control plane, in a second of its own unless told otherwise."""
        if apart:
            time.sleep(max(0.0, self._last_create + APART_S - time.monotonic()))
        answer = self.post(at or f"{self.made.control}/sessions", {"runtime": self.made.runtime} | body)
        self._last_create = time.monotonic()
        return answer

    def creates_at_once(self, count):
        """The answers to so many creates, which begin with a second and follow each other at once."""
        time.sleep(max(0.0, self._last_create + APART_S - time.monotonic()))
        time.sleep(1.0 - time.time() % 1.0)
        return [self.create(apart=False) for _ in range(count)]

    def created(self, **body):
        answer = self.create(**body)
        assert answer.status_code == 201, (answer.status_code, self.log(CONTROL), self.log(DATA))
        return answer.json()["id"]

    def session(self, runtime=None):
        """A new session by the data plane alone, which needs no second of its own."""
        name = f"session-{uuid.uuid4().hex[:12]}"
        asked = {"sessionId": name, "runtime": runtime or self.made.runtime}
        answer = self.post(f"{self.made.data_plane}/sessions", asked)
        assert answer.status_code == 202, (answer.status_code, self.log(DATA))
        return name

    def step(self, session, command):
        return self.post(f"{self.made.control}/sessions/{session}/steps", {"command": command})

    def data_step(self, session, command):
        return self.post(f"{self.made.data_plane}/sessions/{session}/steps", {"command": command})

    def terminate(self, session):
        return self.post(f"{self.made.data_plane}/sessions/{session}/terminate")

    def printed(self, session, command):
        answer = self.step(session, command)
        assert answer.status_code == 202, (answer.status_code, self.log(CONTROL), self.log(DATA))
        return answer.json()["stdout"]

    def workspace(self, session):
        return pathlib.Path(self.made.workspaces, session)

    def ledger(self, session):
        with contextlib.suppress(FileNotFoundError):
            return (self.workspace(session) / "ledger").read_text().splitlines()
        return []

    def begun(self, session, name):
        until(lambda: f"{name} b" in self.ledger(session), f"{name} has begun")

    def go(self, session):
        (self.workspace(session) / "go").touch()

    def interpreters(self, session, below=None):
        """The pids of the processes that work in a session's folder, by whose child they are."""
        found = []
        for pid in pids():
            with contextlib.suppress(OSError):
                parent = self.running[below].pid if below else None
                if os.readlink(f"/proc/{pid}/cwd") == str(self.workspace(session)) and (fields := stat(pid)):
                    found += [int(pid)] if parent in {None, int(fields[1])} else []
        return found

    def routes(self):
        return json.loads(pathlib.Path(self.made.registry).read_text())

    def rows(self, query):
        """Read when no command is under way."""
        if self.made.driver == "postgres":
            with psycopg.connect(self.made.database, connect_timeout=5) as connection:
                return connection.execute(query).fetchall()
        with contextlib.closing(self.reader()) as connection:
            return connection.execute(query).fetchall()

    def reader(self):
        return sqlite3.connect(urlsplit(self.made.database).path, isolation_level=None)

    def steps_of(self, session):
        return self.rows(f"select id, command, status from session_steps where session_id = '{session}' order by id")

    def close(self):
        self.http.close()
        sessions = {str(process.pid) for process in self.running.values()}
        for name, process in self.running.items():
            process.send_signal(signal.SIGQUIT if name == DATABASE else signal.SIGKILL)
        for process in self.running.values():
            process.wait(WAIT_S)
        for pid in pids():
            fields = stat(pid)
            if fields and fields[3] in sessions:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


class Beside(threading.Thread):
    """A call that is made while the test goes on; `answer` is its status, or None where there was none."""

    def __init__(self, call, *arguments):
        super().__init__(daemon=True)
        self._call, self._arguments = call, arguments
        self.answer = None
        self.start()

    def run(self):
        with contextlib.suppress(httpx.TransportError):
            self.answer = self._call(*self._arguments)

    def status(self):
        self.join(60)
        assert not self.is_alive()
        return self.answer.status_code if self.answer is not None else None
