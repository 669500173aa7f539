"""What of a platform may be broken now: decided from the platform file and the facts, fail closed. Pure.

Asked when a run is planned, and again with fresh facts by the warden at each injection. Each refusal is one sentence with
the setting that decides. A fact that is needed and could not be had refuses as well; undoing is never asked about here.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from chaosreprise.errors import NotAllowed
from chaosreprise.platform import windows
from chaosreprise.platform.file import Platform

PERMISSION = "REPRISE_PRODUCTION"
ROUNDING = 1e-9
MANY = ("agents", "sessions")  # groups of many components, of which a share can be broken; the others are one of a kind
LINK = "links/"


class Intent(NamedTuple):
    """A fault that is meant to begin now: its kind, its component, and how long it may take until it is undone."""

    kind: str
    on: str
    seconds: float

    @property
    def unnamed(self) -> str:
        """A component that gets its name later, such as a session that is not made yet: only the warden can count there."""
        return f"{_group(self.on)}/?"


class Facts(msgspec.Struct, kw_only=True, frozen=True):
    """What is true of the platform at this moment.

    `identity`: what could be found out, by the names of [identity]. `whole`: every component and running session, and
    whether it is up and free of faults. `broken`: the component of each fault that is on. `foreign`: other people's
    sessions by component, or why they could not be counted. `permission`: the value of REPRISE_PRODUCTION.
    """

    now: datetime
    identity: dict[str, str]
    whole: dict[str, bool]
    foreign: dict[str, int | str]
    broken: Sequence[str] = ()
    permission: str = ""


def check(platform: Platform, intents: Sequence[Intent], facts: Facts) -> None:
    """Raises NotAllowed with the first reason why these faults may not all be on from now."""
    check_identity(platform, facts)
    for intent in intents:
        check_kind(platform, intent.kind)
    _check_production(platform, facts)
    _check_windows(platform, intents, facts)
    _check_at_once(platform, intents, facts)
    ons = dict.fromkeys(intent.on for intent in intents if intent.on != intent.unnamed)
    behind = [name for on in ons if on.startswith(LINK) and (name := on.removeprefix(LINK)) in facts.whole]
    counted = dict.fromkeys([*ons, *behind])  # an agent without its link is as good as broken
    for group in dict.fromkeys(map(_group, counted)):
        _check_group(platform, [on for on in counted if _group(on) == group], group, facts)
    for on in ons:
        _check_foreign(platform, on, facts)


def check_plan(platform: Platform, moments: Sequence[Sequence[Intent]], facts: Facts) -> None:
    """Before anything begins: what is meant to begin together, as if it began now. What else will be on then, the warden sees."""
    check_identity(platform, facts)
    for intents in moments:
        check(platform, intents, facts)


def check_identity(platform: Platform, facts: Facts) -> None:
    """The platform is the one that the file was written for. Raises NotAllowed, also when that can't be told."""
    stated = platform.file.identity.stated()
    if not stated:
        raise _no(platform, "[identity] states nothing: state `host` or `stack`, so that only this platform is broken")
    for name, expected in stated.items():
        found = facts.identity.get(name)
        if found is None:
            raise _no(
                platform,
                f'identity.{name} = "{expected}" can\'t be compared here (known are: {_known(facts)}): state what can, or leave it out',
            )
        if found != expected:
            raise _no(
                platform,
                f'identity.{name} = "{expected}", but this is "{found}": another platform than the file was written for',
            )


def check_kind(platform: Platform, kind: str) -> None:
    allowed = platform.file.allow.faults
    if kind not in allowed:
        raise _no(
            platform, f"allow.faults = {allowed}: {kind} is not among them: add it if this platform may suffer that"
        )


def _check_production(platform: Platform, facts: Facts) -> None:
    if not platform.file.identity.production:
        return
    name = platform.file.allow.production
    if name is None:
        raise _no(
            platform, "identity.production = true: nothing is broken there unless allow.production names a permission"
        )
    if facts.permission != name:
        has = f'"{facts.permission}"' if facts.permission else "not set"
        raise _no(
            platform,
            f'identity.production = true: it takes the permission "{name}", and {PERMISSION} is {has}: set it if you have that permission',
        )


def _check_windows(platform: Platform, intents: Sequence[Intent], facts: Facts) -> None:
    allowed = platform.file.allow.parsed_windows()
    if not allowed or not intents:
        return
    until = facts.now + timedelta(seconds=max(intent.seconds for intent in intents))
    if windows.covers(allowed, facts.now, until):
        return
    when = f"from {facts.now:%a %H:%M:%S} to {until:%a %H:%M:%S} UTC, with its undo"
    after = windows.opens(allowed, facts.now)
    raise _no(
        platform,
        f"allow.windows = {list(platform.file.allow.windows)}: {intents[0].kind} would last {when}: the next window opens on {after:%a %d %b at %H:%M} UTC",
    )


def _check_at_once(platform: Platform, intents: Sequence[Intent], facts: Facts) -> None:
    limit, count = platform.file.allow.at_once, len(facts.broken) + len(intents)
    if count > limit:
        on = f" ({', '.join(facts.broken)} broken already)" if facts.broken else ""
        raise _no(platform, f"allow.at_once = {limit}: {count} faults would be on at the same time{on}")


def _check_group(platform: Platform, ons: Sequence[str], group: str, facts: Facts) -> None:
    """Whoever broke it: what is not whole now counts as broken."""
    members = {name for name in facts.whole if _group(name) == group}
    hit = {on for on in facts.broken if on in members} | {on.removeprefix(LINK) for on in facts.broken}
    down = {name for name in members if not facts.whole[name] or name in hit}
    unknown = [on for on in ons if on not in members]
    if unknown:
        raise _no(platform, f"{unknown[0]} is not there: what share of {group} is broken can't be told")
    broken = down | set(ons)
    besides = down - set(ons)
    already = f" ({', '.join(sorted(besides))} is not whole now)" if besides else ""
    allow = platform.file.allow
    ours = {name for name in members if name in hit} | set(ons)
    if len(ours) > allow.count:
        raise _no(
            platform, f"allow.count = {allow.count}: {len(ours)} of {len(members)} {group} would be broken by this run"
        )
    if group in MANY and len(broken) > allow.share * len(members) + ROUNDING:
        raise _no(
            platform, f"allow.share = {allow.share:g}: {len(broken)} of {len(members)} {group} would be broken{already}"
        )


def _check_foreign(platform: Platform, on: str, facts: Facts) -> None:
    found, limit = facts.foreign.get(on, "nobody counted them"), platform.file.allow.foreign_sessions
    if isinstance(found, str):
        raise _no(
            platform, f"allow.foreign_sessions = {limit}: other people's sessions on {on} can't be counted: {found}"
        )
    if found > limit:
        raise _no(
            platform,
            f"allow.foreign_sessions = {limit}: {on} has {found} session{'s' if found != 1 else ''} of somebody else: wait until they have ended",
        )


def _group(on: str) -> str:
    return on.partition("/")[0]


def _known(facts: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.identity.items()) or "none"


def _no(platform: Platform, say: str) -> NotAllowed:
    return NotAllowed(f"{platform.path}: {say}")
