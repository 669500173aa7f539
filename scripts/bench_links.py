"""Our own proxy and the real Toxiproxy on the same wire at the same time: each figure is taken of all, turn by turn.

A figure is that of the best turn: what else runs on a machine only makes it worse. `direct` is the wire
without a proxy, and tells what the machine gave. Without a real Toxiproxy ours is measured alone.
"""

import argparse
import contextlib
import pathlib
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "support"))
import linkwire

from chaosreprise.links.client import Proxy, Toxiproxy

CONNECTIONS = (1, 50, 500)
PING = b"x" * 100
PINGS = 300  # of one turn
BUSY_S, STREAM_S = 0.4, 0.4  # of one turn
BLOCK = bytes(1 << 18)
LATENCY_MS = 20
DELAYED = 40  # pings through the latency toxic of one turn
GIB = 1 << 30
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

Wires = dict[str, list[socket.socket]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench-links")
    parser.add_argument("--rounds", type=int, default=5, help="turns of which the best is shown (default: 5)")
    parser.add_argument("--far", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.far:
        far_end()
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(far_process())
        servers = {"ours": stack.enter_context(linkwire.embedded())}
        if linkwire.REAL:
            servers["real"] = stack.enter_context(linkwire.real())
        else:
            print(linkwire.NO_REAL)
        for count in CONNECTIONS:
            compare(servers, far, count, options.rounds)


def compare(servers: dict[str, tuple[subprocess.Popen | None, str]], far: int, count: int, rounds: int) -> None:
    proxies = {
        name: Toxiproxy(url).create(f"127.0.0.1:{far}", f"reprise-bench-{count}") for name, (_, url) in servers.items()
    }
    pids = {name: process.pid for name, (process, _) in servers.items() if process}
    ports = {"direct": ("127.0.0.1", far)} | {name: proxy.address for name, proxy in proxies.items()}
    print(f"\n{count} connection{'s' * (count > 1)}", *(f"{name:>10}" for name in ports), sep="\t")
    with wires(ports, count, b"E") as echoing:
        show("round trip, one under way, us", turns(lambda name: round_trip_us(echoing[name], PINGS), ports, rounds))
        compare_work("round trips a second, all under way", lambda name: busy(echoing[name]), pids, ports, rounds)
        with toxic(proxies, type="noop"):
            compare_work("the same under a toxic that looks", lambda name: busy(echoing[name]), pids, ports, rounds)
        with toxic(proxies, type="latency", attributes={"latency": LATENCY_MS}):
            late = turns(lambda name: round_trip_us(echoing[name], DELAYED) - LATENCY_MS * 1000, proxies, rounds)
        show(f"late by, of {LATENCY_MS} ms, us", {"direct": [float("nan")]} | late)
    with wires(ports, count, b"S") as streaming:
        compare_work("stream, GiB/s", lambda name: stream(streaming[name]), pids, ports, rounds, 2)
        with toxic(proxies, type="noop", stream="upstream"):
            compare_work(
                "the same under a toxic that looks", lambda name: stream(streaming[name]), pids, ports, rounds, 2
            )


@contextlib.contextmanager
def toxic(proxies: dict[str, Proxy], **wanted) -> Iterator[None]:
    made = [(proxy, proxy.add_toxic(**wanted).name) for proxy in proxies.values()]
    yield
    for proxy, name in made:
        proxy.destroy_toxic(name)


def compare_work(what: str, measure, pids: dict[str, int], names, rounds: int, digits: int = 0) -> None:
    """The figure, and what the proxy's processor time alone would allow: that tells more on a busy machine."""
    allowed = {name: [] for name in names}

    def measured(name: str) -> float:
        before, began = cpu_s(pids.get(name)), time.perf_counter()
        figure = measure(name)
        used = cpu_s(pids.get(name)) - before
        allowed[name].append(figure * (time.perf_counter() - began) / used if used else float("nan"))
        return figure

    show(what, turns(measured, names, rounds), digits)
    show("  a second of the proxy's processor time", allowed, digits)


def cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    with contextlib.suppress(OSError):  # a thread that ends
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    return 0.0


def turns(measure, names, rounds: int) -> dict[str, list[float]]:
    figures = {name: [] for name in names}
    for _ in range(rounds):
        for name, found in figures.items():
            found.append(measure(name))
    return figures


def show(what: str, figures: dict[str, list[float]], digits: int = 0) -> None:
    best = min if what.endswith("us") else max
    print(f"{what:40}", *(f"{best(found):10.{digits}f}" for found in figures.values()), sep="\t", flush=True)


def round_trip_us(ends: list[socket.socket], count: int, ping: bytes = PING, pause_s: float = 0) -> float:
    taken = []
    for number in range(count):
        end = ends[number % len(ends)]
        began = time.perf_counter()
        end.sendall(ping)
        linkwire.read_exactly(end, len(ping))
        taken.append(time.perf_counter() - began)
        if pause_s:
            time.sleep(pause_s)
    return statistics.median(taken) * 1e6


def busy(ends: list[socket.socket], ping: bytes = PING) -> float:
    """Round trips a second with one under way on each connection."""
    poller, by_number, done = select.epoll(), {end.fileno(): end for end in ends}, 0
    for end in ends:
        poller.register(end, select.EPOLLIN)
        end.sendall(ping)
    began = time.perf_counter()
    while time.perf_counter() - began < BUSY_S:
        for fd, _ in poller.poll():
            linkwire.read_exactly(by_number[fd], len(ping))
            by_number[fd].sendall(ping)
            done += 1
    taken = time.perf_counter() - began
    for end in ends:
        linkwire.read_exactly(end, len(ping))
    poller.close()
    return done / taken


def stream(ends: list[socket.socket]) -> float:
    """GiB a second that the wire takes from all connections."""
    poller, by_number, sent = select.epoll(), {end.fileno(): end for end in ends}, 0
    for end in ends:
        end.setblocking(False)
        poller.register(end, select.EPOLLOUT)
    began = time.perf_counter()
    while time.perf_counter() - began < STREAM_S:
        for fd, _ in poller.poll(0.1):
            with contextlib.suppress(BlockingIOError):
                sent += by_number[fd].send(BLOCK)
    taken = time.perf_counter() - began
    poller.close()
    time.sleep(0.1)  # what is under way is not the next one's burden
    return sent / taken / GIB


@contextlib.contextmanager
def wires(ports: dict[str, tuple[str, int]], count: int, kind: bytes) -> Iterator[Wires]:
    made = {name: [linkwire.near(place) for _ in range(count)] for name, place in ports.items()}
    for ends in made.values():
        for end in ends:
            end.sendall(kind)
    time.sleep(0.3)
    yield made
    for ends in made.values():
        for end in ends:
            end.close()


@contextlib.contextmanager
def far_process() -> Iterator[int]:
    with subprocess.Popen([sys.executable, __file__, "--far"], stdout=subprocess.PIPE) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def far_end() -> None:
    """Until it is ended: echoes connections that begin with E, and throws away what the others bring."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    poller, ends, echoing, buffer = select.epoll(), {}, {}, bytearray(1 << 20)
    poller.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == listener.fileno():
                end, _address = listener.accept()
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ends[end.fileno()] = end
                poller.register(end, select.EPOLLIN)
                continue
            end = ends[fd]
            if fd not in echoing:
                echoing[fd] = begin(end)
                continue
            count = end.recv_into(buffer, 0, 0 if echoing[fd] else socket.MSG_TRUNC)
            if not count:
                poller.unregister(fd)
                del echoing[fd]
                ends.pop(fd).close()
            elif echoing[fd]:
                end.sendall(memoryview(buffer)[:count])


def begin(end: socket.socket) -> bool:
    """Whether to echo. What begins with GET becomes a WebSocket, and its path says which."""
    kind = end.recv(1)
    if kind != b"G":
        return kind == b"E"
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += end.recv(1)
    end.sendall(SWITCHING)
    return b"/E" in request


if __name__ == "__main__":
    main()
