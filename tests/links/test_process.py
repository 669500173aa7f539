"""Our own server as a process: many connections, its end, and what it leaves behind."""

import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import pytest
from linkwire import NO_REAL, REAL, embedded, eventually, how_it_ends, in_background, near, read_all, read_exactly

from chaosreprise.links.client import Toxiproxy

MANY = 300


@pytest.fixture
def ours():
    with embedded() as (process, url):
        yield process, Toxiproxy(url)


def descriptors(process: subprocess.Popen) -> int:
    return len(list(pathlib.Path(f"/proc/{process.pid}/fd").iterdir()))


def threads(process: subprocess.Popen) -> int:
    return len(list(pathlib.Path(f"/proc/{process.pid}/task").iterdir()))


def cpu_ticks(process: subprocess.Popen) -> int:
    stat = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(stat[11]) + int(stat[12])


def test_hundreds_of_connections_work_and_leave_nothing(ours, far):
    process, client = ours
    proxy = client.create(far.address, "reprise-many")
    before = descriptors(process), threads(process)
    pairs = [(near(proxy.address), far.take()) for _ in range(MANY)]
    proxy.add_toxic(type="latency", attributes={"latency": 1})
    for number, (_, end) in enumerate(pairs):
        end.sendall(number.to_bytes(4, "big"))
    assert [read_exactly(client_end, 4) for client_end, _ in pairs] == [n.to_bytes(4, "big") for n in range(MANY)]
    for pair in pairs:
        for end in pair:
            end.close()
    assert eventually(lambda: descriptors(process) <= before[0] and threads(process) <= before[1])


def test_nothing_is_done_while_nothing_happens(ours, far):
    """Neither an idle connection, nor a half-closed one, nor a reset under a frozen toxic, keeps the loop turning."""
    process, client = ours
    proxy = client.create(far.address, "reprise-idle")
    pairs = [(near(proxy.address), far.take()) for _ in range(3)]
    pairs[0][0].shutdown(socket.SHUT_WR)
    proxy.add_toxic(type="bandwidth", attributes={"rate": 0})
    pairs[1][1].sendall(b"held")
    pairs[2][1].sendall(b"held")
    time.sleep(0.1)
    pairs[2][1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pairs[2][1].close()
    time.sleep(0.1)
    before = cpu_ticks(process)
    time.sleep(0.7)
    assert cpu_ticks(process) - before <= 5
    for pair in pairs:
        for end in pair:
            end.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_its_connections(far, number):
    with embedded() as (process, url):
        proxy = Toxiproxy(url).create(far.address, "reprise-end")
        with near(proxy.address) as client, far.take() as end:
            process.send_signal(number)
            assert process.wait(5) == 0
            assert how_it_ends(client) in {"end", "reset"}
            assert how_it_ends(end) in {"end", "reset"}


def test_a_port_that_is_taken_is_said_in_one_sentence(far):
    port = far.address.rpartition(":")[2]
    command = [sys.executable, "-m", "chaosreprise.links", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr == (
        f"The HTTP API can't listen on 127.0.0.1:{port} (Address already in use): choose another --port, or 0 for any.\n"
    )


def test_its_http_api_is_on_loopback_only(ours):
    _, client = ours
    port = int(client.url.rpartition(":")[2])
    rows = [row.split() for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("slicer", {"average_size": 0, "size_variation": 0}),
        ("slicer", {"average_size": 3, "size_variation": 900}),
        ("slicer", {"average_size": -5, "size_variation": -5, "delay": -1}),
        ("latency", {"latency": -5, "jitter": -5}),
        ("limit_data", {"bytes": 2**63 - 1}),
    ],
)
def test_odd_numbers_do_no_harm(ours, far, kind, attributes):
    process, client = ours
    proxy = client.create(far.address, "reprise-odd")
    proxy.add_toxic(type=kind, attributes=attributes)
    with near(proxy.address) as near_end, far.take() as far_end:
        far_end.sendall(bytes(range(200)))
        assert read_exactly(near_end, 200) == bytes(range(200))
    assert process.poll() is None


def test_a_rate_below_nothing_freezes(ours, far):
    _, client = ours
    proxy = client.create(far.address, "reprise-odd")
    proxy.add_toxic(type="bandwidth", attributes={"rate": -1})
    with near(proxy.address) as near_end, far.take() as far_end:
        far_end.sendall(b"held")
        assert how_it_ends(near_end, 0.1) == "open"
        proxy.destroy_toxic("bandwidth_downstream")
        assert read_exactly(near_end, 4) == b"held"


def test_a_stream_that_stalls_and_goes_on_is_whole(ours, far):
    """Through the pipes: more than the sockets take, with nothing that looks at it."""
    _, client = ours
    proxy = client.create(far.address, "reprise-stall")
    sent = random.Random(5).randbytes(999_983) * 64
    with near(proxy.address) as near_end, far.take() as far_end:
        sender = in_background(lambda: (far_end.sendall(sent), far_end.shutdown(socket.SHUT_WR)))
        time.sleep(0.2)
        assert sender.is_alive()
        assert read_all(near_end) == sent


def test_a_chain_of_ours_and_a_real_one_passes_bytes(ours, far):
    _, client = ours
    first = client.create(far.address, "reprise-first")
    second = client.create(first.listen, "reprise-second")
    with near(second.address) as near_end, far.take() as far_end:
        far_end.sendall(b"through both")
        assert read_exactly(near_end, 12) == b"through both"


@pytest.mark.skipif(not REAL or REAL.startswith("http"), reason=NO_REAL)
def test_toxiproxy_cli_works_against_ours(ours, far):
    _, client = ours
    cli = pathlib.Path(REAL).with_name("toxiproxy-cli")

    def run(*arguments: str) -> str:
        command = [str(cli), "-h", client.url, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout

    assert "Created new proxy c" in run("create", "-l", "127.0.0.1:0", "-u", far.address, "c")
    assert "Added downstream latency toxic 'slow'" in run(
        "toxic", "add", "-n", "slow", "-t", "latency", "-a", "latency=50", "c"
    )
    run("toxic", "update", "-n", "slow", "-a", "latency=60", "c")
    assert "latency=60" in run("inspect", "c")
    run("toxic", "remove", "-n", "slow", "c")
    assert "is now disabled" in run("toggle", "c")
    assert "c" in run("list")
    assert "Deleted proxy c" in run("delete", "c")
