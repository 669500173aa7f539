"""Every fault on a link, on a real lab: it bites as a client sees it, and leaves nothing when it is undone, whoever undoes it.

Over our own proxy, and with the real Toxiproxy behind it where there is one: a lab each for all tests.
"""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import httpx
import linkwire
import psycopg
import pytest
import runs
from toystack import eventually

from chaosreprise.errors import RepriseError
from chaosreprise.faults import client as faults
from chaosreprise.faults import registry, toxics
from chaosreprise.faults.base import Context
from chaosreprise.links.client import Toxiproxy
from chaosreprise.platform import links
from chaosreprise.platform.file import load
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long

RUN = "links"
BACK_S = 10.0
HEARTBEAT = {"fields": {"type": "heartbeat"}}
CASES = [
    ("links.latency", "links/database", {"ms": 200}),
    ("links.latency", "links/agents/a1", {"ms": 200}),
    ("links.bandwidth", "links/clients", {"kb_per_s": 1}),
    ("links.freeze", "links/agents/a1", {}),
    ("links.freeze", "links/sessions", {}),
    ("links.blackhole", "links/agents/a2", {}),
    ("links.blackhole", "links/database", {"direction": "from"}),
    ("links.reset", "links/agents/a1", {}),
    ("links.cut", "links/sessions", {}),
    ("links.refuse", "links/agents/a3", {}),
    ("links.refuse", "links/clients", {}),
    ("links.flap", "links/agents/a1", {}),
    ("links.ws_drop", "links/agents/a1", {"match": HEARTBEAT, "messages": 0, "direction": "from"}),
    ("links.ws_drop_pings", "links/agents/a1", {}),
    ("links.ws_duplicate", "links/agents/a1", {"match": HEARTBEAT, "direction": "from"}),
    ("links.ws_delay", "links/agents/a1", {"match": HEARTBEAT, "direction": "from", "ms": 60_000}),
    ("links.ws_close", "links/agents/a1", {}),
    ("links.ws_reconnect_storm", "links/agents/a1", {}),
    ("database.refuse", "database", {}),
    ("database.hang", "database", {}),
]
OWNER = """
import json, pathlib, sys, time
from chaosreprise.faults import client
run, platform, keeper, history, file, cases = sys.argv[1:]
warden = client.Warden.start(run=run, platform_id=platform, keeper=keeper, history=pathlib.Path(history), platform_file=file)
for number, (kind, on, args) in enumerate(json.loads(cases)):
    warden.request("inject", fault=f"f{number}", kind=kind, on=on, hold_ns=60 * 10**9, args=args)
print(warden.pid, flush=True)
time.sleep(60)
"""


