"""Every fault on every group that it hits, on a real lab: it bites as a client sees it, and leaves nothing when it is undone."""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import time

import httpx
import psycopg
import pytest
import runs
from toystack import eventually

from chaosreprise import procs
from chaosreprise.errors import NotPossible
from chaosreprise.faults import cgroups, hog, local, on_pods, registry, tracer
from chaosreprise.faults import client as faults
from chaosreprise.faults.base import Context
from chaosreprise.faults.kinds import clock_skew
from chaosreprise.stack import mends
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long

RUN, PLATFORM = "kinds", "lab@kinds"
HANGS_S = 0.4
BACK_S = 10.0
DISK_MIB = 160
GET = b"GET /health HTTP/1.1\r\nHost: lab\r\n\r\n"
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
STARTUP = b"\0\0\0\x16\0\3\0\0user\0reprise\0\0"
HELLO = {"control-plane": (GET, GET), "database": (SSL_REQUEST, STARTUP)}  # the first words of a client, and the next
BUSY = "import time; began = time.process_time(); end = time.time() + 0.5\nwhile time.time() < end: pass\nprint((time.process_time() - began) / 0.5)"
OWNER = """
import os, pathlib, signal, sys, time
from chaosreprise.faults import client
warden = client.Warden.start(run=sys.argv[1], platform_id=sys.argv[2], keeper=sys.argv[3], history=pathlib.Path(sys.argv[4]), platform_file=None)
for number, (kind, on) in enumerate(zip(sys.argv[5::2], sys.argv[6::2])):
    warden.request("inject", fault=f"f{number}", kind=kind, on=on, hold_ns=60 * 10**9)
print(warden.pid, flush=True)
time.sleep(60)
"""


def said(connection, message):
    """What is answered; None when nothing is, b"" when the connection is closed or refused."""
    try:
        connection.settimeout(HANGS_S)
        connection.sendall(message)
        return connection.recv(4096)
    except TimeoutError:
        return None
    except OSError:
        return b""


def closed(connection, message):
    """Whether it comes to an end, last words of a dying server allowed."""
    answer = said(connection, message)
    while answer:
        answer = said(connection, b"")
    return answer == b""


