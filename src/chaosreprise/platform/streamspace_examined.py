"""What a StreamSpace and its database tell of themselves to who examines them. Everything here only reads."""

import collections
import email.utils
import math
import time
from functools import partial
from typing import Any

import httpx

from chaosreprise.platform import streamspace_agents, streamspace_queries
from chaosreprise.platform.calls import SHOWN
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Examination, Said
from chaosreprise.platform.streamspace_asking import ask, entered, field, reading, rows
from chaosreprise.platform.streamspace_login import login
from chaosreprise.platform.streamspace_marks import Marks
from chaosreprise.platform.streamspace_objects import rights
from chaosreprise.platform.streamspace_sessions import ADMIN, ENDED

DOOR, LOGIN, OURS, CLOCKS = "control plane", "login", "sessions", "clocks"
TEMPLATES = "templates"
APART_S = 2.0  # a Date has whole seconds, and an answer takes a moment
TIMES = 3  # the quickest answer counts: we may be busy ourselves
MARK = "reprise-"
WHO = """
    select current_user, current_setting('is_superuser') = 'on', extract(epoch from clock_timestamp())::float8"""
COLUMNS = """
    select c.tab, c.name, a.attname is not null,
      coalesce(has_column_privilege(to_regclass(c.tab), a.attnum, 'select'), false)
    from unnest(%(tables)s::text[], %(columns)s::text[]) as c (tab, name) left join pg_attribute a
      on a.attrelid = to_regclass(c.tab) and a.attname = c.name and a.attnum > 0 and not a.attisdropped"""
WRITES = """
    select name from unnest(%(tables)s::text[]) as t (name)
    where to_regclass(name) is not null and has_table_privilege(to_regclass(name), 'insert, update, delete, truncate')"""


def examinations(platform: Platform, http: httpx.AsyncClient, marks: Marks) -> dict[str, Examination]:
    """`marks`: what all sessions of ours bear, whichever run made them."""
    reads = {"sql": database, "kubernetes": rights}
    evidence = {
        f"evidence {name}": partial(reads[entry.kind], platform, name)
        for name, entry in platform.file.evidence.items()
        if entry.kind in reads
    }
    return {
        DOOR: partial(door, http),
        LOGIN: partial(logged_in, platform, http),
        **streamspace_agents.examinations(platform, http),
        TEMPLATES: partial(templates, platform, http),
        OURS: partial(ours, platform, http, marks),
        **evidence,
        **streamspace_queries.examinations(platform),
    }


async def door(http: httpx.AsyncClient) -> list[Said]:
    """Whether it answers, how fast, and what time it has."""
    took_s = math.inf
    for _ in range(TIMES):
        began, asked = time.monotonic(), time.time()
        answer = await ask(http, "/version")
        if time.monotonic() - began < took_s:
            took_s, wall = time.monotonic() - began, asked
    version = field(answer, "version")
    words = f", version {version}" if version else ""
    said = [Said(about=DOOR, say=f"answers in {took_s * 1000:.0f} ms{words}")]
    if stamped := email.utils.parsedate_tz(answer.headers.get("date", "")):
        middle = email.utils.mktime_tz(stamped) + 0.5  # of a whole second
        said.append(_clock("the control plane", middle - wall, APART_S + took_s))
    return said


async def logged_in(platform: Platform, http: httpx.AsyncClient) -> list[Said]:
    role = await login(http, platform)
    assert platform.file.control is not None
    who = f"as {platform.file.control.user}, role {role}"
    if role == ADMIN:
        return [Said(about=LOGIN, say=who)]
    lacks = "sees its own sessions only: lists, and counting other people's sessions over HTTP, are not to be had"
    return [Said(about=LOGIN, state="limited", say=f"{who}: {lacks}", do=f"log in as one whose role is {ADMIN}")]


