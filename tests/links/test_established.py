"""Toxics that are added, updated and removed, and proxies that are switched, under established connections."""

import time

import pytest
from linkwire import eventually, how_it_ends, in_background, near, reached, read_all, read_exactly

LATE_MS = 400.0  # what a busy machine may add
STALLING = 64 << 20  # bytes that no socket buffer takes


def took_ms(act) -> float:
    began = time.monotonic()
    act()
    return (time.monotonic() - began) * 1000


def round_trip_ms(client, far) -> float:
    def act():
        client.sendall(b"ping")
        assert read_exactly(far, 4) == b"ping"
        far.sendall(b"pong")
        assert read_exactly(client, 4) == b"pong"

    return took_ms(act)


def test_latency_is_added_updated_and_removed_while_the_connection_lives(wire, proxy):
    client, far = wire()
    assert round_trip_ms(client, far) < 250
    proxy.add_toxic(type="latency", attributes={"latency": 600})
    assert 599 <= round_trip_ms(client, far) < 600 + LATE_MS
    proxy.update_toxic("latency_downstream", latency=250)
    assert 249 <= round_trip_ms(client, far) < 600
    proxy.destroy_toxic("latency_downstream")
    assert round_trip_ms(client, far) < 250


def test_bytes_held_by_a_latency_go_on_at_once_when_it_is_removed(wire, proxy):
    proxy.add_toxic(type="latency", attributes={"latency": 60_000})
    client, far = wire()
    far.sendall(b"one")
    time.sleep(0.05)
    far.sendall(b"two")
    assert how_it_ends(client, 0.05) == "open"
    proxy.destroy_toxic("latency_downstream")
    assert read_exactly(client, 6) == b"onetwo"


def test_an_update_lets_go_of_the_chunk_that_was_held_and_the_next_one_waits_anew(wire, proxy):
    proxy.add_toxic(type="latency", attributes={"latency": 60_000})
    client, far = wire()
    far.sendall(b"one")
    time.sleep(0.05)
    proxy.update_toxic("latency_downstream", latency=100)
    assert took_ms(lambda: read_exactly(client, 3)) < LATE_MS
    began = time.monotonic()
    far.sendall(b"two")
    assert read_exactly(client, 3) == b"two"
    assert 0.099 <= time.monotonic() - began < 0.1 + LATE_MS / 1000


def test_a_frozen_bandwidth_delivers_everything_when_it_is_removed(wire, proxy):
    client, far = wire()
    proxy.add_toxic(type="bandwidth", attributes={"rate": 0})
    sent = bytes(range(256)) * 2000
    in_background(lambda: far.sendall(sent))
    assert how_it_ends(client, 0.1) == "open"
    proxy.destroy_toxic("bandwidth_downstream")
    assert read_exactly(client, len(sent)) == sent


def test_a_timeout_that_is_added_hits_an_idle_connection(wire, proxy):
    client, far = wire()
    proxy.add_toxic(type="timeout", attributes={"timeout": 100})
    assert took_ms(lambda: how_it_ends(client)) <= 100 + LATE_MS
    assert how_it_ends(far) in {"end", "reset"}


def test_removing_a_timeout_closes_the_connection_and_what_was_dropped_is_lost(wire, proxy):
    client, far = wire()
    proxy.add_toxic(type="timeout", attributes={"timeout": 0})
    far.sendall(b"lost")
    assert how_it_ends(client, 0.05) == "open"
    proxy.destroy_toxic("timeout_downstream")
    assert read_all(client) == b""
    assert how_it_ends(far) in {"end", "reset"}


def test_removing_a_timeout_closes_also_what_its_toxicity_had_spared(wire, proxy):
    proxy.add_toxic(type="timeout", toxicity=0, attributes={"timeout": 0})
    client, far = wire()
    far.sendall(b"heard")
    assert read_exactly(client, 5) == b"heard"
    proxy.destroy_toxic("timeout_downstream")
    assert how_it_ends(client) == "end"


def test_reset_peer_added_later_closes_without_a_reset(wire, proxy):
    client, far = wire()
    proxy.add_toxic(type="reset_peer", attributes={"timeout": 0})
    far.sendall(b"x")
    assert how_it_ends(client) == "end"


def test_a_connection_made_under_reset_peer_ends_with_a_reset_even_after_its_removal(wire, proxy):
    proxy.add_toxic(type="reset_peer", attributes={"timeout": 0})
    client, far = wire()
    client.sendall(b"y")
    assert read_exactly(far, 1) == b"y"  # from here on it is made: its far end may accept before the proxy knows
    proxy.destroy_toxic("reset_peer_downstream")
    far.sendall(b"x")
    assert read_exactly(client, 1) == b"x"
    proxy.disable()
    assert how_it_ends(client) == "reset"


