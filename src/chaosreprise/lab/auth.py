"""Passwords, tokens and agent keys. A token is a JWT (HS256), so it is valid for whoever has the secret, also after a restart.

The lab knows one login, the administrator's: its other users own sessions and have no password. Agent keys are 64 hex
digits of real randomness, so their plain SHA-256 is kept; the password is kept by scrypt.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from typing import Any

from chaosreprise.lab.refusals import Refused

AGENT_KEY = re.compile(r"[0-9a-f]{64}")
_HEADER = {"alg": "HS256", "typ": "JWT"}
_SCRYPT = {"n": 2**12, "r": 8, "p": 1}


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT).hex()}"


def password_fits(password: str, stored: str | None) -> bool:
    kind, _, rest = (stored or "").partition("$")
    salt, _, digest = rest.partition("$")
    if kind != "scrypt":
        return False
    found = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_SCRYPT).hex()
    return hmac.compare_digest(found, digest)


def new_key() -> str:
    return secrets.token_hex(32)


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key_fits(key: str, stored: str | None) -> bool:
    return hmac.compare_digest(hash_key(key), stored or "")


def make_token(secret: str, user: str, role: str, life_s: float) -> tuple[str, float]:
    """A token and the Unix time at which it ends."""
    expires = time.time() + life_s
    text = f"{_encode(_HEADER)}.{_encode({'sub': user, 'role': role, 'exp': expires})}"
    return f"{text}.{_signature(secret, text)}", expires


def check_token(secret: str, header: str | None) -> None:
    """Refuse a request whose Authorization header carries no valid token."""
    scheme, _, token = (header or "").partition(" ")
    text, _, signature = token.rpartition(".")
    if scheme.lower() != "bearer" or not text:
        raise Refused(401, "Authorization required", "send Authorization: Bearer <token> from POST /api/v1/auth/login")
    if not hmac.compare_digest(_signature(secret, text).encode(), signature.encode()):
        raise Refused(401, "Invalid token", "the token's signature does not fit")
    if json.loads(_decode(text.partition(".")[2]))["exp"] <= time.time():
        raise Refused(401, "Invalid token", "the token has expired: log in again")


def _signature(secret: str, text: str) -> str:
    return _base64(hmac.digest(secret.encode(), text.encode(), "sha256"))


def _encode(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
