"""All traffic of a lab goes through its links, whichever server carries the toxics; on somebody else's nothing of it stays."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import linkwire
import psycopg
import pytest

from chaosreprise import procs
from chaosreprise.links.client import Toxiproxy
from chaosreprise.platform import file, links
from chaosreprise.stack.client import Keeper

READY_S = 15


def prepare(folder, **environment):
    command = [sys.executable, "-P", "-m", "chaosreprise.lab", "prepare", str(folder), "--agents", "1", "--users", "1"]
    plain = {name: value for name, value in os.environ.items() if name != "TOXIPROXY_URL"}
    return subprocess.run(command, capture_output=True, text=True, env=plain | environment)


def components(folder):
    spec = json.loads((folder / "stack.json").read_text())
    return {one["name"]: one["command"] for one in spec["components"]}


def test_without_a_toxiproxy_ours_carries_the_toxics(tmp_path):
    assert prepare(tmp_path / "lab", PATH="/usr/bin:/bin").returncode == 0
    assert "toxiproxy" not in components(tmp_path / "lab")
    found = links.of(file.load(str(tmp_path / "lab" / "platform.toml")))
    assert list(found) == ["links/clients", "links/database", "links/sessions", "links/agents/a1"]
    assert all(link.toxics == link.taps for link in found.values())


def test_a_toxiproxy_on_the_path_stands_behind_ours(tmp_path):
    binary = tmp_path / "bin" / "toxiproxy-server"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    assert prepare(tmp_path / "lab", PATH=f"{binary.parent}:/usr/bin:/bin").returncode == 0
    assert components(tmp_path / "lab")["toxiproxy"][0] == str(binary)
    ours, behind = (json.loads((tmp_path / "lab" / name).read_text()) for name in ("links.json", "toxiproxy.json"))
    assert [one["upstream"] for one in ours] == [one["listen"] for one in behind]
    assert [one["name"] for one in ours] == [one["name"] for one in behind]
    assert all(
        link.toxics != link.taps for link in links.of(file.load(str(tmp_path / "lab" / "platform.toml"))).values()
    )


def test_toxiproxy_url_makes_the_lab_a_guest_there(tmp_path):
    assert prepare(tmp_path / "lab", TOXIPROXY_URL="127.0.0.1:9999").returncode == 0
    assert components(tmp_path / "lab")["toxiproxy"][-2:] == [
        "http://127.0.0.1:9999",
        str(tmp_path / "lab" / "toxiproxy.json"),
    ]


@pytest.mark.parametrize("url", ["https://there", "http://", "http://a/b", "http://a:b", "ftp://a:1"])
def test_what_is_no_url_of_a_toxiproxy_is_refused_in_one_sentence(url, tmp_path):
    done = prepare(tmp_path / "lab", TOXIPROXY_URL=url)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f'TOXIPROXY_URL = "{url}": expected the URL of a Toxiproxy')
    assert not (tmp_path / "lab").exists()


def outgoing(lab):
    """Where each component of the platform is connected to, by the name of its link or else by its port."""
    fronts = {port: name for name, ports in lab.settings["links"].items() for port in ports}
    with Keeper(lab.stack.address) as keeper:
        pids = {one.name: one.inc.pid for one in keeper.status().components if one.name not in ("links", "toxiproxy")}
    found = {}
    for name, pid in pids.items():
        held = procs.connections_of(pid)
        served = {one.local.rpartition(":")[2] for one in held if one.state == procs.LISTEN}
        ends = [one.remote.rpartition(":")[2] for one in held if one.local.rpartition(":")[2] not in served]
        found[name] = {fronts.get(int(port, 16), port) for port in ends if int(port, 16)}
    return found


def test_who_is_part_of_the_platform_is_connected_by_its_links_only(lab, until):
    name = lab.running()
    assert lab.step(name, "print(6)").json()["stdout"] == "6\n"
    expected = {f"agents/{agent}": {f"agents/{agent}"} for agent in lab.settings["agents"]}
    until(lambda: outgoing(lab) == expected | {"control-plane": {"database"}, "database": set()}, "all by links")


def test_a_lab_on_somebody_elses_toxiproxy_uses_it_and_leaves_nothing_there(new_lab, monkeypatch, until):
    with linkwire.embedded() as (_, url):
        there = Toxiproxy(url)
        there.create("127.0.0.1:9", "theirs")
        monkeypatch.setenv("TOXIPROXY_URL", url)
        lab = new_lab(agents=1)
        names = set(there.proxies()) - {"theirs"}
        assert names == {f"{lab.settings['id']}-{name}" for name in ("clients", "database", "sessions", "agents-a1")}
        name = lab.running()
        there.get_proxy(f"{lab.settings['id']}-database").destroy()
        until(lambda: lab.step(name, "print(1)").status_code == 202, "its proxy is put back", READY_S)
        os.kill(lab.stack.keeper.pid, signal.SIGKILL)
        until(lambda: list(there.proxies()) == ["theirs"], "nothing of it is left", 5)


def test_rows_are_read_past_the_links(lab):
    """Who watches must not be blinded by what it watches."""
    dsn = pathlib.Path(lab.dir, "secrets", "reader.dsn").read_text()
    with psycopg.connect(dsn) as connection:
        assert connection.info.port == lab.settings["database_port"]
