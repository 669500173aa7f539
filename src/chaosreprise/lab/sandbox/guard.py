"""Who is let in, where authentication is on: every path but /metrics asks for a bearer token. A seam for planted defects."""

from aiohttp import web

from chaosreprise.lab.sandbox import tokens
from chaosreprise.lab.sandbox.answers import Handler, Refused
from chaosreprise.lab.sandbox.settings import Keys

OPEN = "/metrics"


class Guard:
    """`keys` None: everybody is let in, and nobody is known."""

    def __init__(self, keys: Keys | None) -> None:
        self._keys = keys

    def caller(self, header: str | None) -> tokens.Owner | None:
        """Who shows this Authorization header; 401 for who is not let in."""
        if self._keys is None:
            return None
        try:
            return tokens.read(header, self._keys)
        except tokens.NoToken as error:
            raise Refused(401) from error

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != OPEN:
            request["owner"] = self.caller(request.headers.get("Authorization"))
        return await handler(request)
