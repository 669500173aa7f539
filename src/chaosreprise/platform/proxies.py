"""The links of a platform as its Toxiproxies show them: whether each is there and up, or why nothing can be done to it."""

from typing import Any

from chaosreprise.errors import RepriseError
from chaosreprise.links.client import Door
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform
from chaosreprise.platform.links import GROUP, LinkAt, Place, of

ASK_S = 5.0


def components(platform: Platform) -> list[Component]:
    """One question a server."""
    links = of(platform).values()
    servers = {place.server: place for link in links for place in link.toxics}
    found = {server: _proxies(place) for server, place in servers.items()}
    return [_component(link, found[link.toxics[0].server]) for link in links]


def _proxies(place: Place) -> dict[str, bool] | str:
    """Whether each proxy of a server is enabled, or why that can't be told."""
    try:
        found: dict[str, Any] = Door(place.admin, place.token(), ASK_S).ask("GET", "proxies")
        return {name: bool(proxy["enabled"]) for name, proxy in found.items()}
    except RepriseError as error:
        return str(error).rstrip(".")
    except (KeyError, TypeError, AttributeError) as error:
        return f"what answers at {place.admin} is no Toxiproxy ({error!r})"


def _component(link: LinkAt, found: dict[str, bool] | str) -> Component:
    if isinstance(found, str):
        return Component(name=link.name, group=GROUP, state="down", reason=found)
    if missing := [place for place in link.toxics if place.proxy not in found]:
        reason = f"{missing[0].admin} has no proxy {missing[0].proxy!r}"
        return Component(name=link.name, group=GROUP, state="down", reason=reason)
    return Component(
        name=link.name, group=GROUP, state="up" if all(found[one.proxy] for one in link.toxics) else "down"
    )
