"""`python -m chaosreprise.lab.sandbox control-plane|data-plane|session-agent`, configured by the environment; or `prepare`.

A setting that is wrong or missing ends the process with 1 and a line on standard error. SIGTERM ends it at once.
"""
# ruff: noqa: PLC0415

import argparse
import asyncio
import contextlib
import os
import pathlib
import sys

import msgspec

from chaosreprise.errors import RepriseError, complain


def main() -> int:
    arguments = _parser().parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            arguments.run(arguments)
    except RepriseError as error:
        complain(error)
        return 1
    except OSError as error:
        complain(f"{error.filename or 'a file'}: {error.strerror or error}: make room, or name another place")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaosreprise.lab.sandbox", description="The embedded sandbox.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run in (("control-plane", _control), ("data-plane", _data), ("session-agent", _agent)):
        commands.add_parser(name, help=f"run the {name.replace('-', ' ')}").set_defaults(run=run)
    prepare = commands.add_parser("prepare", help="make the folder of a sandbox, and print its processes as JSON")
    prepare.add_argument("folder", type=pathlib.Path)
    prepare.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    prepare.add_argument("--authentication", action="store_true")
    prepare.add_argument("--runtime", choices=["python", "node"], default="python")
    prepare.add_argument("--registry", choices=["memory", "file"], default="memory")
    prepare.add_argument("--limit-s", type=float, help="of one call between two processes; 10 without it")
    prepare.set_defaults(run=_prepare)
    return parser


def _control(_: argparse.Namespace) -> None:
    from chaosreprise.lab.sandbox import settings

    given = settings.control(os.environ)  # before anything is imported that takes time
    from chaosreprise.lab.sandbox import control

    asyncio.run(control.run(given))


def _data(_: argparse.Namespace) -> None:
    from chaosreprise.lab.sandbox import settings

    given = settings.data(os.environ)  # before anything is imported that takes time
    from chaosreprise.lab.sandbox import data

    asyncio.run(data.run(given))


def _agent(_: argparse.Namespace) -> None:
    from chaosreprise.lab.sandbox import settings

    given = settings.agent(os.environ)  # before anything is imported that takes time
    from chaosreprise.lab.sandbox import agent

    asyncio.run(agent.run(given))


def _prepare(arguments: argparse.Namespace) -> None:
    from chaosreprise.lab.defects import VARIABLE
    from chaosreprise.lab.sandbox.prepare import Options, prepare

    asked = {
        name: getattr(arguments, name) for name in ("database", "authentication", "runtime", "registry", "limit_s")
    }
    made = prepare(arguments.folder, Options(**asked, defect=os.environ.get(VARIABLE)))
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(made)) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
