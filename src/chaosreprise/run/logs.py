"""The ends of the logs of the platform's components, kept with a run: those of processes that a keeper of ours runs, and of pods.

They leave the place where they were protected, so what is secret is masked: the values that the platform file refers to and
those beside its stack, wherever they stand, and what looks like a token or a password.
"""

import pathlib
import re
from collections.abc import Iterable, Iterator

import msgspec

from chaosreprise import hidden
from chaosreprise.errors import BadInput, NotAllowed
from chaosreprise.kubernetes.pod_logs import PodLogs
from chaosreprise.platform.file import KUBERNETES, Platform
from chaosreprise.platform.values import Secret
from chaosreprise.report.markdown import LOGS

KEPT = 64 << 10  # bytes at the end of each
SHORTEST = 4  # a secret of fewer characters would be found in everything
MASK = "***"
LOOKS_SECRET = re.compile(
    r"(?i)(?<=bearer )[\w.~+/=-]+|\beyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
    r"|(?<![a-z])((?:password|passwd|secret|token|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"',&;}]+"
)


def follow(platform: Platform) -> PodLogs | None:
    """From now on, where components are pods."""
    selectors = {name: one.selector or "" for name, one in platform.file.components.items() if one.how == KUBERNETES}
    return PodLogs(platform.cluster, selectors, KEPT) if platform.cluster is not None and selectors else None


def collect(platform: Platform, folder: pathlib.Path, followed: PodLogs | None = None) -> list[str]:
    """Copy them into a run's directory; their names. Raises OSError when that can't be done, NotAllowed when pods may not be followed."""
    texts: dict[str, bytes] = {}
    for stack in dict.fromkeys(keeper.parent for keeper in platform.keepers.values()):
        for log in sorted(path for path in (stack / "logs").glob("*") if path.is_file()):
            texts[log.name if log.name not in texts else f"{stack.name}-{log.name}"] = _end(log)
    texts |= followed.end() if followed is not None else {}
    forms = {form for value in _values(platform) for form in hidden.forms(value) if len(form) >= SHORTEST}
    secret = sorted(forms, key=len, reverse=True)
    if texts:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
    for name, data in texts.items():
        (folder / LOGS / name).touch(mode=0o600)
        (folder / LOGS / name).write_text(masked(_whole_lines(data).decode(errors="replace"), secret))
    if followed is not None and followed.lacking:
        raise NotAllowed(f"{followed.lacking}: the logs of its pods are not kept")
    return [*texts]


def masked(text: str, secret: Iterable[str]) -> str:
    for value in secret:
        text = text.replace(value, MASK)
    return LOOKS_SECRET.sub(lambda match: f"{match[1] or ''}{MASK}", text)


def _end(log: pathlib.Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - KEPT - 1))
        return file.read()


def _whole_lines(data: bytes) -> bytes:
    """Those among the last bytes."""
    return data if len(data) <= KEPT else data[-KEPT - 1 :].partition(b"\n")[2]


def _values(platform: Platform) -> Iterator[str]:
    for secret in _of(platform.file):
        try:
            yield secret.read(platform.folder)
        except BadInput:  # not set, or not readable any more: then it is in nobody's log by us
            continue
    for stack in {keeper.parent for keeper in platform.keepers.values()}:
        for path in (path for path in (stack / "secrets").rglob("*") if path.is_file()):
            yield path.read_text(errors="replace").strip()


def _of(value: object) -> Iterator[Secret]:
    """Every reference to a secret in a structure."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _of(getattr(value, name))
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _of(one)
