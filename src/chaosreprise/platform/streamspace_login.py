"""Who we are at a StreamSpace: a login by name and password, and another one whenever its token has run out.

A token may last shorter than a run. What is answered with 401 was not done, whatever it was (`streamspace_answers`), so it is
sent once more with a new token: one login for all calls that the same token failed. A 401 that is left says why it is.
"""

import asyncio
from collections.abc import AsyncGenerator

import httpx

from chaosreprise.errors import BadInput, RepriseError, Unreachable
from chaosreprise.hidden import hide
from chaosreprise.platform.calls import retry_s
from chaosreprise.platform.file import Platform

REFUSED = 401
WHY = "reprise.login"
"""The extension of an answer that is still a 401: why, as a sentence."""


async def login(http: httpx.AsyncClient, platform: Platform) -> str:
    """Log in, from now on and for as long as `http` is used; the role that it gives. Raises Unreachable or BadInput."""
    if not isinstance(http.auth, Bearer):
        bearer = Bearer(http, platform)
        role = await bearer.login()
        http.auth = bearer
        return role
    return await http.auth.login()


def authorization(http: httpx.AsyncClient) -> dict[str, str]:
    """The header of who is logged in, for what is not sent by `http` itself."""
    return http.auth.header if isinstance(http.auth, Bearer) else {}


class Bearer(httpx.Auth):
    requires_response_body = (
        True  # read before anything else is sent: else all connections may wait for a login, which needs one
    )

    def __init__(self, http: httpx.AsyncClient, platform: Platform) -> None:
        assert platform.file.control is not None
        self._http, self._control, self._folder = http, platform.file.control, platform.folder
        self._token = ""
        self._renewing = asyncio.Lock()

    @property
    def header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = self._token
        request.headers.update(self.header)
        answer = yield request
        if answer.status_code != REFUSED:
            return
        try:
            async with self._renewing:
                if self._token == token:
                    await self.login()
        except RepriseError as error:
            answer.extensions[WHY] = f"the token was refused with {REFUSED}, and no new one was to be had: {error}"
            return
        request.headers.update(self.header)
        answer = yield request
        if answer.status_code == REFUSED:
            who = (
                f"{self._control.url} refuses {self._control.user} with {REFUSED} right after a login that it accepted"
            )
            answer.extensions[WHY] = f"{who}: check the clocks and the secret of its tokens"

    async def login(self) -> str:
        """The role that it gives. Raises Unreachable or BadInput."""
        control = self._control
        given = {"username": control.user, "password": control.password.read(self._folder)}
        try:
            answer = await self._http.post("/api/v1/auth/login", json=given, auth=httpx.Auth())
        except httpx.TransportError as error:
            raise Unreachable(
                f"{control.url}: the control plane does not answer ({error}): is the platform up?"
            ) from error
        if answer.is_redirect:
            to = answer.headers.get("location", "somewhere else")
            raise BadInput(
                f"{control.url}: it leads to {to}: set control.url to where the control plane itself answers"
            )
        if (wait_s := retry_s(answer)) is not None:
            raise Unreachable(
                f"{control.url}: it takes no login for {wait_s:g} s, by its limit of rates: try again then"
            )
        if answer.status_code >= 500:
            raise Unreachable(f"{control.url}: a login was answered with {answer.status_code}: is the platform up?")
        if answer.status_code != 200:
            raise BadInput(
                f"{control.url}: login as {control.user} was refused with {answer.status_code}: check control.user and control.password"
            )
        try:
            said = answer.json()
            self._token = hide(str(said["token"]))
            return str((said.get("user") or {}).get("role"))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise BadInput(
                f"{control.url}: the answer to a login has no token: check that this is the control plane"
            ) from error
