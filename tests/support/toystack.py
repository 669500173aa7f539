"""A platform small enough to read: a server, agents that keep a connection to it, sessions that answer a ping.

Real processes under the real keeper. `tests/faults` uses it too.
"""

import json
import pathlib
import random
import socket
import sys
import time
from collections.abc import Callable

import msgspec

from chaosreprise.stack import spec, starter

SERVER = """
import socket, threading
listener, kept = socket.socket(fileno=3), []
def serve(connection):
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

AGENT = """
import socket, sys, time
while True:
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
            while True:
                connection.sendall(b"beat")
                if not connection.recv(100):
                    break
                time.sleep(0.02)
    except OSError:
        time.sleep(0.02)
"""

# Its connection outlives it: a copy of the socket sits in the process that listens on the abstract address.
LEAKY_AGENT = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
with socket.socket(socket.AF_UNIX) as vault:
    while True:
        try:
            vault.connect(chr(0) + sys.argv[2])
            break
        except OSError:
            time.sleep(0.01)
    socket.send_fds(vault, [b"x"], [connection.fileno()])
time.sleep(1000)
"""

VAULT = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(chr(0) + sys.argv[1])
listener.listen()
kept = []
while True:
    connection, _ = listener.accept()
    kept.append(socket.recv_fds(connection, 1, 1)[1])
"""

SESSION = """
import json, os, socket
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    with connection, connection.makefile("r") as lines:
        for line in lines:
            said = {"pid": os.getpid(), "cwd": os.getcwd(), "env": dict(os.environ)}
            connection.sendall(json.dumps(said).encode() + b"\\n")
"""


def python(program: str, *arguments: object) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", program, *map(str, arguments)]


def free_port() -> int:
    """A port below those that the kernel gives to clients, so that nobody takes it while its component is away."""
    while True:
        port = random.randint(15000, 31000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def agent(name: str, port: int) -> spec.ComponentSpec:
    return spec.ComponentSpec(name=f"agents/{name}", command=python(AGENT, port), after=["server"], backoff_s=0.1)


def leaky(name: str, port: int) -> list[spec.ComponentSpec]:
    """An agent whose connection stays when it is killed, and the process that keeps it open."""
    vault = f"vault-{port}"
    return [
        spec.ComponentSpec(name="vault", command=python(VAULT, vault)),
        spec.ComponentSpec(name=f"agents/{name}", command=python(LEAKY_AGENT, port, vault), after=["server", "vault"]),
    ]


def server(port: int) -> spec.ComponentSpec:
    return spec.ComponentSpec(
        name="server", command=python(SERVER), listen=port, ready=spec.Ready(tcp=port), backoff_s=0.1
    )


def write(
    folder: pathlib.Path, components: list[spec.ComponentSpec], links: list[str] | None = None, **session: float
) -> None:
    stack = spec.StackSpec(
        v=1,
        id=folder.name,
        session=spec.SessionSpec(command=python(SESSION), **{"backoff_s": 0.1} | session),
        components=components,
        links=links or [],
    )
    spec.save(folder, stack)


def launch(
    components: list[spec.ComponentSpec],
    *,
    folder: pathlib.Path | None = None,
    owned: bool = False,
    links: list[str] | None = None,
    **session: float,
) -> starter.Stack:
    """A stack of these components; in `folder` rather than in the state directory if that is given."""
    if folder is None:
        folder = starter.new_folder()
    else:
        folder.mkdir()
    write(folder, components, links, **session)
    return starter.launch(folder, owned=owned)


def eventually(what: Callable[[], object], timeout_s: float = 5.0) -> object:
    """What `what` says as soon as that is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)
    return found


def ask(port: int) -> dict:
    with socket.create_connection(("127.0.0.1", port), 5) as connection, connection.makefile("r") as lines:
        connection.sendall(b"ping\n")
        return json.loads(lines.readline())


def ledger(stack: starter.Stack, name: str) -> list[dict]:
    """What the keeper wrote about a slot or component."""
    lines = (stack.dir / "slots.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines[1:]) if line["object"] == name]


def changed(record: msgspec.Struct, **changes: object) -> msgspec.Struct:
    return msgspec.structs.replace(record, **changes)
