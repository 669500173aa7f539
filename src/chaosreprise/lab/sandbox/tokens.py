"""Bearer tokens: JWT (RFC 7519), signed with HS256 and nothing else. Who shows one is a tenant's agent."""

import base64
import hmac
import time
from typing import Literal, NamedTuple

import msgspec

from chaosreprise.lab.sandbox.settings import Keys


class Owner(NamedTuple):
    """Who a token speaks for."""

    tenant: str
    agent: str


class NoToken(Exception):
    """None, one that was not signed with our secret, one that has expired, or one for others."""


class _Head(msgspec.Struct):
    alg: Literal["HS256"]


class _Claims(msgspec.Struct):
    tenant_id: str
    agent_id: str
    exp: float | None = None
    iss: str = ""
    aud: str | list[str] = ""


def sign(claims: dict[str, str | float | list[str]], secret: str) -> str:
    text = f"{_encode(msgspec.json.encode({'alg': 'HS256', 'typ': 'JWT'}))}.{_encode(msgspec.json.encode(claims))}"
    return f"{text}.{_signature(text, secret)}"


def read(header: str | None, keys: Keys) -> Owner:
    """Who an Authorization header speaks for. Raises NoToken."""
    scheme, _, token = (header or "").partition(" ")
    signed, _, signature = token.strip().rpartition(".")
    head, _, payload = signed.partition(".")
    if scheme.lower() != "bearer" or not hmac.compare_digest(
        _signature(signed, keys.secret).encode(), signature.encode()
    ):
        raise NoToken("no bearer token of ours")
    try:
        msgspec.json.decode(_decode(head), type=_Head)
        claims = msgspec.json.decode(_decode(payload), type=_Claims)
    except (ValueError, msgspec.DecodeError) as error:
        raise NoToken("not the claims that we ask for") from error
    if not _holds(claims, keys):
        raise NoToken("expired, or for others")
    return Owner(claims.tenant_id, claims.agent_id)


def _holds(claims: _Claims, keys: Keys) -> bool:
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    return (
        bool(claims.tenant_id and claims.agent_id)
        and (claims.exp is None or time.time() < claims.exp)
        and (not keys.issuer or claims.iss == keys.issuer)
        and (not keys.audience or keys.audience in audience)
    )


def _signature(text: str, secret: str) -> str:
    return _encode(hmac.digest(secret.encode(), text.encode(), "sha256"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
