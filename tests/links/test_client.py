"""toxiproxy-python, as it is and as we extend it."""

import socket
import time

import pytest
import toxiproxy
from linkwire import Far, embedded, in_background
from toxiproxy import api, exceptions

from chaosreprise.errors import BadInput, NotAllowed, NotPossible, Unreachable
from chaosreprise.links.client import Toxiproxy


def test_two_servers_are_used_at_the_same_time(far):
    with embedded() as (_, one), embedded() as (_, other):
        first, second = Toxiproxy(one), Toxiproxy(other)
        made = first.create(far.address, "reprise-a")
        assert list(first.proxies()) == ["reprise-a"]
        assert second.proxies() == {}
        made.disable()
        assert first.get_proxy("reprise-a").enabled is False


def test_its_objects_are_those_of_the_package(server, proxy):
    assert isinstance(server.client, toxiproxy.Toxiproxy)
    assert isinstance(proxy, toxiproxy.Proxy)
    with proxy.down():
        assert not proxy.refresh().enabled
    assert proxy.refresh().enabled
    proxy.add_toxic(type="latency", attributes={"latency": 5})
    assert proxy.get_toxic("latency_downstream").attributes == {"latency": 5, "jitter": 0}
    assert proxy.get_toxic("none") is None


def test_an_update_leaves_what_it_does_not_name(proxy):
    proxy.add_toxic(type="latency", name="slow", toxicity=0.5, attributes={"latency": 5, "jitter": 1})
    toxic = proxy.update_toxic("slow", jitter=2)
    assert (toxic.attributes, toxic.toxicity) == ({"latency": 5, "jitter": 2}, 0.5)
    assert proxy.update_toxic("slow", toxicity=1).toxicity == 1


def test_populate_is_one_request_to_the_server(server, proxy, far):
    made = server.client.populate([{"name": proxy.name, "listen": proxy.listen, "upstream": far.address}])
    assert [one.name for one in made] == [proxy.name]
    assert server.client.populate([]) == []


def test_each_refusal_is_an_error_of_ours_and_of_the_package(server, proxy, far):
    with pytest.raises(NotPossible, match="toxic not found") as missing:
        proxy.update_toxic("none", latency=1)
    assert isinstance(missing.value, exceptions.NotFound)
    with pytest.raises(NotAllowed, match="proxy already exists") as there:
        server.client.create(far.address, proxy.name)
    assert isinstance(there.value, exceptions.ProxyExists)
    with pytest.raises(BadInput, match="invalid toxic type") as wrong:
        proxy.add_toxic(type="packet_loss")
    assert isinstance(wrong.value, exceptions.InvalidToxic)
    with pytest.raises(BadInput, match="latncy"):
        proxy.add_toxic(type="latency", latncy=5)


def test_a_server_that_is_not_there_is_said(far):
    url = f"http://{far.address}"
    far.close()
    client = Toxiproxy(url)
    assert not client.running()
    with pytest.raises(Unreachable, match=f"{url} can't be reached"):
        client.proxies()


def test_a_server_that_does_not_answer_costs_no_more_than_the_limit(far):
    client = Toxiproxy(f"http://{far.address}", limit_s=0.3)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"did not answer GET /proxies in 0\.3 s"):
        client.proxies()
    assert time.monotonic() - began < 3


def test_what_is_no_toxiproxy_is_not_taken_for_one():
    stranger = Far()

    def answer() -> None:
        with stranger.take() as connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    thread = in_background(answer)
    assert not Toxiproxy(f"http://{stranger.address}").running()
    thread.join(5)
    stranger.close()


def test_a_token_is_asked_for_where_one_was_given():
    with embedded(token="secret") as (_, url):
        assert Toxiproxy(url, token="secret").running()
        for token in ("", "wrong"):
            with pytest.raises(NotAllowed, match="Authorization"):
                Toxiproxy(url, token=token).proxies()


def test_the_package_as_it_is_works_too(server, far, monkeypatch):
    host, _, port = server.client.url.removeprefix("http://").partition(":")
    monkeypatch.setattr(api.APIConsumer, "host", host)
    monkeypatch.setattr(api.APIConsumer, "port", int(port))
    theirs = toxiproxy.Toxiproxy()
    made = theirs.create(far.address, "reprise-theirs")
    try:
        assert theirs.running()
        made.add_toxic(type="latency", attributes={"latency": 1})
        assert list(theirs.get_proxy("reprise-theirs").toxics()) == ["latency_downstream"]
        assert made.destroy_toxic("latency_downstream")
        with made.down(), pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(made.listen.rpartition(":")[2])))
        with pytest.raises(exceptions.InvalidToxic):
            made.add_toxic(type="packet_loss")
        assert [one.name for one in theirs.populate([{"name": "reprise-pop", "upstream": far.address}])] == [
            "reprise-pop"
        ]
    finally:
        for name in ("reprise-theirs", "reprise-pop"):
            if there := server.client.get_proxy(name):
                there.destroy()
