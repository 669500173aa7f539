"""The stack that runs the commands of a platform file: other people's programs as local processes, so that they can be broken.

They are started in their order (`after`), each when those before it accept, with the environment that the file gives them
and nothing of ours but PATH, HOME and the like. Secrets are read when a process is started and stand in no file of ours.
"""

import shutil

from chaosreprise.errors import NotPossible
from chaosreprise.platform.file import Components, Platform
from chaosreprise.platform.values import Secret
from chaosreprise.stack import spec

BACKOFF_S = 0.2


def stack(platform: Platform) -> spec.StackSpec:
    """What its keeper runs. Raises NotPossible for a program that is not there."""
    return spec.StackSpec(
        v=spec.VERSION,
        id=platform.stack.name,
        components=[_component(platform, name, entry) for name, entry in platform.commands.items()],
        spares_orphans=True,
    )


def _component(platform: Platform, name: str, entry: Components) -> spec.ComponentSpec:
    assert entry.command is not None
    folder = platform.folder / (entry.folder or "")
    if not folder.is_dir():
        raise NotPossible(f"{platform.path}: components.{name}.folder: {folder} is no folder: make it")
    return spec.ComponentSpec(
        name=name,
        command=[_program(platform, name, entry.command[0]), *entry.command[1:]],
        env={key: value for key, value in entry.env.items() if isinstance(value, str)},
        secrets={key: _secret(platform, value) for key, value in entry.env.items() if isinstance(value, Secret)},
        folder=str(folder),
        ready=spec.Ready(tcp=entry.port) if entry.port is not None else None,
        after=entry.after,
        backoff_s=BACKOFF_S,
    )


def _program(platform: Platform, name: str, program: str) -> str:
    """Relative to the platform file where it has a slash, else from the PATH."""
    found = shutil.which(str(platform.folder / program) if "/" in program else program)
    if found is None:
        raise NotPossible(f"{platform.path}: components.{name}.command: {program} is no program that can be run here")
    return found


def _secret(platform: Platform, value: Secret) -> spec.Secret:
    return spec.Secret(env=value.env, file=str(platform.folder / value.file) if value.file else None)
