"""No byte is lost, doubled or moved while toxics come and go under streams that pass both ways."""

import hashlib
import random
import select
import socket
import threading
import time

import pytest
from linkwire import in_background

CHANGES = 40
HARMLESS = {
    "latency": lambda draw: {"latency": draw.randrange(6), "jitter": draw.randrange(3)},
    "bandwidth": lambda draw: {"rate": draw.choice([5_000, 50_000, 500_000])},
    "slicer": lambda draw: {"average_size": draw.choice([3_000, 20_000]), "size_variation": draw.randrange(1_000)},
    "slow_close": lambda draw: {"delay": draw.randrange(20)},
    "limit_data": lambda _draw: {"bytes": 1 << 40},
    "noop": lambda _draw: {},
}


class Stream:
    """Random bytes in random pieces from one end to the other until told to stop, and what arrived of them."""

    def __init__(self, source: socket.socket, target: socket.socket, seed: int) -> None:
        self._sent, self._got = hashlib.sha256(), hashlib.sha256()
        self._sent_count = self._got_count = 0
        self._source, self._target, self._draw = source, target, random.Random(seed)
        self._stop = threading.Event()
        self._sender = in_background(self._send)
        self._reader = in_background(self._read)

    def has_arrived_whole(self) -> bool:
        self._stop.set()
        self._sender.join(20)
        self._reader.join(20)
        assert self._sent_count > 100_000
        return self._got_count == self._sent_count and self._got.digest() == self._sent.digest()

    def _send(self) -> None:
        while not self._stop.is_set():
            data = self._draw.randbytes(self._draw.choice([1, 100, 5_000, 70_000]))
            self._sent.update(data)
            self._source.sendall(data)
            self._sent_count += len(data)
            if self._draw.random() < 0.3:
                time.sleep(0.005)

    def _read(self) -> None:
        while self._sender.is_alive() or self._got_count < self._sent_count:
            if select.select([self._target], [], [], 0.1)[0]:
                data = self._target.recv(1 << 16)
                if not data:
                    return
                self._got.update(data)
                self._got_count += len(data)


def change(draw: random.Random, proxy, there: dict[str, str]) -> None:
    what = draw.random()
    if what < 0.5 or not there:
        kind = draw.choice(sorted(HARMLESS))
        name = f"t{draw.randrange(10**9)}"
        stream = draw.choice(["upstream", "downstream"])
        toxicity = draw.choice([1, 0.5])
        proxy.add_toxic(type=kind, name=name, stream=stream, toxicity=toxicity, attributes=HARMLESS[kind](draw))
        there[name] = kind
    elif what < 0.65:
        name = draw.choice(sorted(there))
        proxy.update_toxic(name, **HARMLESS[there[name]](draw))
    else:
        name = draw.choice(sorted(there))
        proxy.destroy_toxic(name)
        del there[name]


@pytest.mark.parametrize("seed", range(3))
def test_streams_arrive_whole_while_toxics_come_and_go(wire, proxy, seed):
    draw = random.Random(seed)
    streams = []
    for number in range(3):
        client, far = wire()
        streams += [Stream(client, far, 10 * seed + number), Stream(far, client, 100 * seed + number)]
    there: dict[str, str] = {}
    for _ in range(CHANGES):
        change(draw, proxy, there)
    for name in sorted(there):
        proxy.destroy_toxic(name)
    assert [stream.has_arrived_whole() for stream in streams] == [True] * len(streams)
