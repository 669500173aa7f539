"""What a StreamSpace tells of its agents: who is online, who waits for an administrator, whether it asks who somebody is, and what waits for whom.

Whether keys are asked for is seen by opening what an agent opens, without one and with one that nobody has: a plain GET, which
changes nothing even where it is let in.
"""

import asyncio
import time
from typing import Any

import httpx

from chaosreprise.errors import RepriseError
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Examination, Said
from chaosreprise.platform.streamspace_asking import ask, entered, field, reading, rows, send
from chaosreprise.platform.streamspace_sessions import ADMIN

AGENTS, KEYS, COMMANDS = "agents", "agents' keys", "commands"
ONLINE, PENDING = "online", "pending"
IN_USE = ("approved", "", None)  # some deployments do not say it
CONNECTED_WITHIN_S = 5.0
CONNECT, LIST = "/api/v1/agents/connect", "/api/v1/admin/agents"
NOBODYS = "0" * 64
WRONG = {"none": None, "one that is nobody's": NOBODYS}
REFUSED = (401, 403)
TOO_MANY = 429
WAITING = """
    select a.agent_id::text, count(*), max(extract(epoch from a.last_heartbeat - c.created_at))::float8
    from agent_commands c join agents a on c.agent_id::text in (a.id::text, a.agent_id::text)
    where c.status = 'pending' and a.status = 'online' and a.last_heartbeat - c.created_at > interval '10 seconds'
    group by a.agent_id order by a.agent_id"""
"""Both times are of the control plane's clock, whatever that is."""


def examinations(platform: Platform, http: httpx.AsyncClient) -> dict[str, Examination]:
    return {AGENTS: lambda: agents(platform, http), KEYS: lambda: keys(platform, http)}


async def agents(platform: Platform, http: httpx.AsyncClient) -> list[Said]:
    """Those that an administrator is shown."""
    if not await entered(platform, http):
        return []
    answer = await _there(platform, http)
    if answer.status_code != 200:
        say = f"can't be listed: the control plane answers with {answer.status_code}"
        return [Said(about=AGENTS, state="limited", say=say, do=f"log in as one whose role is {ADMIN}")]
    found = _listed(answer)
    in_use = _online([one for one in found if one.get("approvalStatus") in IN_USE])
    return [*_waiting(found), in_use, *await _undelivered(platform)]


async def _undelivered(platform: Platform) -> list[Said]:
    """What waits for those that are called online, and was not given to them meanwhile: one may have connected just now.

    Why a database can't be read is said once, by who examines that.
    """
    of_rows = [name for name, entry in platform.file.evidence.items() if entry.kind == "sql"]
    if not of_rows:
        return []
    try:
        async with reading(platform, of_rows[0]) as connection:
            until = time.monotonic() + CONNECTED_WITHIN_S
            while (found := await rows(connection, WAITING)) and time.monotonic() < until:
                await asyncio.sleep(0.2)
    except RepriseError:
        return []
    do = "see whether it is connected, and not only heard of over HTTP: what nobody delivers is late, or lost"
    return [
        Said(
            about=COMMANDS,
            name=name,
            state="limited",
            say=f"{count} wait as pending, though it is called {ONLINE}, and was heard of {heard_s:.0f} s after the first was stored",
            do=do,
        )
        for name, count, heard_s in found
    ]


async def keys(platform: Platform, http: httpx.AsyncClient) -> list[Said]:
    """Whether who shows no key of an agent, or a wrong one, is turned away as that agent."""
    if not await entered(platform, http) or not (listed := _listed(await ask(http, LIST))):
        return []
    agent, let_in = str(listed[0].get("agentId")), []
    for which, key in WRONG.items():
        request = http.build_request("GET", CONNECT, params={"agent_id": agent})
        request.headers.update({"X-Agent-API-Key": key} if key else {})
        answer = await send(http, request, auth=None)
        if answer.status_code == TOO_MANY:
            say = f"not looked at: the control plane answers with {TOO_MANY}, since it has had many calls of agents"
            return [Said(about=KEYS, state="limited", say=say, do="ask again in a minute")]
        if answer.status_code not in REFUSED:
            let_in.append(f"who shows {which} is answered with {answer.status_code}")
    if let_in:
        say = f"{' and '.join(let_in)} as {agent}: anybody may take an agent's commands"
        return [Said(about=KEYS, state="limited", say=say, do="let the control plane ask for the key of each agent")]
    return [Said(about=KEYS, say="who shows none, or a wrong one, is refused")]


def _listed(answer: httpx.Response) -> list[dict[str, Any]]:
    return field(answer, "agents") or []


def _waiting(found: list[dict[str, Any]]) -> list[Said]:
    """A run knows nothing of them: its agents are those that are approved."""
    names = sorted(str(one.get("agentId")) for one in found if one.get("approvalStatus") == PENDING)
    if not names:
        return []
    say = f"{', '.join(names)} {'waits' if len(names) == 1 else 'wait'} for approval, and no session goes there"
    return [Said(about=AGENTS, state="limited", say=say, do="approve or reject: POST /api/v1/admin/agents/ID/approve")]


def _online(found: list[dict[str, Any]]) -> Said:
    there = sorted(str(one.get("agentId")) for one in found if one.get("status") == ONLINE)
    states = sorted((str(one.get("agentId")), str(one.get("status"))) for one in found)
    away = [f"{name} is {status}" for name, status in states if status != ONLINE]
    say = f"{len(there)} online: {' '.join(there)}" if there else "none is online"
    if not there:
        return Said(
            about=AGENTS, state="not ok", say="; ".join([say, *away]), do="start one: nothing else runs sessions"
        )
    if away:
        do = "bring them back: a run begins only with all of them online"
        return Said(about=AGENTS, state="limited", say="; ".join([say, *away]), do=do)
    return Said(about=AGENTS, say=say)


async def _there(platform: Platform, http: httpx.AsyncClient) -> httpx.Response:
    """Their list; where they have been started just now, once all of them have connected, or have had their time."""
    until = time.monotonic() + (CONNECTED_WITHIN_S if platform.commands else 0.0)
    while True:
        answer = await ask(http, LIST)
        states = [one.get("status") for one in _listed(answer) if one.get("approvalStatus") in IN_USE]
        if (states and all(state == ONLINE for state in states)) or time.monotonic() > until:
            return answer
        await asyncio.sleep(0.1)
