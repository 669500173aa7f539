"""One session: a Python interpreter that runs steps, one at a time, in one namespace that stays.

Started as a file by the keeper (`python -I -S session.py`), so it imports nothing but the standard library, and little of
it: a session starts in some 25 ms. It serves the listening socket at file descriptor 3 (in a pod: $REPRISE_SESSION_PORT), one JSON line a request:
`{"token", "id", "life", "code"}` -> `{"id", "life", "status", "stdout", "stderr"}`; without `code` it is a ping. Who shows
another token than $REPRISE_SESSION_TOKEN gets `refused`, who means another life of this session `lost`, and nothing runs.
What the code raises is text in stderr, as in a terminal. A request with `"stream": true` makes its connection a stream: it
stays open beside everything else for as long as this process lives, and says a number now and then.
"""

import io
import json
import os
import socket
import sys
import time

LISTEN_FD = 3
TOKEN, PORT = "REPRISE_SESSION_TOKEN", "REPRISE_SESSION_PORT"
SILENCE_S = 5.0  # a client that connects and says nothing must not keep the others waiting
ACCEPT_AGAIN_S = 0.05
READING_S = 30.0  # nor one that does not read its answer
BEAT_S = 0.25

Namespace = dict[str, object]


def run(code: str, namespace: Namespace) -> tuple[str, str]:
    """Run a step; what it printed, and its traceback if it raised."""
    out, err = io.StringIO(), io.StringIO()
    sys.stdout, sys.stderr = out, err
    try:
        exec(compile(code, "<step>", "exec"), namespace)  # noqa: S102 - running code is what a session is for
    except BaseException as error:  # noqa: BLE001 - also SystemExit: a step must not end its session
        import traceback  # noqa: PLC0415 - 8 ms that only a failing step pays

        frames = error.__traceback__.tb_next if error.__traceback__ else None
        err.write("".join(traceback.format_exception(type(error), error, frames)))
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    return out.getvalue(), err.getvalue()


def answer(request: dict[str, str], token: str, life: str, namespace: Namespace) -> dict[str, object]:
    said: dict[str, object] = {"id": request.get("id"), "life": life, "status": "completed", "stdout": "", "stderr": ""}
    if request.get("token") != token:
        said["status"] = "refused"
    elif request.get("life", life) != life:
        said["status"] = "lost"
    elif request.get("code") is not None:
        said["stdout"], said["stderr"] = run(request["code"], namespace)
    return said


def serve(connection: socket.socket, token: str, life: str, namespace: Namespace) -> None:
    """All requests of one connection; the next connection waits for its end."""
    connection.settimeout(SILENCE_S)
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            request = json.loads(line)
            said = answer(request, token, life, namespace)
            connection.settimeout(READING_S)
            connection.sendall(json.dumps(said).encode() + b"\n")
            if request.get("stream") and said["status"] == "completed":
                stream(connection.dup())
                return
            connection.settimeout(SILENCE_S)


def stream(connection: socket.socket) -> None:
    import threading  # noqa: PLC0415 - only a session that somebody looks at pays

    threading.Thread(target=beat, args=(connection,), daemon=True).start()


def beat(connection: socket.socket) -> None:
    """Count until the other end is gone, or reads nothing any more."""
    connection.settimeout(READING_S)
    number = 0
    with connection:
        try:
            while True:
                connection.sendall(b"%d\n" % number)
                number += 1
                time.sleep(BEAT_S)
        except OSError:
            return


def speak() -> None:
    """Where somebody listens for it, say four times a second that this process lives."""
    if "REPRISE_WITNESS_SINK" not in os.environ:
        return
    import pathlib  # noqa: PLC0415 - only who speaks pays
    from importlib import util  # noqa: PLC0415

    spec = util.spec_from_file_location("witness", pathlib.Path(__file__).parents[1] / "witness.py")
    if spec is None or spec.loader is None:
        return
    witness = util.module_from_spec(spec)
    spec.loader.exec_module(witness)
    witness.start(os.environ["REPRISE_SESSION_SLOT"], str(pathlib.Path.cwd()))


def main() -> None:
    speak()
    token, life = os.environ.pop(TOKEN, ""), os.urandom(8).hex()
    namespace: Namespace = {"__name__": "__main__"}
    port = os.environ.pop(PORT, "")
    listener = socket.create_server(("", int(port))) if port else socket.socket(fileno=LISTEN_FD)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # no file descriptor is left: the connection waits, and so does this session's memory
            time.sleep(ACCEPT_AGAIN_S)
            continue
        try:
            serve(connection, token, life, namespace)
        except (OSError, ValueError, AttributeError):  # it went away, said nothing in time, or spoke no JSON object
            continue


if __name__ == "__main__":
    main()
