"""The values that a platform file is made of: numbers with their bounds, names, URLs, secrets by reference.

Each says in its `description` what was expected, for the sentence that refuses anything else.
"""

import ipaddress
import os
import pathlib
import urllib.parse
from typing import Annotated

import msgspec
from msgspec import Meta

from chaosreprise.errors import BadInput, shown
from chaosreprise.hidden import hide
from chaosreprise.settings import read_text

Agents = Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64")]
ControlPlanes = Annotated[int, Meta(ge=1, le=8, description="a whole number from 1 to 8")]
NumberOfPlatforms = Annotated[int, Meta(ge=1, le=4, description="a whole number from 1 to 4")]
NumberOfRegions = Annotated[int, Meta(ge=1, le=8, description="a whole number from 1 to 8")]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port from 1 to 65535")]
Mebibytes = Annotated[int, Meta(ge=0, le=65536, description="a whole number of MiB from 0 to 65536")]
Users = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
Count = Annotated[int, Meta(ge=0, le=1_000_000, description="a whole number from 0 to 1000000")]
Seconds = Annotated[float, Meta(ge=0, le=86400, description="seconds from 0 to 86400")]
Hertz = Annotated[float, Meta(gt=0, le=1000, description="a rate from above 0 to 1000 per second")]
Share = Annotated[float, Meta(gt=0, le=1, description="a share from above 0 to 1")]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z",
        description="a name of letters, digits, dots and dashes, at most 63",
    ),
]
Host = Annotated[str, Meta(pattern=r"^[!-~]{1,253}\Z", description="a name of at most 253 characters, without spaces")]
Text = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}\Z", description="a text on one line, 1 to 200 characters")
]
Value = Annotated[
    str,
    Meta(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]{0,4000}\Z", description="a text on one line, at most 4000 characters"),
]
Path = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,1000}\Z", description="a path, relative to the platform file")]
Listen = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]):(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})\Z",
        description="an address of this machine and a port, such as 0.0.0.0:9470",
    ),
]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://(([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]{0,1000})?\Z",
        description="a URL with http:// or https://, a host, and a port or a path where needed",
    ),
]


class Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A table of the platform file."""


class Secret(Strict, frozen=True):
    """A value that stands elsewhere: in an environment variable or in a file."""

    env: Text | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise ValueError("one of the two")  # the type's description says which

    def read(self, base: pathlib.Path) -> str:
        if self.env is not None:
            if value := os.environ.get(self.env):
                return hide(value)
            raise BadInput(
                f"environment variable {self.env} is not set, and the platform file takes a secret from it: export it"
            )
        where = str(base / (self.file or ""))
        return hide(
            read_text(where, "the secret", "name the right file in the platform file, or make it readable").strip()
        )


Hidden = Annotated[
    Secret,
    Meta(description='a secret by reference, {env = "NAME"} or {file = "path"}', extra={"hidden": True}),
]


def check_url(where: str, setting: str, url: str | None) -> None:
    """What the pattern of a URL can't say."""
    try:
        parts = urllib.parse.urlsplit(url or "")
        if ":" in (parts.hostname or ""):
            ipaddress.ip_address(parts.hostname or "")
        _ = parts.port
    except ValueError as error:
        raise BadInput(f"{where}: {setting} = {shown(url)}: {error}: expected a URL of the platform") from error
