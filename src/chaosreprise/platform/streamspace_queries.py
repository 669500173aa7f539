"""Whether what a StreamSpace looks up with each call is found by an index, as its database's planner says (EXPLAIN).

What it really asks we don't know; these are what its contract can't be kept without. A value that is nobody's is looked for, since
of one that many rows have the whole table is rightly read. On a small table the planner rightly uses no index, so there it is
forbidden to read the whole table (`enable_seqscan`, of our session alone): it does so all the same where no index would serve.
How large a table is the planner knows from statistics, which its owner or autovacuum renews (ANALYZE): a reader may not.
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from chaosreprise.errors import RepriseError
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Examination, Said
from chaosreprise.platform.streamspace_asking import reading, rows

if TYPE_CHECKING:
    import psycopg

QUERIES = "queries"
FILLED = 1000  # rows; of fewer the planner may rightly read all
NOBODY = "00000000-0000-0000-0000-000000000000"  # fits a text and a uuid
LOOKED_UP = {
    "a session by its name": ("sessions", f"id = '{NOBODY}'"),
    "the sessions of a user": ("sessions", f"user_id = '{NOBODY}'"),
    "a command by its id": ("agent_commands", f"command_id = '{NOBODY}'"),
    "what waits for an agent": ("agent_commands", f"agent_id = '{NOBODY}' and status = 'pending'"),
}
SIZES = "select c.name, greatest(t.reltuples, 0)::bigint from unnest(%(tables)s::text[]) as c (name) join pg_class t on t.oid = to_regclass(c.name)"
DO = "create one: the longer the platform is used, the slower it becomes"


class Plan(NamedTuple):
    """How a query is answered. `served`: an index would serve; `used`: it is used."""

    what: str
    table: str
    size: int
    served: bool
    used: bool


def examinations(platform: Platform) -> dict[str, Examination]:
    of_rows = [name for name, entry in platform.file.evidence.items() if entry.kind == "sql"]
    return {QUERIES: partial(queries, platform, of_rows[0])} if of_rows else {}


async def queries(platform: Platform, evidence: str) -> list[Said]:
    """Of how they are answered what is to be told; why a database can't be read is said once, by who examines that."""
    try:
        async with reading(platform, evidence) as connection:
            plans = await _plans(connection)
    except RepriseError:
        return []
    if bad := list(_bad(plans)):
        return bad
    small = sorted({f"{one.table} has about {one.size}" for one in plans if one.size < FILLED})
    by_index = f"{sum(one.served for one in plans)} of {len(plans)} are served by an index"
    if small:
        by_index += f"; whether it is used shows from {FILLED} rows on: {' and '.join(small)}"
    else:
        sizes = sorted({f"{one.table} of about {one.size} rows" for one in plans})
        by_index += f", {sum(one.used for one in plans)} use it, on {' and '.join(sizes)}"
    return [Said(about=QUERIES, say=by_index)]


async def _plans(connection: "psycopg.AsyncConnection[tuple[Any, ...]]") -> list[Plan]:
    sizes = dict(await rows(connection, SIZES, {"tables": sorted({table for table, _ in LOOKED_UP.values()})}))
    plans = []
    for what, (table, where) in LOOKED_UP.items():
        used = await _by_index(connection, table, where, "on")
        served = used or await _by_index(connection, table, where, "off")
        plans.append(Plan(what, table, sizes.get(table, 0), served, used))
    return plans


def _bad(plans: list[Plan]) -> Iterator[Said]:
    for one in plans:
        if not one.served:
            say = f"no index serves {one.what}: all of {one.table} is read, of about {one.size} rows"
            yield Said(about=QUERIES, name=one.table, state="limited", say=say, do=DO)
        elif one.size >= FILLED and not one.used:
            say = f"the index for {one.what} is not used: all of {one.table} is read, of about {one.size} rows"
            do = f"have its owner run `ANALYZE {one.table}`, and look again"
            yield Said(about=QUERIES, name=one.table, state="limited", say=say, do=do)


async def _by_index(connection: "psycopg.AsyncConnection[tuple[Any, ...]]", table: str, where: str, whole: str) -> bool:
    """Whether no part of the plan reads all of the table; `whole`: whether the planner may."""
    await connection.execute(f"set enable_seqscan = {whole}".encode())
    [(found,)] = await rows(connection, f"explain (format json, costs off) select * from {table} where {where}")  # noqa: S608 - of constants
    plan = json.loads(found) if isinstance(found, str) else found
    return not any(node["Node Type"] == "Seq Scan" for node in _nodes(plan[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)
