"""A stack that is a real PostgreSQL and the link to it, with tables, a role that uses them, and a platform file that names all.

Nobody is in it who would be hit: clients are the tests, by the link or past it.
"""

import contextlib
import json
import pathlib
import sys

import psycopg
import toystack

from chaosreprise.lab import postgres
from chaosreprise.stack import spec, starter

PASSWORD = "toy"
TABLES = f"""create role app login password '{PASSWORD}';

grant create on schema public to app;

set role app;

create table things (number integer);

create table "Other Things" (number integer);

"""
PLATFORM = """\
version = 1
kind = "streamspace"
name = "toy"
[control]
url = "http://127.0.0.1:9"
user = "nobody"
password = {{ file = "superuser" }}
template = "none"
[components.database]
how = "process"
keeper = "keeper.json"
admin = {{ file = "admin.dsn" }}
[links.database]
admin = "http://127.0.0.1:{api}"
proxy = "database"
taps = "http://127.0.0.1:{api}"
[budget]
users = ["nobody"]
[timing]
settle = {{ backoff_s = 0, reconcile_s = 0, slowest_s = 0 }}
"""


class Database:
    """The stack, and how its clients see it."""

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir()
        self.port, self.link, api = (toystack.free_port() for _ in range(3))
        self.links, way = f"http://127.0.0.1:{api}", postgres.way()
        (folder / "superuser").write_text(PASSWORD)
        (folder / "admin.dsn").write_text(self.dsn(postgres.SUPERUSER))
        self.platform_file = folder / "platform.toml"
        self.platform_file.write_text(PLATFORM.format(api=api))
        data = folder / "data"
        postgres.make_cluster(data, folder / "superuser", way, TABLES)
        server = spec.ComponentSpec(
            name="database",
            command=postgres.server_command(data, self.port),
            ready=spec.Ready(tcp=self.port),
            stop_signal="QUIT",
            userns=way is postgres.Way.NAMESPACE,
        )
        proxy = {
            "name": "database",
            "listen": f"127.0.0.1:{self.link}",
            "upstream": f"127.0.0.1:{self.port}",
            "tap": True,
        }
        (folder / "links.json").write_text(json.dumps([proxy]))
        command = [sys.executable, "-P", "-m", "chaosreprise.links", "--port", str(api)]
        links = spec.ComponentSpec(
            name="links", command=[*command, "--config", str(folder / "links.json")], ready=spec.Ready(tcp=api)
        )
        session = spec.SessionSpec(command=["/bin/false"])
        stack = spec.StackSpec(v=1, id="toy", session=session, components=[links, server], links=["links/database"])
        spec.save(folder, stack)
        self.stack = starter.launch(folder, owned=True)
        toystack.eventually(self._serves)

    def _serves(self) -> bool:
        """It listens a moment before it lets anybody in."""
        with contextlib.suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def dsn(self, role: str, *, by_link: bool = False) -> str:
        port = self.link if by_link else self.port
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{port}/{postgres.DATABASE}?sslmode=disable&gssencmode=disable"

    def connect(self, role: str = "app", *, by_link: bool = False) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.dsn(role, by_link=by_link), autocommit=True, connect_timeout=2)
