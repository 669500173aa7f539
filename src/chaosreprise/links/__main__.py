"""`python -m chaosreprise.links`: our own proxy server. Its first line on standard output says where its HTTP API is.

    {"port": 8474}

SIGTERM and SIGINT end it: its connections are closed and it is gone. `REPRISE_LINKS_TOKEN`, or the content of `--token-file`, is
asked of every client. `--config` is a list of proxies as `populate` takes it: they listen before the API does, so who restarts
it has them again.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import signal
import sys
import threading

from chaosreprise import procs
from chaosreprise.links.addresses import AddressError
from chaosreprise.links.api import Api, Server
from chaosreprise.links.loop import Loop
from chaosreprise.links.proxies import ApiError, Proxies
from chaosreprise.links.router import Router

TOKEN = "REPRISE_LINKS_TOKEN"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaosreprise.links", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8474, help="of the HTTP API, on 127.0.0.1; 0 for any (default: 8474)"
    )
    parser.add_argument("--config", type=pathlib.Path, help="JSON: a list of proxies, each {name, listen, upstream}")
    parser.add_argument("--router", type=int, help="a port of 127.0.0.1 that leads to whichever port a client asks for")
    parser.add_argument("--token-file", type=pathlib.Path, help="holds what every client must send")
    arguments = parser.parse_args()
    if arguments.port not in range(65536):
        parser.error(f"--port is {arguments.port}: it takes 0 to 65535, 0 for any")
    _take_all_descriptors()
    loop = Loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.end())
    threading.Thread(target=_serve, args=(loop, arguments), daemon=True).start()
    procs.wake_on_time()
    loop.run()
    os._exit(0)  # the kernel closes every connection at once; threads that wait for a resolver are not waited for


def _serve(loop: Loop, arguments: argparse.Namespace) -> None:
    """In a thread of its own, since a proxy that begins to listen asks the loop."""
    proxies = Proxies(loop)
    try:
        if arguments.config:
            proxies.populate(arguments.config.read_bytes())
        if arguments.router:
            Router(loop, arguments.router).start()
        token = arguments.token_file.read_text().strip() if arguments.token_file else os.environ.pop(TOKEN, "")
        server = _server(arguments.port, Api(proxies), token)
        print(json.dumps({"port": server.server_address[1]}), flush=True)
        server.serve_forever(poll_interval=3600)
    except (AddressError, ApiError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)


def _server(port: int, api: Api, token: str) -> Server:
    try:
        return Server(port, api, token)
    except OSError as error:
        raise AddressError(
            f"The HTTP API can't listen on 127.0.0.1:{port} ({error.strerror}): choose another --port, or 0 for any."
        ) from error


def _take_all_descriptors() -> None:
    """Each connection takes two; the soft limit is often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
