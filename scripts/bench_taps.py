"""What reading along costs: the same WebSocket over our own proxy untapped, tapped, and with a subscriber, turn by turn.

Beside it streams of messages that are large, and small ones, which a reader has to look at one by one.
"""

import argparse
import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import bench_links as bench
import linkwire

from chaosreprise.links.client import Proxy, Toxiproxy
from chaosreprise.links.watch import frames

UPGRADE = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
MESSAGE = b"\x81\x5e" + b"x" * 94  # one frame of the size of a ping
STREAMS = {
    "messages of 256 KiB": b"\x82\x7f" + (1 << 18).to_bytes(8, "big") + bytes(1 << 18),
    "messages of 8 KiB": (b"\x82\x7e" + (1 << 13).to_bytes(2, "big") + bytes(1 << 13)) * 32,
    "messages of 100 bytes": (b"\x82\x62" + bytes(98)) * 2600,
}
STREAM_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench-links --taps")
    parser.add_argument("--rounds", type=int, default=5, help="turns of which the best is shown (default: 5)")
    rounds = parser.parse_args().rounds
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(bench.far_process())
        process, url = stack.enter_context(linkwire.embedded())
        client = Toxiproxy(url)
        proxies = {name: make(client, far, name) for name in ("untapped", "tapped", "subscribed", "armed")}
        stack.enter_context(subscriber(url, proxies["subscribed"]))
        for direction in ("upstream", "downstream"):
            proxies["armed"].add_toxic(type="ws_drop", stream=direction, attributes={"match": {"text": "nobody's"}})
        pids = dict.fromkeys(proxies, process.pid)
        for count in (1, 50):
            print(f"\nWebSocket, {count} connection{'s' * (count > 1)}", *(f"{name:>10}" for name in proxies), sep="\t")
            with websockets(proxies, count) as ends:
                bench.show(
                    "round trip, one under way, us",
                    bench.turns(lambda name: round_trip_us(ends[name]), proxies, rounds),
                )
                bench.compare_work("round trips a second", lambda name: busy(ends[name]), pids, proxies, rounds)
        with websockets({"tapped": proxies["tapped"]}, 1) as ends:
            late = sorted(told_within_us(url, proxies["tapped"], ends["tapped"][0]))
            print(
                f"\na subscriber has a frame's line after, us: median {statistics.median(late):.0f}, 99 % {late[-3]:.0f}"
            )
        print("\nstream, GiB/s", *(f"{name:>10}" for name in proxies), sep="\t")
        for what, block in STREAMS.items():
            with websockets(proxies, 1, b"S") as ends:
                bench.compare_work(
                    what, lambda name, block=block: stream(ends[name][0], block), pids, proxies, rounds, 2
                )


def told_within_us(url: str, proxy: Proxy, end: socket.socket) -> list[float]:
    """From a message's bytes being read by the proxy to a subscriber's having its line, in this process."""

    async def subscribe() -> list[float]:
        async with frames(url, proxies=[proxy.name]) as lines:
            sending = asyncio.create_task(asyncio.to_thread(bench.round_trip_us, [end], bench.PINGS, MESSAGE, 0.002))
            found = [(time.monotonic_ns() - line["t"]) / 1000 async for line in first(lines, bench.PINGS)]
            await sending
            return found

    return asyncio.run(subscribe())


async def first(lines: AsyncIterator[dict], count: int) -> AsyncIterator[dict]:
    while count:
        line = await anext(lines)
        if line["what"] == "message":
            count -= 1
            yield line


def make(client: Toxiproxy, far: int, name: str) -> Proxy:
    wanted = {"name": f"reprise-bench-{name}", "upstream": f"127.0.0.1:{far}", "listen": "127.0.0.1:0"}
    return client.populate([wanted | {"tap": name in {"tapped", "armed"}}])[0]


def round_trip_us(ends: list[socket.socket]) -> float:
    return bench.round_trip_us(ends, bench.PINGS, MESSAGE)


def busy(ends: list[socket.socket]) -> float:
    return bench.busy(ends, MESSAGE)


def stream(end: socket.socket, block: bytes) -> float:
    """GiB a second of whole blocks."""
    sent, began = 0, time.perf_counter()
    while time.perf_counter() - began < STREAM_S:
        end.sendall(block)
        sent += len(block)
    taken = time.perf_counter() - began
    time.sleep(0.1)  # what is under way is not the next one's burden
    return sent / taken / bench.GIB


@contextlib.contextmanager
def websockets(proxies: dict[str, Proxy], count: int, kind: bytes = b"E") -> Iterator[bench.Wires]:
    """Upgraded; what the far end does with the rest of the bytes stands in the path."""
    request = UPGRADE.replace(b"GET /", b"GET /" + kind)
    made = {name: [linkwire.near(proxy.address) for _ in range(count)] for name, proxy in proxies.items()}
    for ends in made.values():
        for end in ends:
            end.sendall(request)
            linkwire.read_exactly(end, len(bench.SWITCHING))
    yield made
    for ends in made.values():
        for end in ends:
            end.close()


@contextlib.contextmanager
def subscriber(url: str, proxy: Proxy) -> Iterator[None]:
    """A process that reads the feed as fast as it can."""
    code = "import socket,sys; s=socket.create_connection(('127.0.0.1',int(sys.argv[1]))); s.sendall(sys.argv[2].encode());\nwhile s.recv(1<<20): pass"
    request = f"GET /reprise/frames?proxy={proxy.name} HTTP/1.1\r\n\r\n"
    with subprocess.Popen([sys.executable, "-c", code, url.rpartition(":")[2], request]) as process:
        time.sleep(0.3)
        try:
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