class Lab:
    """A lab as its clients see it, with a session on a1."""

    def __init__(self, stack):
        self.stack = stack
        settings = json.loads((stack.dir / "lab.json").read_text())
        self.ports = {"control-plane": settings["control_port"], "database": settings["database_port"]}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{settings['control_port']}", timeout=20, trust_env=False)
        login = {"username": "admin", "password": (stack.dir / "secrets" / "admin").read_text()}
        token = self.http.post("/api/v1/auth/login", json=login).json()["token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        made = [self.create(f"user0{number}") for number in (1, 2, 3)]
        eventually(lambda: all(self.state(name) == "running" for name in made), BACK_S)
        of = "select agent_id from sessions where id = %s"
        self.session = next(name for name in made if self.sql(of, name) == "a1")
        self.on = {
            "agents": "agents/a1",
            "sessions": f"sessions/{self.session}",
            "control-plane": "control-plane",
            "database": "database",
        }
        self.found = self.look()

    def create(self, user):
        """A session with a specification so long that handling it takes memory."""
        resources = {"memory": "128Mi", "cpu": "100m"}
        body = {"user": user, "template": "python", "resources": resources, "tags": ["x" * 300_000]}
        answer = self.http.post("/api/v1/sessions", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["name"]

    def state(self, name):
        return self.http.get(f"/api/v1/sessions/{name}").json().get("state")

    def change(self, name, verb):
        path = f"/api/v1/sessions/{name}"
        answer = self.http.delete(path) if verb == "stop" else self.http.put(f"{path}/{verb}")
        assert answer.status_code == 202, answer.text

    def prepare(self, kind):
        """A session that remembers, and is idle; for agents without descriptors one that is to be woken."""
        assert self.step("x = 1; open('kept', 'w').write('2')") == ""
        if kind == "agents.descriptors":
            self.change(self.session, "hibernate")
            eventually(lambda: self.state(self.session) == "hibernated", BACK_S)
        else:
            pid = self.inc("sessions").pid
            eventually(lambda: {each.state for each in procs.connections_of(pid)} == {procs.LISTEN})

    def wake(self):
        """Its session runs, also when a test has left it hibernated or on its way."""
        eventually(lambda: self.state(self.session) in ("running", "hibernated"), BACK_S)
        if self.state(self.session) == "hibernated":
            self.change(self.session, "wake")
            eventually(lambda: self.state(self.session) == "running", BACK_S)

    def online(self):
        agents = self.http.get("/api/v1/admin/agents?status=online").json().get("agents", [])
        return sorted(agent["agentId"] for agent in agents)

    def sql(self, query, *values):
        with self.database() as connection:
            return connection.execute(query, values).fetchone()[0]

    def database(self, who="reader.dsn"):
        return psycopg.connect((self.stack.dir / "secrets" / who).read_text(), connect_timeout=2)

    def step(self, code, **more):
        """What it prints; None when it can't be run."""
        answer = self.http.post(f"/sessions/{self.session}/steps", json={"command": code}, **more)
        return answer.json()["stdout"] if answer.status_code == 202 else None

    def inc(self, group):
        with Keeper(self.stack.address) as keeper:
            if group == "sessions":
                return next((process.inc for process in keeper.get(self.session).processes), None)
            return next(one.inc for one in keeper.status().components if one.name == self.on[group])

    def look(self):
        """What a fault might leave behind on a process: where its threads may run, its limits, its control groups."""
        return {group: self._look(self.inc(group)) for group in self.on}

    def _look(self, inc):
        if inc is None:
            return None  # it is on its way back
        places, limits, groups = set(), set(), set()
        for one in procs.family(inc):
            with contextlib.suppress(OSError):
                threads = [int(path.name) for path in pathlib.Path(f"/proc/{one.pid}/task").iterdir()]
                places |= {frozenset(os.sched_getaffinity(thread)) for thread in threads}
                limits.add(resource.prlimit(one.pid, resource.RLIMIT_NOFILE))
                groups.add(pathlib.Path(f"/proc/{one.pid}/cgroup").read_text())
        return places, limits, groups

    def connect(self, group):
        """A connection that has said hello, where the group serves clients."""
        if group not in self.ports:
            return None
        connection = socket.create_connection(("127.0.0.1", self.ports[group]), 5)
        assert said(connection, HELLO[group][0])
        return connection

    def fresh(self, group):
        """What is said to a new connection."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports[group]), 5) as connection:
                return said(connection, HELLO[group][0])
        except ConnectionRefusedError:
            return b""

    def check_whole(self):
        eventually(lambda: b"200 OK" in (self.fresh("control-plane") or b""), BACK_S)
        eventually(lambda: None not in self.look().values(), BACK_S)
        assert self.sql("select 1") == 1
        eventually(lambda: self.online() == ["a1", "a2", "a3"], BACK_S)
        eventually(lambda: self.step("print(6 * 7)") == "42\n", BACK_S)
        self.check_clean()

    def held(self):
        with Keeper(self.stack.address) as keeper:
            status = keeper.status()
        return [one.held_by for one in [*status.components, *status.slots] if one.held_by]

    def check_clean(self):
        assert self.held() == []
        eventually(lambda: self.look() == self.found, BACK_S)  # an agent that came back too early begins again
        assert self.litter() == []

    def litter(self):
        """Hogs and control groups of faults."""
        found = hogs() + working(tracer.MODULE) + list(pathlib.Path("/dev/shm").glob("*faketime*"))
        database, agent = self.inc("database"), self.inc("agents")
        if database is None or agent is None:
            return [*found, "what is on its way back"]
        found += list(pathlib.Path(f"/proc/{database.pid}/cwd/..").glob(".reprise*"))
        with contextlib.suppress(NotPossible):
            found += pathlib.Path(cgroups.place(agent).parent).glob(f"reprise-{RUN}*")
        return found

    def close(self):
        self.http.close()


def hogs():
    return working(hog.MODULE)


def working(module):
    """The processes of this module that work for a fault."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            arguments = path.read_bytes().split(b"\0")
            if module.encode() in arguments and any(each.startswith(RUN.encode()) for each in arguments):
                found.append(arguments)
    return found


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory):
    """One state directory for the module: its lab and its ledger of faults live through all tests."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def lab(state):
    stack = runs.start_lab(agents=3, disk_mib=DISK_MIB)
    try:
        with contextlib.closing(Lab(stack)) as lab:
            yield lab
    finally:
        stack.end()


@pytest.fixture(scope="module")
def warden(lab, tmp_path_factory):
    warden = start_warden(lab, tmp_path_factory.mktemp("run"), PLATFORM)
    yield warden
    warden.close()


def start_warden(lab, folder, platform):
    return faults.Warden.start(
        run=f"{RUN}-{platform}",
        platform_id=platform,
        keeper=lab.stack.address,
        history=folder,
        platform_file=str(lab.stack.platform_file),
        guarded=False,
    )


def dead(lab, group, before, opened):
    assert not procs.is_alive(before)
    if opened:
        assert closed(opened, HELLO[group][1])


def away(lab, group, before, opened):
    dead(lab, group, before, opened)
    if opened:
        assert lab.fresh(group) == b""
    else:
        eventually(lambda: "a1" not in lab.online())


def frozen(lab, group, before, opened):
    if opened:
        assert said(opened, HELLO[group][1]) is None
        assert lab.fresh(group) is None
    elif group == "agents":
        eventually(lambda: "a1" not in lab.online())
    else:
        assert hangs(lab)


def hangs(lab):
    try:
        lab.step("print(1)", timeout=HANGS_S)
    except httpx.ReadTimeout:
        return True
    return False


def crowded(lab, group, before, opened):
    """Beside three hogs it has a quarter of its processor; half of it would be too much."""
    assert len(hogs()) == 3
    assert len({tuple(may) for _, may in mends.affinities(before)}) == 1
    assert len(mends.affinities(before)[0][1]) == 1
    if group == "sessions":
        assert float(lab.step(BUSY)) < 0.5
    elif group == "database":
        with lab.database() as connection, concurrent.futures.ThreadPoolExecutor() as pool:
            busy = pool.submit(connection.execute, "select count(*) from generate_series(1, 4000000)")
            assert share(connection.info.backend_pid, busy) < 0.5
    elif group == "control-plane":
        with concurrent.futures.ThreadPoolExecutor() as pool:
            busy = pool.submit(lambda: [lab.fresh(group) for _ in range(200)])
            assert share(before.pid, busy) < 0.5


def share(pid, busy):
    """The part of a processor that a process has until something is done."""

    def ran():
        return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])

    before, began = ran(), time.monotonic_ns()
    busy.result()
    return (ran() - before) / (time.monotonic_ns() - began)


def full(lab, group, before, opened):
    if opened:
        assert said(opened, HELLO[group][1]), "who is connected is served"
        assert lab.fresh(group) is None
    elif group == "sessions":
        eventually(lambda: hangs(lab))
    else:
        lab.change(lab.session, "wake")
        until = time.monotonic() + HANGS_S
        while time.monotonic() < until:
            assert lab.state(lab.session) != "running", "it can't be asked whether it answers"


def elsewhen(lab, group, before, opened):
    """Started again an hour ahead, as the platform was told."""
    dead(lab, group, before, opened)
    told = lab.sql("select metadata->>'time' from agents where agent_id = 'a1'")
    assert abs(float(told) - time.time() - 3600) < 60


def no_room(lab, group, before, opened):
    assert said(opened, HELLO[group][1]), "who is connected is served"
    with pytest.raises(psycopg.OperationalError), lab.database("control.dsn") as connection:
        connection.execute("create table filler as select repeat('x', 1000) from generate_series(1, 100000)")


def unwritable(lab, group, before, opened):
    away(lab, group, before, opened)
    log = lab.stack.dir / "logs" / "database.log"
    eventually(lambda: "Read-only file system" in log.read_text(), BACK_S)


def dawdling(lab, group, before, opened):
    with lab.database("control.dsn") as connection:
        began = time.monotonic()
        connection.execute("update users set updated_at = now() where id = 'user01'")
        connection.commit()
        assert time.monotonic() - began > 0.02


def no_memory_limit(lab):
    """Why none can be set here, if so."""
    return refused(lambda: cgroups.place(lab.inc("agents")))


def refused(look):
    try:
        look()
    except NotPossible as refusal:
        return str(refusal)
    return None


def not_here(lab, verb):
    """Why a fault can't be made on this machine, if so."""
    match verb:
        case "memory_limit":
            return no_memory_limit(lab)
        case "clock_skew":
            return refused(clock_skew.library)
        case "disk_slow":
            return refused(lambda: tracer.program("strace", "strace"))
    return None


def many(lab):
    """Faults at the same time, by the component that each hits."""
    kinds = MANY if no_memory_limit(lab) else {"sessions.memory_limit": "sessions"} | MANY
    return {kind: lab.on.get(on, on) for kind, on in kinds.items()}


def together(lab, number):
    """Sets of faults at the same time, without those that can't be made on this machine."""
    if not number:
        return many(lab)
    kinds = {kind: lab.on[on] for kind, on in OTHERS[number - 1].items()}
    return {kind: on for kind, on in kinds.items() if not not_here(lab, kind.partition(".")[2])}


def provoke(lab, group):
    """Something that takes memory."""
    with contextlib.suppress(httpx.HTTPError, psycopg.Error, KeyError):
        match group:
            case "agents":
                lab.change(lab.session, {"running": "hibernate", "hibernated": "wake"}[lab.state(lab.session)])
            case "sessions":
                lab.step("y = 'x' * (8 << 20)")
            case "control-plane":
                lab.http.get("/api/v1/sessions", timeout=1)
            case "database":
                lab.sql("select count(*) from generate_series(1, 100000)")


BITES = {
    "crash": dead,
    "restart": dead,
    "crash_loop": dead,
    "take_away": away,
    "pause": frozen,
    "cpu_hog": crowded,
    "descriptors": full,
    "clock_skew": elsewhen,
    "disk_full": no_room,
    "disk_read_only": unwritable,
    "disk_slow": dawdling,
}
OTHERS = (  # beside MANY
    {"agents.clock_skew": "agents", "database.disk_full": "database"},
    {"database.disk_slow": "database"},
    {"database.disk_read_only": "database"},
)
MANY = {
    "agents.cpu_hog": "agents",
    "agents.descriptors": "agents/a2",
    "agents.crash_loop": "agents/a3",
    "database.cpu_hog": "database",
    "control-plane.descriptors": "control-plane",
}
ON_DATABASE = {
    "database.read_only": {},
    "database.exhaust_connections": {},
    "database.lock_table": {"table": "sessions"},
    "database.slow_statements": {"delay_s": 0.3},
    "database.commit_lost": {},
    "database.reset_in_commit": {},
}
FORGETS = {"crash", "restart", "crash_loop", "memory_limit"}
KINDS = [
    kind
    for kind in registry.kinds()
    if isinstance(registry.get(kind), local.OnProcess | on_pods.Anywhere)
    and not kind.startswith("data-plane.")  # of sandboxes
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_bites_and_leaves_nothing(kind, lab, warden):
    group, _, verb = kind.partition(".")
    lab.prepare(kind)
    if why := not_here(lab, verb):
        with pytest.raises(NotPossible, match=re.escape(why)):
            inject(lab, warden, kind)
        return
    before, opened = lab.inc(group), lab.connect(group)
    answer = inject(lab, warden, kind)
    assert answer["state"] == "proven"
    if verb == "memory_limit":
        starved(answer["proof"])
    else:
        BITES[verb](lab, group, before, opened)
    assert warden.request("undo", fault=kind)["state"] == "clean"
    if opened:
        opened.close()
    lab.wake()
    lab.check_whole()
    if group == "sessions":
        remembered = lab.step("print('x' in globals(), open('kept').read())")
        assert remembered == f"{verb not in FORGETS or procs.is_alive(before)} 2\n"
    assert warden.request("undo", fault=kind)["state"] == "clean"
    asyncio.run(undo_again(lab, kind, answer["target"]))
    lab.check_clean()


@pytest.mark.parametrize("kind", ON_DATABASE)
def test_a_fault_on_the_database_reaches_the_platform_and_leaves_nothing(kind, lab, warden):
    lab.wake()
    request = {"fault": kind, "kind": kind, "on": "database", "hold_ns": 60 * 10**9, "args": ON_DATABASE[kind]}
    assert warden.request("inject", **request)["state"] == "proven"
    reaches(kind, lab)
    assert warden.request("undo", fault=kind)["state"] == "clean"
    if kind == "database.commit_lost":
        eventually(lambda: lab.state(lab.session) == "hibernated", BACK_S)
    lab.wake()
    lab.check_whole()


def reaches(kind, lab):
    """What a client of the platform sees of it."""
    began = time.monotonic()
    match kind:
        case "database.read_only" | "database.reset_in_commit" | "database.commit_lost":
            assert lab.http.put(f"/api/v1/sessions/{lab.session}/hibernate").status_code >= 500
            if kind != "database.commit_lost":  # where it was done all the same
                assert lab.state(lab.session) == "running"
        case "database.exhaust_connections":
            assert lab.state(lab.session) == "running", "by a connection that it had"
            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                lab.database()
        case "database.lock_table":
            with pytest.raises(httpx.ReadTimeout):
                lab.http.get(f"/api/v1/sessions/{lab.session}", timeout=HANGS_S)
        case "database.slow_statements":
            # Each waits until the next turn: alone for the whole delay, beside the platform's own for less.
            for _ in range(10):
                assert lab.state(lab.session) == "running"
            assert time.monotonic() - began > ON_DATABASE[kind]["delay_s"]


def starved(proof):
    """The kernel refused it memory, and killed one of its processes or will do so when it next asks for some."""
    assert proof["hits"] > 0


def inject(lab, warden, kind, on=None):
    """Makes a fault; one of memory while something takes memory."""
    group, _, verb = kind.partition(".")
    request = {"fault": kind, "kind": kind, "on": on or lab.on[group], "hold_ns": 60 * 10**9}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(warden.request, "inject", **request)
        while verb == "memory_limit" and not asked.done():
            provoke(lab, group)
            time.sleep(0.05)
        return asked.result()


async def undo_again(lab, kind, target):
    """By somebody else, who knows no more than the ledger."""
    fault, context = registry.get(kind), Context(lab.stack.address, [])
    await fault.undo(context, f"{RUN}-{PLATFORM}/{kind}", target)
    await fault.verify(context, f"{RUN}-{PLATFORM}/{kind}", target)


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.thorough) for n in range(1, 1 + len(OTHERS)))]
)
def test_what_a_killed_warden_left_is_undone_by_the_next(lab, tmp_path, number):
    platform = f"killed-{number}@kinds"
    killed, kinds = start_warden(lab, tmp_path, platform), together(lab, number)
    lab.prepare("sessions.memory_limit")
    for kind, on in kinds.items():
        assert inject(lab, killed, kind, on)["state"] == "proven"
    assert len(hogs()) == (0 if number else 6)
    os.kill(killed.pid, signal.SIGKILL)
    healed = faults.heal(platform)
    assert {one.kind: (one.state, one.by) for one in healed} == dict.fromkeys(kinds, ("clean", "heal"))
    lab.wake()
    lab.check_whole()
    killed.close()


