"""A toxic of ours that is on the connections of some clients only."""

import linkwire
import pytest

from chaosreprise.links import client


def address(end):
    host, port = end.getsockname()
    return f"{host}:{port}"


@pytest.fixture
def ours(server):
    if not server.is_ours:
        pytest.skip("Toxiproxy's toxics are on all connections of a proxy")


def test_only_the_named_clients_are_hit_whatever_comes_later(ours, proxy, wire):
    pairs = [wire() for _ in range(4)]
    names = [address(near) for near, _ in pairs[1:3]]
    toxic = proxy.add_toxic(type="timeout", name="some", clients=names)
    assert toxic.clients == names
    assert proxy.toxics()["some"].clients == names
    pairs.append(wire())
    assert linkwire.reached(pairs) == [0, 3, 4]
    proxy.destroy_toxic("some")
    assert [linkwire.how_it_ends(near, 0.5) for near, _ in pairs] == ["open", "end", "end", "open", "open"]


def test_a_reset_of_some_is_one_of_these_only(ours, proxy, wire):
    (one, far_of_one), (other, far_of_other) = wire(), wire()
    proxy.add_toxic(type="reset_peer", stream="upstream", clients=[address(one)])
    for near in (one, other):
        near.sendall(b"x")
    assert linkwire.read_exactly(far_of_other, 1) == b"x"
    assert linkwire.how_it_ends(far_of_one) in ("end", "reset")
    other.close()
    assert linkwire.how_it_ends(far_of_other) == "end", "nothing of it is left on the others"


@pytest.mark.parametrize("clients", ["127.0.0.1:1", [1], {"a": "b"}])
def test_clients_are_a_list_of_addresses(ours, proxy, clients):
    with pytest.raises(client.Refused, match="clients"):
        proxy.add_toxic(type="noop", clients=clients)
    assert proxy.toxics() == {}


def test_the_real_server_passes_over_the_field(server, proxy, wire):
    if server.is_ours:
        pytest.skip("ours reads it")
    pairs = [wire(), wire()]
    assert proxy.add_toxic(type="timeout", clients=[address(pairs[0][0])]).clients == []
    assert linkwire.reached(pairs) == []
