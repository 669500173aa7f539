"""Secrets that this process has read, and every text that leaves it without them.

A platform may send back what it was shown: a body that echoes the header, an error that quotes a connection string. So what
people and files are told goes through `without`, and so do the lines of logs. A secret shorter than LEAST is not looked for,
since it would stand in any text.
"""

import base64
import json
import logging
import re
import urllib.parse
from typing import Any

LEAST = 8  # characters
INSTEAD = "<secret>"
IN_DSN = re.compile(r"^[a-z]+://[^:@/]*:(?P<url>[^@]*)@|\bpassword\s*=\s*(?:'(?P<quoted>[^']*)'|(?P<plain>\S+))")

_texts: list[str] = []
_record = logging.getLogRecordFactory()


def hide(secret: str) -> str:
    """Remember a secret, and the password in a connection string; it is given back."""
    fresh = {form for form in forms(secret) if len(form) >= LEAST}.difference(_texts)
    if fresh:
        _texts[:] = sorted(fresh.union(_texts), key=len, reverse=True)  # the whole before its parts
        logging.setLogRecordFactory(_logged)
    return secret


def forms(secret: str) -> set[str]:
    """It, and the password in it if it is a connection string, as they may be written."""
    found = IN_DSN.search(secret)
    parts = {secret, *((part for part in found.groups("") if part) if found else ())}
    parts |= {urllib.parse.unquote(part) for part in parts}
    return {form for part in parts for form in _written(part)}


def _written(secret: str) -> tuple[str, ...]:
    """As it may stand in a text, a line of JSON, a message of Python's, a URL, a header."""
    in_json = (json.dumps(secret, ensure_ascii=ascii_alone)[1:-1] for ascii_alone in (True, False))
    in_base64 = base64.b64encode(secret.encode()).decode().rstrip("=")
    return (secret, *in_json, repr(secret)[1:-1], urllib.parse.quote(secret, ""), in_base64)


def without(text: str) -> str:
    """The text with each secret of this process taken out of it."""
    for secret in _texts:
        if secret in text:
            text = text.replace(secret, INSTEAD)
    return text


def holds(encoded: bytes) -> bool:
    """Whether one of them stands in it."""
    return any(secret.encode() in encoded for secret in _texts)


def _logged(*given: Any, **more: Any) -> logging.LogRecord:
    """A record whose words and trace are without them, before any handler sees it."""
    record = _record(*given, **more)
    said = record.getMessage()
    if (cut := without(said)) != said:
        record.msg, record.args = cut, ()
    if record.exc_info:
        record.exc_text = without(logging.Formatter().formatException(record.exc_info))
    return record
