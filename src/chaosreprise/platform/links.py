"""The links of a platform: TCP connections between two of its parts that go through a Toxiproxy, so that they can be broken.

A link is named by what it leads to: `links/agents/a1` (that agent and the control plane), `links/database` (the control plane
and its database), `links/clients` (clients and the control plane), `links/sessions` (the control plane and the sessions'
own ports). What reaches a fault's ledger is where secrets stand, never a secret.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:  # what faults are listed by should cost nothing
    from chaosreprise.platform.file import Link, Platform
    from chaosreprise.platform.values import Secret

GROUP = "links"
OF_AGENTS = f"{GROUP}/agents/"


class Place(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A proxy on a server. `token_file` and `token_env` say where its token stands."""

    admin: str
    proxy: str
    token_file: str | None = None
    token_env: str | None = None

    @property
    def server(self) -> tuple[str, str | None, str | None]:
        return self.admin, self.token_file, self.token_env

    def token(self) -> str:
        if self.token_file is None and self.token_env is None:
            return ""
        from chaosreprise.platform.values import Secret  # noqa: PLC0415

        return Secret(file=self.token_file, env=self.token_env).read(pathlib.Path())


class LinkAt(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A link as a fault needs it. `toxics` are the proxies that carry them, `taps` those of ours that stand before them or are them."""

    name: str
    toxics: list[Place]
    taps: list[Place] | None = None

    @property
    def fronts(self) -> list[Place]:
        """What its clients connect to."""
        return self.taps or self.toxics


class OfFile(Mapping[str, LinkAt]):
    """Those of a platform file, which is read when somebody asks."""

    def __init__(self, file: str) -> None:
        self._file = file

    @functools.cached_property
    def _links(self) -> dict[str, LinkAt]:
        from chaosreprise.platform.file import load  # noqa: PLC0415

        return of(load(self._file))

    def __getitem__(self, name: str) -> LinkAt:
        return self._links[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)


def of(platform: "Platform") -> dict[str, LinkAt]:
    """All links by their names as components."""
    return {f"{GROUP}/{name}": _at(platform, f"{GROUP}/{name}", link) for name, link in platform.file.links.items()}


def crossed(names: list[str], op: str, agent: str | None, session: str | None) -> list[str]:
    """Which of the links with these names a command crosses, from its client on."""
    wanted = [f"{GROUP}/clients", f"{GROUP}/data-plane", f"{GROUP}/database"]
    wanted += [f"{OF_AGENTS}{agent}"] if agent else []
    wanted += [f"{GROUP}/sessions"] if op == "step" and session else []
    return [name for name in wanted if name in names]


def held(names: list[str]) -> list[str]:
    """Which of them a session's stream crosses."""
    return [name for name in (f"{GROUP}/clients", f"{GROUP}/sessions") if name in names]


def _at(platform: "Platform", name: str, link: "Link") -> LinkAt:
    proxies = [link.proxy] if isinstance(link.proxy, str) else link.proxy
    toxics = [_place(platform, link.admin, proxy, link.token) for proxy in proxies]
    taps = [_place(platform, link.taps, proxy, link.taps_token) for proxy in proxies] if link.taps else None
    return LinkAt(name=name, toxics=toxics, taps=taps)


def _place(platform: "Platform", url: str, proxy: str, token: "Secret | None") -> Place:
    file = str(platform.folder / token.file) if token and token.file else None
    return Place(admin=url, proxy=proxy, token_file=file, token_env=token.env if token else None)
