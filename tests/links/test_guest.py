"""Proxies of ours on somebody else's Toxiproxy: there while the guest lives, and gone afterwards, however it ends."""

import contextlib
import json
import signal
import subprocess
import sys

import linkwire
import pytest

from chaosreprise.links.client import NotThere

NAMES = ["lab-1-clients", "lab-1-agents-a1"]


@pytest.fixture
def others(server, far):
    """A proxy that somebody else has there."""
    made = server.client.create(far.address, "reprise-test-somebody")
    made.add_toxic(name="theirs", type="latency", attributes={"latency": 1})
    yield made
    with contextlib.suppress(NotThere):
        made.destroy()


@pytest.fixture
def guest(server, far, others, tmp_path):
    file = tmp_path / "proxies.json"
    file.write_text(
        json.dumps(
            [{"name": name, "listen": "127.0.0.1:0", "upstream": far.address, "enabled": True} for name in NAMES]
        )
    )
    command = [sys.executable, "-P", "-m", "chaosreprise.links.guest", server.client.url, str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert linkwire.eventually(lambda: ours(server) == sorted(NAMES))
        yield process
        process.kill()
    assert linkwire.eventually(lambda: ours(server) == [])


def ours(server):
    return sorted(name for name in server.client.proxies() if name.startswith("lab-1"))


def test_what_the_server_has_lost_is_put_back_and_nothing_else_is_touched(guest, server, others):
    kept = server.client.get_proxy(NAMES[1])
    kept.add_toxic(name="reprise.r1.f1.1.upstream", type="noop")
    kept.disable()
    server.client.get_proxy(NAMES[0]).destroy()
    assert linkwire.eventually(lambda: ours(server) == sorted(NAMES))
    assert not kept.refresh().enabled, "that is a fault's business"
    assert list(kept.toxics()) == ["reprise.r1.f1.1.upstream"]
    assert list(others.toxics()) == ["theirs"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_they_are_taken_away_when_it_ends(number, guest, server, others):
    guest.send_signal(number)
    guest.wait(linkwire.PATIENCE_S)
    assert linkwire.eventually(lambda: ours(server) == [], 3.0)
    assert list(others.refresh().toxics()) == ["theirs"]


def test_a_server_that_is_away_is_said_once_and_waited_for(tmp_path, far):
    file = tmp_path / "proxies.json"
    file.write_text(json.dumps([{"name": NAMES[0], "listen": "127.0.0.1:0", "upstream": far.address, "enabled": True}]))
    command = [sys.executable, "-P", "-m", "chaosreprise.links.guest", "http://127.0.0.1:9", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert "http://127.0.0.1:9 can't be reached" in process.stderr.readline()
        assert process.poll() is None
        process.kill()
