"""Lifecycle commands and steps on sessions of their own while a lab is broken, and what must be true afterwards.

Each session's client sends one request at a time; a stop that was not accepted is asked for once more. A request is `ok`
(2xx), `fail` (it surely did not happen: no connection, or a refusal of the contract) or `info`: once or not at all. Judged
by what the platform does not write (the keeper's ledger, the files of the steps) and by the rows.
"""

import asyncio
import contextlib
import json
import pathlib
import random
import threading
import time
from collections import Counter
from typing import NamedTuple

import httpx

from chaosreprise.stack.client import Keeper

SMALL = {"cpu": "100m", "memory": "128Mi"}
ACTIONS = {"hibernate": "hibernate_session", "wake": "wake_session", "stop": "stop_session"}
SURELY_NOT = {400, 401, 403, 404, 405, 409}
STATES = {"start_session": "running", "wake_session": "running"}
STATES |= {"hibernate_session": "hibernated", "stop_session": "terminated"}
SLOTS = {"running": "up", "hibernated": "down", "terminated": "gone"}
STEP = """import os
fd = os.open('ledger', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(fd, b'{key}\\n')
os.close(fd)
print('{key}')"""


class Try(NamedTuple):
    """One request: what it was, what came of it, the status (0: no answer), the id that the answer gave, how long it took."""

    verb: str
    session: str | None
    outcome: str
    status: int
    number: str | None
    took_s: float