def test_reset_peer_that_counts_already_is_not_stopped_by_its_removal(wire, proxy):
    proxy.add_toxic(type="reset_peer", attributes={"timeout": 200})
    client, far = wire()
    far.sendall(b"x")
    time.sleep(0.05)
    proxy.destroy_toxic("reset_peer_downstream")
    assert how_it_ends(client) == "reset"


def test_a_limit_counts_on_while_it_is_updated(wire, proxy):
    client, far = wire()
    proxy.add_toxic(type="limit_data", attributes={"bytes": 10})
    far.sendall(b"12345")
    assert read_exactly(client, 5) == b"12345"
    proxy.update_toxic("limit_data_downstream", bytes=7)
    far.sendall(b"6789")
    assert read_all(client) == b"67"


def test_a_limit_counts_from_when_it_is_added(wire, proxy):
    client, far = wire()
    far.sendall(b"before")
    assert read_exactly(client, 6) == b"before"
    proxy.add_toxic(type="limit_data", attributes={"bytes": 3})
    far.sendall(b"12345")
    assert read_all(client) == b"123"


def test_slow_close_that_waits_already_ends_at_once_when_it_is_removed(wire, proxy):
    proxy.add_toxic(type="slow_close", attributes={"delay": 60_000})
    client, far = wire()
    far.close()
    assert how_it_ends(client, 0.1) == "open"
    proxy.destroy_toxic("slow_close_downstream")
    assert how_it_ends(client) == "end"


def test_adding_a_toxic_draws_the_toxicity_of_the_one_before_it_anew(wire, proxy):
    proxy.add_toxic(type="bandwidth", toxicity=0.5, attributes={"rate": 0})
    pairs = [wire() for _ in range(24)]
    first = reached(pairs)
    proxy.add_toxic(type="noop")
    for client, _ in pairs:
        how_it_ends(client, 0.02)
    assert reached(pairs) != first


def test_a_disabled_proxy_closes_its_connections_and_refuses_new_ones(wire, proxy):
    client, far = wire()
    proxy.disable()
    assert how_it_ends(client) == "end"
    assert how_it_ends(far) == "end"
    with pytest.raises(ConnectionRefusedError):
        near(proxy.address)


def test_an_enabled_proxy_listens_where_it_did_and_has_kept_its_toxics(wire, proxy):
    proxy.add_toxic(type="latency", attributes={"latency": 50})
    before = proxy.address
    proxy.disable()
    proxy.enable()
    assert proxy.address == before
    client, far = wire()
    assert round_trip_ms(client, far) >= 49


def test_another_upstream_closes_the_connections(wire, proxy, far):
    client, _ = wire()
    proxy.update(upstream="127.0.0.1:9")
    assert how_it_ends(client) == "end"
    assert proxy.enabled
    proxy.update(upstream=far.address)
    client, end = wire()
    assert round_trip_ms(client, end) < LATE_MS


def test_a_removed_proxy_closes_its_connections(wire, proxy):
    client, far = wire()
    proxy.destroy()
    assert how_it_ends(client) == "end"
    assert how_it_ends(far) == "end"


def test_a_toxic_finds_a_stalled_receiver_and_no_byte_is_lost(wire, proxy):
    client, far = wire()
    sent = bytes(range(256)) * (STALLING // 256)
    sender = in_background(lambda: far.sendall(sent))
    time.sleep(0.2)
    got = []
    reader = in_background(lambda: got.append(read_exactly(client, len(sent))))
    proxy.add_toxic(type="noop")
    proxy.destroy_toxic("noop_downstream")
    reader.join(30)
    sender.join(1)
    assert got == [sent]


def test_a_half_closed_connection_is_answered_by_ours_and_closed_by_the_real_one(server, wire):
    client, far = wire()
    client.sendall(b"question")
    client.shutdown(1)
    assert read_all(far) == b"question"
    if server.is_ours:
        far.sendall(b"answer")
        far.close()
        assert read_all(client) == b"answer"
    else:
        assert how_it_ends(client) == "end"


def test_a_stalled_receiver_holds_up_no_change_of_ours_and_each_of_the_real_one(server, wire, proxy):
    client, far = wire()
    in_background(lambda: far.sendall(bytes(STALLING)))
    time.sleep(0.3)
    changed = in_background(lambda: proxy.add_toxic(type="noop"))
    assert eventually(lambda: not changed.is_alive(), 2.0) == server.is_ours
    in_background(lambda: read_all(client))
    changed.join(5)
    assert not changed.is_alive()
