"""Agents that are killed at any moment: every accepted command has its effect, and has it once."""

import asyncio
import json
import random
import re
import signal
from collections import Counter

import httpx
import pytest

from chaosreprise.procs import send_signal

pytestmark = pytest.mark.long
KILLS = 10
SESSIONS = 12
SEED = 7
LIMIT_S = 15


def expected(verbs):
    """The transitions that the keeper must have seen for these commands, in this order."""
    marks, is_up = ["made", "up"], True
    for verb in verbs:
        if verb == "stop":
            return [*marks, *(["down"] if is_up else []), "gone"]
        is_up = verb == "wake"
        marks.append("up" if is_up else "down")
    return marks


def test_every_command_has_exactly_one_effect_although_agents_are_killed(new_lab, until):
    lab = new_lab()
    chance = random.Random(SEED)
    accepted = asyncio.run(traffic(lab, chance))
    until(
        lambda: lab.sql("select count(*) from agent_commands where status <> 'completed'")[0]["count"] == 0,
        "all completed",
        LIMIT_S,
    )
    assert len(accepted) == SESSIONS
    assert {verb for verbs in accepted.values() for verb in verbs} == {"hibernate", "wake", "stop"}
    for name, verbs in accepted.items():
        assert lab.marks(name) == expected(verbs), verbs
    lost = lab.sql("select count(*) from sessions where state not in ('running', 'hibernated', 'terminated')")
    assert lost[0]["count"] == 0
    sent = Counter(line["command"] for line in lab.log() if line["event"] == "command-sent")
    assert sum(times > 1 for times in sent.values()) >= KILLS // 3, "too few were replayed for this to mean anything"


async def traffic(lab, chance):
    """Lifecycle commands on all sessions while agents die; the accepted ones by session."""
    ended = asyncio.Event()
    accepted, agents = {}, {}
    headers = {"Authorization": lab.http.headers["Authorization"]}
    async with httpx.AsyncClient(base_url=f"{lab.url}/api/v1", headers=headers, timeout=20, trust_env=False) as http:
        seeds = [chance.random() for _ in range(SESSIONS)]
        async with asyncio.TaskGroup() as tasks:
            for number, seed in enumerate(seeds):
                tasks.create_task(
                    live(http, f"user{1 + number % 12:02d}", random.Random(seed), accepted, agents, ended)
                )
            await kills(lab, chance, agents)
            ended.set()
    return accepted


async def live(http, user, chance, accepted, agents, ended):
    body = {"user": user, "template": "python", "resources": {"cpu": "100m", "memory": "128Mi"}}
    while (answer := await http.post("/sessions", json=body)).status_code == 503:  # all agents are dead at the moment
        await asyncio.sleep(0.05)
    name = answer.json()["name"]
    agents[name] = re.search(r"agent: (\w+)", answer.json()["status"]["message"])[1]
    verbs = accepted[name] = []
    while not ended.is_set():
        await asyncio.sleep(chance.uniform(0, 0.2))
        verb = chance.choice(["hibernate", "wake"])
        if (await http.put(f"/sessions/{name}/{verb}")).status_code == 202:
            verbs.append(verb)
    if chance.random() < 0.5:
        assert (await http.delete(f"/sessions/{name}")).status_code == 202
        verbs.append("stop")


async def kills(lab, chance, agents):
    """Each in the middle of a command, most of them of the agent that has just acted and has not said so yet."""
    ledger = lab.dir / "slots.jsonl"
    for _ in range(KILLS):
        for _ in range(chance.randint(2, 8)):
            name = await next_effect(ledger, agents)
        victim = agents[name] if chance.random() < 0.7 else chance.choice(lab.settings["agents"])
        if inc := lab.component(f"agents/{victim}").inc:
            send_signal(inc, signal.SIGKILL)


async def next_effect(ledger, agents):
    """The session of the next transition in the keeper's ledger."""
    with ledger.open() as lines:
        lines.seek(0, 2)
        while True:
            for line in lines:
                if (name := json.loads(line)["object"]) in agents:
                    return name
            await asyncio.sleep(0.001)
