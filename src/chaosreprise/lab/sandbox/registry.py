"""Where the sessions of a data plane run: in memory, or in a JSON file that is replaced as a whole. A seam for planted defects.

A file that can't be read at the start is taken for one without routes, with a line on standard error: its sessions are gone
then, and their steps say so.
"""

import pathlib

import msgspec

from chaosreprise.lab.sandbox.answers import log


class Route(msgspec.Struct, rename="camel"):
    """`endpoint` is the session agent's, empty for a session that runs in the data plane itself."""

    runtime_id: str
    runtime: str
    endpoint: str
    token: str
    auth_mode: str


class Registry:
    """`path` None: in memory. Raises OSError for a route that can't be written; it is not there then."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self._path = path
        self._routes = _read(path) if path else {}

    def get(self, session: str) -> Route | None:
        return self._routes.get(session)

    def put(self, session: str, route: Route) -> None:
        self._replace(self._routes | {session: route})

    def remove(self, session: str) -> None:
        self._replace({name: route for name, route in self._routes.items() if name != session})

    def _replace(self, routes: dict[str, Route]) -> None:
        if self._path:
            new = self._path.with_name(f"{self._path.name}.tmp")
            new.write_bytes(msgspec.json.encode(routes))
            new.replace(self._path)
        self._routes = routes


def _read(path: pathlib.Path) -> dict[str, Route]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Route])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log(f"sessions: registry {path} can't be read, so there are no sessions: {error}")
        return {}