async def templates(platform: Platform, http: httpx.AsyncClient) -> list[Said]:
    """Whether ours is listed and can be read: what that needs beside the database, a user would miss as well."""
    if not await entered(platform, http):
        return []
    assert platform.file.control is not None
    ours = platform.file.control.template
    listing, one = await ask(http, "/api/v1/templates"), await ask(http, f"/api/v1/templates/{ours}")
    there = sorted(str(each.get("name")) for each in field(listing, "templates") or [])
    if one.status_code == 404 and listing.status_code == 200:
        say = f"there is no {ours}: the control plane has {', '.join(there) or 'none'}"
        return [Said(about=TEMPLATES, state="not ok", say=say, do="set control.template to one that is there")]
    for what, answer in (("can't be listed", listing), (f"{ours} can't be read", one)):
        if answer.status_code != 200:
            say = f"{what}: the control plane answers with {answer.status_code}: {answer.text[:SHOWN]}"
            return [Said(about=TEMPLATES, state="limited", say=say, do="let it read them from its database alone")]
    if ours not in there or field(one, "name") != ours:
        say = f"the list and what is read of {ours} do not fit together: listed are {', '.join(there) or 'none'}"
        return [Said(about=TEMPLATES, state="limited", say=say, do="see where the control plane has each from")]
    return [Said(about=TEMPLATES, say=f"{len(there)} listed, {ours} read")]


async def ours(platform: Platform, http: httpx.AsyncClient, marks: Marks) -> list[Said]:
    """Sessions of ours, by the run that made them."""
    if not await entered(platform, http):
        return []
    answer = await ask(http, "/api/v1/sessions")
    listed = [one for one in field(answer, "sessions") or [] if marks.on(one)]
    living = [one for one in listed if one.get("state") not in ENDED]
    runs = collections.Counter(_run_of(one) for one in living)
    if not runs:
        return [Said(about=OURS, say="none of ours is there")]
    return [
        Said(
            about=OURS,
            state="limited",
            say=f"{count} of {run} are there",
            do="if that run is not under way: `chaos reprise heal`, or the next run here, stops those that it has a mark of",
        )
        for run, count in sorted(runs.items())
    ]


async def database(platform: Platform, name: str) -> list[Said]:
    """What the role may do, what is missing for our queries, and the database's clock. Raises Unreachable."""
    from chaosreprise.platform.streamspace_rows import COLUMNS as NEEDED  # noqa: PLC0415 - psycopg takes 0.15 s

    asked = {
        "tables": [table for table, columns in NEEDED.items() for _ in columns],
        "columns": [column for columns in NEEDED.values() for column in columns],
    }
    async with reading(platform, name) as connection:
        wall = time.time()
        [who] = await rows(connection, WHO)
        took_s = time.time() - wall
        columns = await rows(connection, COLUMNS, asked)
        writes = await rows(connection, WRITES, {"tables": list(NEEDED)})
    return [
        _rights(name, str(who[0]), bool(who[1]), [str(row[0]) for row in writes]),
        *_missing(name, str(who[0]), columns),
        _clock("the database", float(who[2]) - wall, APART_S / 2 + took_s),
    ]


def _rights(name: str, role: str, superuser: bool, writes: list[str]) -> Said:
    if not superuser and not writes:
        return Said(about="evidence", name=name, say=f"the role {role} may only read")
    may = "is a superuser" if superuser else f"may write {', '.join(writes)}"
    do = "give it a role with select only: who watches should not be able to change what it sees"
    return Said(about="evidence", name=name, state="limited", say=f"the role {role} {may}", do=do)


def _missing(name: str, role: str, columns: list[tuple[Any, ...]]) -> list[Said]:
    absent = [f"{table}.{column}" for table, column, there, _ in columns if not there]
    hidden = [f"{table}.{column}" for table, column, there, readable in columns if there and not readable]
    said = []
    if absent:
        say = f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing: rows can't be read without"
        said.append(Said(about="evidence", name=name, state="not ok", say=say, do="migrate the platform's database"))
    if hidden:
        say = f"the role {role} may not read {', '.join(hidden)}"
        said.append(Said(about="evidence", name=name, state="not ok", say=say, do=f"grant select on them to {role}"))
    return said


def _clock(whose: str, ahead_s: float, unsure_s: float) -> Said:
    """A run takes times from its own clock alone, so this is for people who compare logs."""
    if abs(ahead_s) <= unsure_s:
        return Said(about=CLOCKS, say=f"that of {whose} and ours are the same within {unsure_s:.1f} s")
    way = "ahead of" if ahead_s > 0 else "behind"
    say = f"that of {whose} is {abs(ahead_s):.1f} s {way} ours"
    do = "set both by NTP: a run goes by its own, but logs and times of day will not match"
    return Said(about=CLOCKS, state="limited", say=say, do=do)


def _run_of(session: dict[str, Any]) -> str:
    """By its tags, where the platform shows them."""
    marked = (tag.removeprefix(MARK) for tag in session.get("tags") or [] if tag.startswith(MARK))
    return next((f"run {run}" for run in marked), "a run of ours")
