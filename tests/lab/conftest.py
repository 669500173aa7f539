"""Real labs to test against: `lab` is shared by the tests of a module, `new_lab` starts others."""

import contextlib
import itertools
import json
import resource
import signal
import time
from collections import Counter

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from chaosreprise.clock import boottime
from chaosreprise.procs import myself, send_signal
from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

SMALL = {"memory": "128Mi", "cpu": "100m"}
FAST = {"agents": 3, "users": 12, "heartbeat_s": 0.2, "reconcile_s": 0.1}
WAIT_S = 10.0
PERMANENT_FDS = 4  # standard input, output and error, and the first that a component opens or is given


def until(look, what, limit_s=WAIT_S):
    """Ask until the answer is true; that answer."""
    end = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        time.sleep(0.01)
    return found


class Lab:
    """A running lab, as its caller, its administrator, its agent and its keeper's client see it."""

    def __init__(self, stack):
        self.stack = stack
        self.dir = stack.dir
        self.settings = json.loads((self.dir / "lab.json").read_text())
        ports = [self.settings["control_port"], *self.settings["more_control_ports"]]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.url = self.urls[0]
        kept = httpx.Limits(keepalive_expiry=None)
        self.http = httpx.Client(base_url=self.url, timeout=20, trust_env=False, limits=kept)
        self.login()

    def login(self):
        answer = self.http.post("/api/v1/auth/login", json={"username": "admin", "password": self.secret("admin")})
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def secret(self, name):
        return (self.dir / "secrets" / name).read_text()

    def call(self, method, path, body=None, **options):
        return self.http.request(method, f"/api/v1{path}", json=body, **options)

    def create(self, user="user01", **fields):
        body = {"user": user, "template": "python", "resources": SMALL} | fields
        return self.call("POST", "/sessions", body)

    def running(self, user="user01", **fields):
        """The name of a new session, once it runs."""
        answer = self.create(user, **fields)
        assert answer.status_code == 202, answer.text
        self.wait(answer.json()["name"], "running")
        return answer.json()["name"]

    def running_on(self, agent, count):
        """Names of new running sessions, `count` of them on this agent."""
        found, users = [], itertools.cycle(self.settings["users"])
        while len(found) < count:
            name = self.running(next(users))
            found += [name] if self.agent_of(name) == agent else []
        return found

    def change(self, name, verb):
        answer = (
            self.call("DELETE", f"/sessions/{name}") if verb == "stop" else self.call("PUT", f"/sessions/{name}/{verb}")
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["commandId"]

    def state(self, name):
        return self.call("GET", f"/sessions/{name}").json().get("state")

    def wait(self, name, state):
        until(lambda: self.state(name) == state, f"{name} is {state}, but {self.state(name)}")

    def clear(self):
        """Stop every session, so that the next test has all places."""
        for row in self.sql("select id from sessions where state not in ('terminating', 'terminated')"):
            self.change(row["id"], "stop")
        until(lambda: not self.sql("select 1 from sessions where state <> 'terminated'"), "all sessions terminated")

    def step(self, name, code):
        return self.http.post(f"/sessions/{name}/steps", json={"command": code})

    def sql(self, query, *values):
        with psycopg.connect(self.secret("reader.dsn"), row_factory=dict_row, connect_timeout=2) as connection:
            return connection.execute(query, values).fetchall()

    def command(self, number):
        return self.sql("select * from agent_commands where command_id = %s", number)[0]

    def statuses(self, commands):
        rows = self.sql("select status from agent_commands where command_id = any(%s)", list(commands))
        return Counter(row["status"] for row in rows)

    def wait_done(self, commands):
        until(lambda: self.statuses(commands) == {"completed": len(commands)}, f"all of {commands} are completed")

    def agent_of(self, name):
        return self.sql("select agent_id from sessions where id = %s", name)[0]["agent_id"]

    def marks(self, name):
        """What the keeper's ledger says of a slot."""
        lines = [json.loads(line) for line in (self.dir / "slots.jsonl").read_text().splitlines()[1:]]
        return [line["mark"] for line in lines if line["kind"] == "slot" and line["object"] == name]

    def log(self):
        return [json.loads(line) for line in (self.dir / "logs" / "lab.jsonl").read_text().splitlines()]

    def component(self, name):
        with Keeper(self.stack.address) as keeper:
            return next(c for c in keeper.status().components if c.name == name)

    def slot(self, name):
        with Keeper(self.stack.address) as keeper:
            return keeper.get(name)

    def kill(self, name, number=signal.SIGKILL):
        """Signal a component, with SIGKILL by default; the keeper brings it back. Which process it was."""
        inc = until(lambda: self.component(name).inc, f"{name} runs")
        assert send_signal(inc, number), f"{name} was gone already"
        return inc

    def back(self, name, was):
        """Wait until another process of a component than this one is up."""
        until(lambda: (now := self.component(name)).state == "up" and now.inc != was, f"{name} is back")

    @contextlib.contextmanager
    def paused(self, name):
        inc = self.kill(name, signal.SIGSTOP)
        try:
            yield inc
        finally:
            send_signal(inc, signal.SIGCONT)

    @contextlib.contextmanager
    def starved(self, name):
        """A component may open no file descriptor, also in the place of one that it closes; it keeps those that it has."""
        pid = self.component(name).inc.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (PERMANENT_FDS, hard))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))

    def online(self):
        """How many agents the control plane calls online; None while it does not say."""
        with contextlib.suppress(httpx.TransportError):
            answer = self.call("GET", "/admin/agents?status=online")
            return answer.json()["total"] if answer.status_code == 200 else None

    def take_away(self, name):
        inc = until(lambda: self.component(name).inc, f"{name} runs")
        with Keeper(self.stack.address) as keeper:
            keeper.hold(name, inc, "test", owners=[myself()], lease_end=boottime() + 60 * 10**9)
        send_signal(inc, signal.SIGKILL)
        until(lambda: self.component(name).state == "held", f"{name} is held")

    def bring_back(self, name):
        with Keeper(self.stack.address) as keeper:
            keeper.release(name, "test")
        until(lambda: self.component(name).state == "up", f"{name} is up")

    @contextlib.contextmanager
    def away(self, *names):
        for name in names:
            self.take_away(name)
        try:
            yield
        finally:
            for name in names:
                self.bring_back(name)

    def close(self):
        self.http.close()


@pytest.fixture(scope="session")
def lab_state(tmp_path_factory):
    """The labs of these tests have a state directory of their own."""
    return str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def new_lab(lab_state):
    """Starts labs that end with the test."""
    with contextlib.ExitStack() as labs:
        yield lambda defect="", **options: labs.enter_context(started(lab_state, defect, options))


@pytest.fixture(scope="module")
def shared_lab(lab_state, request):
    """As the module's LAB wants it, if it says so."""
    with started(lab_state, "", getattr(request.module, "LAB", {})) as lab:
        yield lab


@contextlib.contextmanager
def started(state, defect, options):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", state)
        environment.setenv("REPRISE_LAB_DEFECT", defect)
        stack = starter.start(**FAST | options, owned=True)
    try:
        with contextlib.closing(Lab(stack)) as lab:
            yield lab
    finally:
        stack.end()


@pytest.fixture
def lab(shared_lab):
    """The module's lab, with all agents at the begin and without sessions at the end of each test."""
    until(lambda: shared_lab.online() == len(shared_lab.settings["agents"]), "all agents are online")
    yield shared_lab
    shared_lab.clear()


@pytest.fixture(name="until", scope="session")
def until_fixture():
    return until