class Lab:
    """A lab as its clients see it, by its links, with a session that answers steps."""

    def __init__(self, stack):
        self.stack = stack
        self.file = stack.dir / "free.toml"  # other people's sessions may be hit: these tests have no run of their own
        text = stack.platform_file.read_text()
        self.file.write_text(text.replace("foreign_sessions = 0", "foreign_sessions = 1000"))
        self.links = links.of(load(str(self.file)))
        self.http = httpx.Client(base_url=load(str(self.file)).file.control.url, timeout=5, trust_env=False)
        login = {"username": "admin", "password": (stack.dir / "secrets" / "admin").read_text()}
        self.http.headers["Authorization"] = (
            f"Bearer {self.http.post('/api/v1/auth/login', json=login).json()['token']}"
        )
        self.session = self.create()
        eventually(lambda: self.state() == "running", BACK_S)

    def create(self):
        resources = {"memory": "128Mi", "cpu": "100m"}
        answer = self.http.post(
            "/api/v1/sessions", json={"user": "user01", "template": "python", "resources": resources}
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["name"]

    def state(self):
        return self.http.get(f"/api/v1/sessions/{self.session}").json().get("state")

    def step(self, code, **more):
        """What it prints; None when it can't be run."""
        answer = self.http.post(f"/sessions/{self.session}/steps", json={"command": code}, **more)
        return answer.json()["stdout"] if answer.status_code == 202 else None

    def online(self):
        """By the rows, which are read past all links."""
        with psycopg.connect((self.stack.dir / "secrets" / "reader.dsn").read_text(), connect_timeout=2) as connection:
            rows = connection.execute("select agent_id from agents where status = 'online'").fetchall()
        return sorted(name for (name,) in rows)

    def toxics(self):
        """All toxics on all links, and the links that are disabled."""
        found = []
        for link in self.links.values():
            for place in {*link.toxics, *link.fronts}:
                proxy = Toxiproxy(place.admin, place.token()).get_proxy(place.proxy)
                found += proxy.toxics() if proxy.enabled else [f"{link.name} is disabled"]
        return found

    def check_whole(self):
        eventually(lambda: self.online() == ["a1", "a2", "a3"], BACK_S)
        eventually(self.answers, BACK_S)
        assert self.toxics() == []
        with Keeper(self.stack.address) as keeper:
            status = keeper.status()
        assert len(status.links) == len(self.links)
        assert [one.name for one in [*status.components, *status.links] if one.held_by] == []

    def answers(self):
        with contextlib.suppress(httpx.HTTPError):
            return self.step("print(6 * 7)") == "42\n"

    def close(self):
        self.http.close()


class Traffic:
    """Reads and steps all the time, so that something passes the links of clients, sessions and the database."""

    def __init__(self, lab):
        self._lab, self._stop = lab, threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(4)
        for code in ("print(1)", "print('x' * 3000)", None, None):
            self._pool.submit(self._run, code)

    def _run(self, code):
        with httpx.Client(base_url=self._lab.http.base_url, headers=self._lab.http.headers, trust_env=False) as http:
            while not self._stop.is_set():
                with contextlib.suppress(httpx.HTTPError):
                    if code:
                        http.post(f"/sessions/{self._lab.session}/steps", json={"command": code}, timeout=0.5)
                    else:
                        http.get("/api/v1/sessions", timeout=0.5)
                time.sleep(0.02)

    def stop(self):
        self._stop.set()
        self._pool.shutdown()


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory):
    """One state directory for the module."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module", params=["embedded", "real"])
def lab(request, state):
    if request.param == "real" and not linkwire.REAL:
        pytest.skip(linkwire.NO_REAL)
    with pytest.MonkeyPatch.context() as environment:
        if request.param == "embedded":
            without_real(environment)
        stack = runs.start_lab(agents=3)
    try:
        with contextlib.closing(Lab(stack)) as lab:
            yield lab
    finally:
        stack.end()


def without_real(environment):
    """As on a machine that has no Toxiproxy."""
    environment.delenv("TOXIPROXY_URL", raising=False)
    folders = [folder for folder in os.get_exec_path() if not os.access(f"{folder}/toxiproxy-server", os.X_OK)]
    environment.setenv("PATH", os.pathsep.join(folders))
    assert not shutil.which("toxiproxy-server")


@pytest.fixture(scope="module")
def warden(lab, tmp_path_factory):
    platform = f"lab@{RUN}-{lab.stack.id}"
    warden = faults.Warden.start(
        run=RUN,
        platform_id=platform,
        keeper=lab.stack.address,
        history=tmp_path_factory.mktemp("run"),
        platform_file=str(lab.file),
    )
    yield warden
    warden.close()


@pytest.fixture
def traffic(lab):
    lab.check_whole()
    traffic = Traffic(lab)
    yield traffic
    traffic.stop()
    lab.check_whole()


def slow_rows(lab):
    assert seconds(lambda: lab.http.get("/api/v1/sessions")) > 0.2


def seconds(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def fine(lab):
    assert lab.online() == ["a1", "a2", "a3"]


def comes_back(lab):
    """With the fault still on: it is over for what was made afterwards."""
    eventually(lambda: lab.online() == ["a1", "a2", "a3"], BACK_S)


def offline(name):
    return lambda lab: eventually(lambda: name not in lab.online(), BACK_S)


def no_step(lab):
    with contextlib.suppress(httpx.ReadTimeout):
        assert lab.step("print(1)", timeout=0.5) is None


def no_store(lab):
    with contextlib.suppress(httpx.ReadTimeout):
        assert lab.http.get("/api/v1/sessions", timeout=0.5).status_code == 503


def nobody_there(lab):
    with pytest.raises(httpx.ConnectError):
        lab.http.get("/health")


BITES = {
    ("links.latency", "links/database"): slow_rows,
    ("links.freeze", "links/agents/a1"): offline("a1"),
    ("links.freeze", "links/sessions"): no_step,
    ("links.blackhole", "links/agents/a2"): offline("a2"),
    ("links.blackhole", "links/database"): no_store,
    ("links.reset", "links/agents/a1"): offline("a1"),
    ("links.cut", "links/sessions"): no_step,
    ("links.refuse", "links/agents/a3"): offline("a3"),
    ("links.refuse", "links/clients"): nobody_there,
    ("links.flap", "links/agents/a1"): offline("a1"),
    ("links.ws_drop", "links/agents/a1"): offline("a1"),
    ("links.ws_delay", "links/agents/a1"): offline("a1"),
    ("links.ws_close", "links/agents/a1"): comes_back,
    ("links.ws_reconnect_storm", "links/agents/a1"): offline("a1"),
    ("database.refuse", "database"): no_store,
    ("database.hang", "database"): no_store,
}


@pytest.mark.parametrize(("kind", "on", "args"), CASES, ids=[f"{kind}-{on.partition('/')[2]}" for kind, on, _ in CASES])
def test_a_fault_bites_and_leaves_nothing(kind, on, args, lab, warden, traffic):
    fault = f"{kind} {on}"
    answer = warden.request("inject", fault=fault, kind=kind, on=on, args=args, hold_ns=60 * 10**9)
    assert answer["state"] == "proven"
    BITES.get((kind, on), fine)(lab)
    assert len(lab.toxics()) > 0
    undone = warden.request("undo", fault=fault)
    assert (undone["state"], undone["by"]) == ("clean", "run")
    lab.check_whole()
    assert warden.request("undo", fault=fault)["state"] == "clean"
    asyncio.run(undo_again(lab, kind, fault, answer["target"]))
    assert lab.toxics() == []


async def undo_again(lab, kind, fault, target):
    """By somebody else, who knows no more than the ledger."""
    what, context = registry.get(kind), Context(lab.stack.address, [])
    assert await what.undo(context, f"{RUN}/{fault}", target) is None
    await what.verify(context, f"{RUN}/{fault}", target)


def test_every_kind_is_tried(lab):
    assert {kind for kind, _, _ in CASES} == {kind for kind in registry.kinds() if kind.startswith("links.")} | {
        "database.refuse",
        "database.hang",
    }


def test_a_proxy_that_is_killed_ends_the_fault_before_its_time_and_is_back(lab, warden, traffic):
    warden.request(
        "inject", fault="lost", kind="links.latency", on="links/database", hold_ns=60 * 10**9, args={"ms": 200}
    )
    with Keeper(lab.stack.address) as keeper:
        carriers = {one.name: one.inc for one in keeper.status().components if one.name in ("links", "toxiproxy")}
    os.kill(carriers.get("toxiproxy", carriers["links"]).pid, signal.SIGKILL)
    eventually(lambda: not lab_toxics(lab), BACK_S)
    undone = warden.request("undo", fault="lost")
    assert (undone["state"], undone["by"]) == ("clean", "server")
    lab.check_whole()


def lab_toxics(lab):
    try:
        return lab.toxics()
    except RepriseError:  # its server is not back yet
        return ["unknown"]


MANY = [
    ("links.freeze", "links/agents/a1", {}),
    ("links.refuse", "links/agents/a2", {}),
    ("links.flap", "links/agents/a3", {}),
    ("links.latency", "links/clients", {"ms": 200}),
    ("database.hang", "database", {}),
]


def test_what_a_killed_warden_left_is_undone_by_the_next(lab, tmp_path, traffic):
    killed = faults.Warden.start(
        run=f"{RUN}-killed",
        platform_id="killed@links",
        keeper=lab.stack.address,
        history=tmp_path,
        platform_file=str(lab.file),
    )
    for number, (kind, on, args) in enumerate(MANY):
        killed.request("inject", fault=f"f{number}", kind=kind, on=on, args=args, hold_ns=60 * 10**9)
    os.kill(killed.pid, signal.SIGKILL)
    healed = faults.heal("killed@links")
    assert {one.kind: (one.state, one.by) for one in healed} == {kind: ("clean", "heal") for kind, _, _ in MANY}
    lab.check_whole()
    killed.close()


def test_with_everybody_dead_the_keeper_undoes_within_two_seconds(lab, tmp_path, traffic, request):
    """A real Toxiproxy takes longer to answer a removal, until it has given up each receiver that no longer reads, one after the other."""
    limit_s = 2 * toxics.REMOVAL_S if "real" in request.node.name else 2.0
    words = [f"{RUN}-orphan", "orphan@links", lab.stack.address, str(tmp_path), str(lab.file), json.dumps(MANY)]
    with subprocess.Popen([sys.executable, "-c", OWNER, *words], stdout=subprocess.PIPE) as owner:
        os.kill(int(owner.stdout.readline()), signal.SIGKILL)
        owner.kill()
    died = time.monotonic()
    eventually(lambda: lab_toxics(lab) == [], limit_s)
    assert time.monotonic() - died < limit_s
    healed = faults.heal("orphan@links")
    assert {one.kind: (one.state, one.by) for one in healed} == {kind: ("clean", "keeper") for kind, _, _ in MANY}
    lab.check_whole()


def test_a_lab_says_where_its_links_lead(lab):
    assert list(lab.links) == [
        f"links/{name}" for name in ("clients", "database", "sessions", "agents/a1", "agents/a2", "agents/a3")
    ]
    assert pathlib.Path(lab.links["links/database"].taps[0].token_file).stat().st_mode & 0o077 == 0
