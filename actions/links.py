"""Faults on the links of a platform: the connections between its parts, where they go through a Toxiproxy.

`link` is `database`, `clients`, `sessions` or `agents`: the last are the links of the agents that `agent`, `region` and `count`
choose, as in the faults on agents. `direction`: bytes `to` what the link leads to, `from` there, or `both`. `connections`: so many of those
that are there, 0 for all and what is made later. All return when the fault is
proven on what is connected, and fail, with the fault undone, when it is not. `hold_s` is the longest planned time in
seconds until `restore`; the fault's lease is a little longer. `in_flight`: just before, commands are sent for the sessions of the
agents that are meant, so that something is under way.

Each takes `at`, the moment at which it strikes (docs/moments.md): seconds, a phase, or what happens to a command.
"""

from typing import Any

from chaosreprise.run.current import At, inject, undo

__all__ = [
    "bandwidth",
    "blackhole",
    "cut",
    "flap",
    "freeze",
    "latency",
    "refuse",
    "reset",
    "restore",
    "ws_close",
    "ws_delay",
    "ws_drop",
    "ws_drop_pings",
    "ws_duplicate",
    "ws_reconnect_storm",
]


def latency(
    link: str,
    ms: int = 200,
    jitter_ms: int = 0,
    direction: str = "both",
    connections: int = 0,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Delay what passes a link by `ms` milliseconds, `jitter_ms` more or less, until `restore`."""
    return inject("links.latency", **locals())


def bandwidth(
    link: str,
    kb_per_s: int = 1,
    direction: str = "both",
    connections: int = 0,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Let a link carry `kb_per_s` kilobytes a second in each direction of each connection, until `restore`."""
    return inject("links.bandwidth", **locals())


def freeze(
    link: str,
    direction: str = "both",
    connections: int = 0,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Let nothing pass a link until `restore`, and deliver it then."""
    return inject("links.freeze", **locals())


def blackhole(
    link: str,
    direction: str = "both",
    connections: int = 0,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Let nothing pass a link until `restore`, and lose it; its connections are closed then."""
    return inject("links.blackhole", **locals())


def reset(
    link: str,
    direction: str = "both",
    connections: int = 0,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Break each connection of a link when bytes come on it, until `restore`."""
    return inject("links.reset", **locals())


def cut(
    link: str,
    after_bytes: int = 10,
    direction: str = "both",
    connections: int = 0,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Close each connection of a link after `after_bytes` bytes in a direction, so in mid-message, until `restore`."""
    return inject("links.cut", **locals())


def refuse(
    link: str,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Refuse who connects to a link and close what is connected, until `restore`."""
    return inject("links.refuse", **locals())


def flap(
    link: str,
    down_s: float = 0.5,
    up_s: float = 1.0,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Let a link be down for `down_s` and up for `up_s` seconds, over and over, until `restore`."""
    return inject("links.flap", **locals())


def ws_drop(
    link: str,
    match: dict[str, Any] | None = None,
    nth: int = 1,
    messages: int = 1,
    direction: str = "to",
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Lose a WebSocket message that matches, the `nth`, and as many as `messages` from there on (0: all), until `restore`."""
    return inject("links.ws_drop", **locals())


def ws_duplicate(
    link: str,
    match: dict[str, Any] | None = None,
    nth: int = 1,
    messages: int = 1,
    direction: str = "to",
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Send a WebSocket message that matches twice, the `nth`, and as many as `messages` from there on (0: all), until `restore`."""
    return inject("links.ws_duplicate", **locals())


def ws_delay(
    link: str,
    match: dict[str, Any] | None = None,
    nth: int = 1,
    messages: int = 1,
    ms: int = 1000,
    direction: str = "to",
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Hold a WebSocket message that matches up by `ms` milliseconds, and what is behind it, until `restore`."""
    return inject("links.ws_delay", **locals())


def ws_drop_pings(
    link: str,
    direction: str = "both",
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Lose the pings and pongs of WebSockets, and nothing else, until `restore`."""
    return inject("links.ws_drop_pings", **locals())


def ws_close(
    link: str,
    code: int = 1012,
    direction: str = "both",
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Close each WebSocket of a link once, with `code`."""
    return inject("links.ws_close", **locals())


def ws_reconnect_storm(
    link: str,
    after_ms: int = 100,
    code: int = 1012,
    direction: str = "to",
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    in_flight: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Close each WebSocket of a link `after_ms` milliseconds after it was made, again and again, until `restore`."""
    return inject("links.ws_reconnect_storm", **locals())


def restore(link: str = "") -> list[dict[str, Any]]:
    """Undo whatever is on a link, or on all of them: `agents` are the links of all agents. Nothing when nothing is."""
    return undo("links", link)
