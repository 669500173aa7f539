"""Who may have how much: the quantities of Kubernetes, and the limits of a user. Pure.

Quantities are kept word for word as they were asked for; only sums and comparisons are made with numbers.
"""

import re
from typing import NamedTuple

from chaosreprise.lab.refusals import Refused, bad_request

GIB = 1 << 30
MAX_SESSIONS = 5
MAX_TOTAL_MILLICPU, MAX_TOTAL_MEMORY = 4000, 8 * GIB
MAX_EACH_MILLICPU, MAX_EACH_MEMORY = 2000, 4 * GIB
MIN_MILLICPU, LARGEST_MILLICPU = 100, 64_000
MIN_MEMORY, LARGEST_MEMORY = 128 << 20, 512 * GIB
DEFAULT_CPU, DEFAULT_MEMORY = "1", "2Gi"
_FACTORS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
}
_MEMORY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)(k|M|G|T|Ki|Mi|Gi|Ti)?")
_CPU = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(m)?")


class Size(NamedTuple):
    millicpu: float
    memory: float


def size(cpu: str, memory: str) -> Size:
    """The numbers behind two quantities. Refuses what is no quantity."""
    cores, amount = _CPU.fullmatch(cpu), _MEMORY.fullmatch(memory)
    if cores is None:
        raise bad_request(f"resources.cpu {cpu!r} is no quantity like 500m or 2")
    if amount is None:
        raise bad_request(f"resources.memory {memory!r} is no quantity like 512Mi or 2Gi")
    return Size(float(cores[1]) * (1 if cores[2] else 1000), float(amount[1]) * _FACTORS[amount[2] or ""])


def check_range(asked: Size) -> None:
    """What no session may be, whoever asks."""
    if not MIN_MILLICPU <= asked.millicpu <= LARGEST_MILLICPU:
        raise bad_request("resources.cpu must lie between 100m and 64")
    if not MIN_MEMORY <= asked.memory <= LARGEST_MEMORY:
        raise bad_request("resources.memory must lie between 128Mi and 512Gi")


def check_user(asked: Size, active: list[Size]) -> None:
    """What this user may have beside the sessions that are active."""
    if len(active) >= MAX_SESSIONS:
        raise exceeded(f"{len(active)} of {MAX_SESSIONS} sessions are active")
    if asked.millicpu > MAX_EACH_MILLICPU or asked.memory > MAX_EACH_MEMORY:
        raise exceeded("a session may have 2 CPU and 4Gi")
    if sum(one.millicpu for one in active) + asked.millicpu > MAX_TOTAL_MILLICPU:
        raise exceeded("all sessions together may have 4 CPU")
    if sum(one.memory for one in active) + asked.memory > MAX_TOTAL_MEMORY:
        raise exceeded("all sessions together may have 8Gi")


def exceeded(message: str) -> Refused:
    return Refused(403, "Quota exceeded", message)
