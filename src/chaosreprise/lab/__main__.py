"""`python -m chaosreprise.lab`: the door to the lab. `prepare` makes one, the others are run by its keeper.

Each command imports what it needs and no more: an agent must not pay for the control plane's libraries.
"""
# ruff: noqa: PLC0415

import argparse
import json
import os
import pathlib
import sys

from chaosreprise.errors import RepriseError


def main() -> int:
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(arguments) or 0)
    except RepriseError as error:
        sys.stderr.write(f"{error}\n")
    except OSError as error:
        sys.stderr.write(
            f"{error.filename or 'a file of the lab'}: {error.strerror}: make room, or put the lab into another folder\n"
        )
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaosreprise.lab", description="The embedded platform.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_prepare(commands.add_parser("prepare", help="make a lab's folder"))
    listing = commands.add_parser("defects", help="the defects that REPRISE_LAB_DEFECT can plant")
    how = listing.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true")
    how.add_argument("--names", action="store_true")
    listing.add_argument(
        "--platform", choices=["streamspace", "sandbox"], default="streamspace", help="which kind of lab"
    )
    listing.set_defaults(run=_defects)
    control = commands.add_parser("control-plane", help="run the control plane (for the keeper)")
    control.add_argument("folder", type=pathlib.Path)
    control.add_argument("name", help="which one of several")
    control.set_defaults(run=_control)
    agent = commands.add_parser("agent", help="run an agent (for the keeper)")
    agent.add_argument("folder", type=pathlib.Path)
    agent.add_argument("name")
    agent.set_defaults(run=_agent)
    pod = commands.add_parser("pod", help="run a part of the lab as a pod of a cluster")
    pod.add_argument("folder", type=pathlib.Path)
    pod.add_argument("part", help="database, control-plane or agents/NAME")
    pod.set_defaults(run=_pod)
    disk = commands.add_parser("disk", help="keep a small file system for the database (for the keeper)")
    disk.add_argument("folder", type=pathlib.Path)
    disk.add_argument("--mib", type=int, required=True)
    disk.set_defaults(run=_disk)
    database = commands.add_parser("postgres", help="become PostgreSQL where namespaces are refused (for the keeper)")
    database.add_argument("data", type=pathlib.Path)
    database.add_argument("--port", type=int, required=True)
    database.add_argument("--way", required=True)
    database.set_defaults(run=_postgres)
    return parser


def _add_prepare(prepare: argparse.ArgumentParser) -> None:
    prepare.add_argument("folder", type=pathlib.Path)
    prepare.add_argument("--serves", choices=("streamspace", "sandbox"), default="streamspace")
    prepare.add_argument("--agents", type=int, default=3)
    prepare.add_argument("--users", type=int, default=12)
    prepare.add_argument("--control-planes", type=int, default=1)
    prepare.add_argument("--disk-mib", type=int, default=0, help="of a small file system for the database; 0: none")
    prepare.add_argument("--registry", choices=("memory", "file"), default="memory", help="of a sandbox's data plane")
    prepare.add_argument("--regions", type=int, default=1, help="which agents belong to, in turn")
    prepare.add_argument("--clusters", type=int, default=1, help="which agents belong to, neighbours to one")
    prepare.add_argument("--agent-platforms", type=int, default=1, help="on which agents run, in turn")
    prepare.add_argument("--heartbeat-s", type=float, default=1.0)
    prepare.add_argument("--reconcile-s", type=float, default=0.5)
    prepare.add_argument(
        "--backoff-s", type=float, default=0.2, help="the longest pause of an agent between two tries to connect"
    )
    prepare.add_argument("--token-s", type=float, default=24 * 3600.0, help="how long a login lasts")
    prepare.add_argument("--namespace", default="", help="of a cluster: the lab will be pods there")
    prepare.add_argument(
        "--witness", type=int, default=0, help="1: sessions speak for themselves, and no ledger is seen"
    )
    prepare.add_argument("--parent", type=int, help="end when this process, our parent, dies")
    prepare.set_defaults(run=_prepare)


def _prepare(arguments: argparse.Namespace) -> None:
    from chaosreprise.lab.defects import VARIABLE
    from chaosreprise.lab.prepare import Options, prepare
    from chaosreprise.procs import die_with_parent

    if arguments.parent is not None:
        die_with_parent(arguments.parent)
    asked = {name: getattr(arguments, name) for name in Options._fields if name != "defect"}
    prepare(arguments.folder, Options(**asked, defect=os.environ.get(VARIABLE)))


def _defects(arguments: argparse.Namespace) -> None:
    if arguments.platform == "sandbox":
        from chaosreprise.lab.sandbox.defects import DEFECTS
    else:
        from chaosreprise.lab.defects import DEFECTS

    if arguments.json:
        told = ("name", "check", "label", "also", "experiment", "why")
        each = [{"platform": arguments.platform} | {name: getattr(d, name) for name in told} for d in DEFECTS.values()]
        sys.stdout.write(json.dumps(each, indent=2) + "\n")
    elif arguments.names:
        sys.stdout.write("".join(f"{name}\n" for name in DEFECTS))
    else:
        width = max(map(len, DEFECTS))
        sys.stdout.write("".join(f"{d.name:{width}}  {d.check}: {d.why}\n" for d in DEFECTS.values()))


def _control(arguments: argparse.Namespace) -> None:
    from chaosreprise.lab.control import main as control

    control(arguments.folder, arguments.name)


def _agent(arguments: argparse.Namespace) -> None:
    from chaosreprise.lab.agent import main as agent

    agent(arguments.name, arguments.folder)


def _pod(arguments: argparse.Namespace) -> None:
    from chaosreprise.lab.pods import main as pod

    pod(arguments.folder, arguments.part)


def _disk(arguments: argparse.Namespace) -> None:
    from chaosreprise.lab.disk import main as disk

    disk(arguments.folder, arguments.mib)


def _postgres(arguments: argparse.Namespace) -> None:
    from chaosreprise.lab import postgres

    postgres.become_server(arguments.data, arguments.port, postgres.Way(arguments.way))


if __name__ == "__main__":
    sys.exit(main())
