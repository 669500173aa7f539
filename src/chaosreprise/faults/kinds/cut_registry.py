"""Kill the data plane and cut its registry file short, as a crash in the middle of a write leaves it; it comes back by itself.

The file is cut once the process is gone, so that nobody writes meanwhile, and a copy of it lies beside it until this is undone.
Undoing waits until the data plane serves again, with what it made of the rest; only then is what was cut off put back, for its
next start, and not where the platform has written another file since. One that does not start like this gets it back at once.
"""

import asyncio
import contextlib
import os
import pathlib
import signal
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, local
from chaosreprise.faults.base import Context, Target
from chaosreprise.platform.file import load
from chaosreprise.stack import mends

SETTING = "sandbox.registry"
READS_S = 1.0  # who serves already may still be reading it


class Arguments(base.Arguments, frozen=True):
    keep: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=0.99,
            title="the share of the file that stays, one byte at least",
            description="a share from 0 to 0.99",
        ),
    ] = 0.5


class Cut(local.Process, kw_only=True):
    """The file at `path`, of which the share `keep` stays."""

    path: str
    keep: float

    def copy(self, mark: str) -> pathlib.Path:
        return pathlib.Path(f"{self.path}.reprise.{mark.replace('/', '.')}")

    def mend(self, mark: str) -> mends.PutBack:
        return mends.PutBack(self.path, str(self.copy(mark)), self.keep)

    def read(self) -> bytes:
        """Raises NotPossible for what can't be cut."""
        try:
            whole = pathlib.Path(self.path).read_bytes()
        except OSError as error:
            raise NotPossible(
                f"{self.path}: {SETTING} can't be read ({error.strerror}): is it what it writes?"
            ) from error
        if len(whole) < 2:
            raise NotPossible(f"{self.path}: {SETTING} has {len(whole)} bytes: there is nothing that could be cut off")
        return whole


class CutRegistry(local.OnProcess):
    groups = ("data-plane",)
    needs = f"{local.NEEDS}, and the file of its registry ({SETTING})"
    arguments = Arguments
    momentary = True
    way_back = "its supervisor starts it again, and then the rest of the file is put back unless there is another one"
    proof = "it is gone with all that it had started and its connections, and then its registry ends where it was cut"
    undo_s = 2 * local.BACK_S + 5

    def asks(self, group: str) -> tuple[str, ...]:
        return (SETTING,)

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        path = _registry(context)
        if not path.parent.is_dir():
            raise NotPossible(f"{path}: {SETTING} lies in no folder that is there: name the file that it writes")
        return await super().plan(context, on, args) | {"path": str(path)}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        cut = msgspec.convert(target, Cut)
        cut.read()
        await local.hold(context, mark, cut, lease_end, down=True, mends=[cut.mend(mark)])
        local.strike(cut, signal.SIGKILL)
        await local.prove_gone(cut)
        await asyncio.to_thread(_cut, cut, mark)
        await local.hold(context, mark, cut, lease_end, down=False, mends=[cut.mend(mark)])

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        cut = msgspec.convert(target, Cut)
        was = cut.copy(mark).stat().st_size
        return await local.prove_gone(cut) | {"registry_bytes": mends.kept(was, cut.keep), "were": was}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        cut = msgspec.convert(target, Cut)
        with contextlib.suppress(Unreachable):  # it may not start with what is left, or with a stack that has ended
            async with local.keeper(context) as connected:
                if (await local.part(connected, cut.component)).state != "held":
                    await local.until_back(connected, cut)
                    await asyncio.sleep(READS_S)
        mends.apply(cut.mend(mark))
        return await super().undo(context, mark, target)

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        cut = msgspec.convert(target, Cut)
        if cut.copy(mark).exists():
            raise Unreachable(f"{cut.path}: what was cut off it could not be put back: it stands in {cut.copy(mark)}")
        await super().verify(context, mark, target)


def _registry(context: Context) -> pathlib.Path:
    platform = load(context.platform_file) if context.platform_file else None
    named = platform.file.sandbox.registry if platform and platform.file.sandbox else None
    if platform is None or named is None:
        raise NotPossible(f"{SETTING} is not set: name the file in which the data plane keeps its registry")
    return (platform.folder / named).resolve()


def _cut(cut: Cut, mark: str) -> None:
    """The copy is safe before anything is cut. Raises NotPossible, or NotProven when the file is not as short as it should be."""
    path, copy, whole = pathlib.Path(cut.path), cut.copy(mark), cut.read()
    kept = mends.kept(len(whole), cut.keep)
    try:
        with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        os.truncate(path, kept)
    except OSError as error:
        raise NotPossible(f"{path}: it can't be cut short ({error.strerror})") from error
    if path.read_bytes() != whole[:kept]:
        raise NotProven(f"{path}: it was written while the data plane was down: by whom?")


FAULT = CutRegistry()