class Traffic:
    """`clients` sessions at a time, each with a request every `pause_s` / 2 or so, from `with` on until its end."""

    def __init__(self, lab, seed, clients, pause_s):
        self.lab, self.tries = lab, []
        self._chance, self._clients, self._pause_s = random.Random(seed), clients, pause_s
        self._headers = {"Authorization": lab.http.headers["Authorization"]}
        self._ended = threading.Event()
        self._failed, self._accepted = None, 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.before = {row["id"] for row in self.lab.sql("select id from sessions")}
        self._thread.start()
        self.more(self._clients)
        return self

    def __exit__(self, *raised):
        self._ended.set()
        self._thread.join()
        if raised[0] is None:
            assert self._failed is None, self._failed

    def more(self, count, limit_s=15):
        """Return as soon as `count` more requests were accepted."""
        begin, goal = time.monotonic(), self._accepted + count
        while self._accepted < goal:
            assert self._thread.is_alive(), self._failed
            assert time.monotonic() < begin + limit_s, f"not {count} accepted within {limit_s} s: {self.tries[-20:]}"
            time.sleep(0.002)

    def _run(self):
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self._failed = error
            raise

    async def _all(self):
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        async with httpx.AsyncClient(
            base_url=self.lab.url, headers=self._headers, timeout=20, trust_env=False, limits=limits
        ) as http:
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._clients):
                    user, chance = f"user{1 + number % 12:02d}", random.Random(self._chance.random())
                    tasks.create_task(self._live(http, user, chance))

    async def _live(self, http, user, chance):
        """One session after the other."""
        while not self._ended.is_set():
            made = await self._try(http, "start", None, user, chance)
            if made.outcome != "ok":
                await asyncio.sleep(0.05)
                continue
            last = made
            for _ in range(chance.randint(3, 12)):
                await asyncio.sleep(chance.uniform(0, self._pause_s) if last.status else self._pause_s)
                if self._ended.is_set():
                    return
                verb = "wake" if last.verb == "hibernate" else chance.choice(["hibernate", "step"])
                done = await self._try(http, verb, made.session, user, chance)
                last = done if done.outcome == "ok" else last
            while (await self._try(http, "stop", made.session, user, chance)).status not in (202, 409):
                await asyncio.sleep(0.05)

    async def _try(self, http, verb, session, user, chance):
        path, key, begin = f"/api/v1/sessions/{session}", f"{chance.getrandbits(64):x}", time.monotonic()
        requests = {
            "start": ("POST", "/api/v1/sessions", {"user": user, "template": "python", "resources": SMALL}),
            "step": ("POST", f"/sessions/{session}/steps", {"command": STEP.format(key=key)}),
            "stop": ("DELETE", path, None),
            "hibernate": ("PUT", f"{path}/hibernate", None),
            "wake": ("PUT", f"{path}/wake", None),
        }
        method, url, body = requests[verb]
        if len(self.lab.urls) > 1:
            url = chance.choice(self.lab.urls) + url
        status, said = 0, {}
        try:
            answer = await http.request(method, url, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            outcome = "fail"
        except httpx.TransportError:
            outcome = "info"
        else:
            status = answer.status_code
            with contextlib.suppress(ValueError):
                said = answer.json()
            outcome = "ok" if status == 202 else "fail" if _surely_not(status, said) else "info"
        if verb == "start":
            session = said.get("name") if outcome == "ok" else None
        if verb == "step" and outcome == "ok":
            assert said["stdout"] == f"{key}\n", said
        number = key if verb == "step" else said.get("commandId")
        self.tries.append(Try(verb, session, outcome, status, number, time.monotonic() - begin))
        self._accepted += outcome == "ok"
        return self.tries[-1]


def _surely_not(status, said):
    return status in SURELY_NOT or (status == 503 and said.get("error") == "No agents available")


def judge(lab, traffic, until, limit_s=15):
    """Everything accepted has its effect once, everything without an answer once or not at all; the rows agree."""
    unfinished = "select 1 from agent_commands where status <> 'completed'"
    until(lambda: not lab.sql(unfinished), "all commands completed", limit_s)
    world, tries = _World(lab), {}
    for one in traffic.tries:
        tries.setdefault(one.session, []).append(one)
    new = world.commands.keys() - traffic.before
    perhaps = sum(one.outcome == "info" for one in tries.get(None, []))
    assert len(new - tries.keys()) <= perhaps, "a session was made that nobody asked for"
    for name in new:
        _judge_commands(world, name, [one for one in tries.get(name, []) if one.verb in ACTIONS])
        _judge_steps(world, name, [one for one in tries.get(name, []) if one.verb == "step"])


class _World:
    """What there is in the end, by session."""

    def __init__(self, lab):
        with Keeper(lab.stack.address) as keeper:
            self.slots = {slot.slot: slot for slot in keeper.status().slots}
        self.states = {row["id"]: row for row in lab.sql("select id, state, command_seq from sessions")}
        self.commands, self.steps, self.marks = {}, {}, {}
        for row in lab.sql("select command_id, session_id, action, payload from agent_commands order by position"):
            self.commands.setdefault(row["session_id"], []).append(row)
        for row in lab.sql("select session_id, command from session_steps"):
            self.steps.setdefault(row["session_id"], []).append(row["command"])
        for line in map(json.loads, (lab.dir / "slots.jsonl").read_text().splitlines()[1:]):
            if line["kind"] == "slot" and line["mark"] not in ("crash", "back"):
                self.marks.setdefault(line["object"], []).append(line["mark"])

    def ran(self, name):
        """In all the homes that it has had: without a persistent one each wake makes another."""
        homes = pathlib.Path(self.slots[name].workspace).parent
        ledgers = [*homes.glob(f"{name}/ledger"), *homes.glob(f"{name}@*/ledger")]
        return Counter(word for ledger in ledgers for word in ledger.read_text().split())


def _judge_commands(world, name, tries):
    rows = world.commands[name]
    actions, numbers = [row["action"] for row in rows], [row["command_id"] for row in rows]
    assert [row["payload"]["seq"] for row in rows] == list(range(1, len(rows) + 1)), name
    accepted = [one.number for one in tries if one.outcome == "ok"]
    assert [number for number in numbers if number in accepted] == accepted, f"{name}: accepted, but not in the rows"
    unanswered = Counter(row["action"] for row in rows[1:] if row["command_id"] not in accepted)
    perhaps = Counter(ACTIONS[one.verb] for one in tries if one.outcome == "info")
    assert not unanswered - perhaps, f"{name}: {unanswered} happened, although refused or never sent"
    assert world.marks[name] == marks_of(actions), f"{name}: {actions}"
    row, slot = world.states[name], world.slots[name]
    assert (row["state"], row["command_seq"]) == (STATES[actions[-1]], len(rows)), name
    assert (slot.state, slot.note) == (SLOTS[row["state"]], len(rows)), name


def _judge_steps(world, name, steps):
    """Each accepted step has run once and has its row; each other one has run once at most, a refused one never."""
    ran, rows = world.ran(name), " ".join(world.steps.get(name, []))
    assert not ran or max(ran.values()) == 1, f"{name}: a step ran twice"
    for step in steps:
        assert step.outcome != "ok" or ran[step.number], f"{name}: an accepted step has not run"
        assert step.outcome != "ok" or step.number in rows, f"{name}: an accepted step has no row"
        assert step.outcome != "fail" or not ran[step.number], f"{name}: a refused step has run"


def marks_of(actions):
    """The transitions that the keeper must have seen for these commands, in this order."""
    marks, is_up = [], False
    for action in actions:
        match action:
            case "start_session":
                marks += ["made", "up"]
            case "wake_session":
                marks += ["up"]
            case "hibernate_session":
                marks += ["down"]
            case "stop_session":
                marks += ["down", "gone"] if is_up else ["gone"]
        is_up = action in ("start_session", "wake_session")
    return marks