@pytest.mark.parametrize("number", range(1 + len(OTHERS)))
def test_with_everybody_dead_the_keeper_undoes(lab, tmp_path, number):
    kinds, platform = together(lab, number), f"orphan-{number}@kinds"
    command = [sys.executable, "-c", OWNER, f"{RUN}-{platform}", platform, lab.stack.address, str(tmp_path)]
    lab.prepare("sessions.memory_limit")
    words = [word for pair in kinds.items() for word in pair]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE) as owner:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            line = pool.submit(owner.stdout.readline)
            while not line.done():
                provoke(lab, "sessions")
                time.sleep(0.05)
        os.kill(int(line.result()), signal.SIGKILL)
        owner.kill()
    eventually(lambda: not lab.held() and not lab.litter() and lab.look() == lab.found, BACK_S)
    lab.wake()
    lab.check_whole()
    healed = faults.heal(platform)
    assert {one.kind: (one.state, one.by) for one in healed} == dict.fromkeys(kinds, ("clean", "keeper"))
    lab.check_clean()


def test_a_plain_user_is_refused_a_memory_limit_in_one_sentence(lab):
    code = "from chaosreprise import procs; from chaosreprise.faults import cgroups; cgroups.place(procs.myself())"
    as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.getuid() == 0 else []
    done = subprocess.run([*as_nobody, sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert "NotPossible: " in done.stderr
    assert "needs root here, or a group that is delegated to you" in done.stderr.splitlines()[-1]
