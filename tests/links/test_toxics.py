"""What each toxic does to a connection that is made while it is there."""

import time

import pytest
from linkwire import how_it_ends, in_background, near, reached, read_all, read_exactly

LATE_MS = 400.0  # what a busy machine may add


def took_ms(act) -> float:
    began = time.monotonic()
    act()
    return (time.monotonic() - began) * 1000


def passing_ms(sender, receiver) -> float:
    """Milliseconds from before a byte is sent until it has come."""

    def act():
        sender.sendall(b"x")
        assert read_exactly(receiver, 1) == b"x"

    return took_ms(act)


def test_bytes_pass_both_ways_and_only_they(wire):
    client, far = wire()
    client.sendall(b"there")
    assert read_exactly(far, 5) == b"there"
    far.sendall(b"and back")
    assert read_exactly(client, 8) == b"and back"
    assert how_it_ends(client, 0.05) == "open"


def test_the_end_of_the_far_side_reaches_the_client(wire):
    client, far = wire()
    far.sendall(b"last words")
    far.close()
    assert read_all(client) == b"last words"


def test_a_client_that_closes_is_seen_by_the_far_side(wire):
    client, far = wire()
    client.sendall(b"last words")
    client.close()
    assert read_all(far) == b"last words"


def test_an_upstream_that_refuses_closes_the_client(proxy, far):
    far.close()
    with near(proxy.address) as client:
        assert how_it_ends(client) in {"end", "reset"}


def test_a_name_leads_to_its_upstream(wire, proxy, far):
    proxy.update(upstream=f"localhost:{far.address.rpartition(':')[2]}")
    client, end = wire()
    end.sendall(b"found")
    assert read_exactly(client, 5) == b"found"


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_delays_one_direction_and_not_the_other(wire, proxy, stream):
    proxy.add_toxic(type="latency", stream=stream, attributes={"latency": 300})
    client, far = wire()
    slow, quick = (client, far) if stream == "upstream" else (far, client)
    assert 299 <= passing_ms(slow, quick) <= 300 + LATE_MS
    assert passing_ms(quick, slow) < 300


def test_latency_of_a_burst_is_counted_from_each_arrival(wire, proxy):
    proxy.add_toxic(type="latency", attributes={"latency": 250})
    client, far = wire()
    for _ in range(5):
        far.sendall(b"x")
        time.sleep(0.02)
    assert took_ms(lambda: read_exactly(client, 5)) <= 250 + LATE_MS  # one after the other: five times 250


def test_jitter_stays_within_its_bounds_and_keeps_the_order(wire, proxy):
    proxy.add_toxic(type="latency", attributes={"latency": 30, "jitter": 20})
    client, far = wire()
    waits = [passing_ms(far, client) for _ in range(12)]
    assert min(waits) >= 9
    assert max(waits) <= 50 + LATE_MS
    assert max(waits) - min(waits) > 2


def test_two_latencies_add_up(wire, proxy):
    proxy.add_toxic(type="latency", name="one", attributes={"latency": 60})
    proxy.add_toxic(type="latency", name="two", attributes={"latency": 60})
    client, far = wire()
    assert 119 <= passing_ms(far, client) <= 120 + LATE_MS


def test_bandwidth_keeps_to_its_rate(wire, proxy):
    proxy.add_toxic(type="bandwidth", attributes={"rate": 500})
    client, far = wire()
    sent = bytes(range(256)) * 1000
    in_background(lambda: far.sendall(sent))
    got = []
    assert 400 <= took_ms(lambda: got.append(read_exactly(client, len(sent)))) <= 512 + LATE_MS
    assert got == [sent]


def test_slow_close_holds_back_the_end_and_no_byte(wire, proxy):
    proxy.add_toxic(type="slow_close", attributes={"delay": 500})
    client, far = wire()
    far.sendall(b"last words")
    began = time.monotonic()
    far.close()
    assert read_exactly(client, 10) == b"last words"
    assert time.monotonic() - began < 0.5
    assert how_it_ends(client) == "end"
    assert 0.499 <= time.monotonic() - began <= 0.5 + LATE_MS / 1000


def test_timeout_drops_bytes_and_closes_both_sides_when_it_is_over(wire, proxy):
    proxy.add_toxic(type="timeout", attributes={"timeout": 150})
    client, far = wire()
    far.sendall(b"lost")
    assert 50 <= took_ms(lambda: how_it_ends(client)) <= 150 + LATE_MS
    assert how_it_ends(far) in {"end", "reset"}


def test_timeout_begins_anew_with_each_chunk(wire, proxy):
    proxy.add_toxic(type="timeout", attributes={"timeout": 600})
    client, far = wire()
    for _ in range(4):
        far.sendall(b"lost")
        time.sleep(0.2)
    assert how_it_ends(client, 0.03) == "open"
    assert how_it_ends(client) == "end"


def test_timeout_without_end_drops_one_direction_only(wire, proxy):
    proxy.add_toxic(type="timeout", attributes={"timeout": 0})
    client, far = wire()
    far.sendall(b"lost")
    client.sendall(b"heard")
    assert read_exactly(far, 5) == b"heard"
    assert how_it_ends(client, 0.1) == "open"


def test_reset_peer_resets_after_the_first_bytes(wire, proxy):
    proxy.add_toxic(type="reset_peer", attributes={"timeout": 80})
    client, far = wire()
    assert how_it_ends(client, 0.15) == "open"
    far.sendall(b"lost")
    ends = []
    assert 30 <= took_ms(lambda: ends.append(how_it_ends(client))) <= 80 + LATE_MS
    assert [*ends, how_it_ends(far)] == ["reset", "reset"]


def test_slicer_cuts_and_delays_and_loses_nothing(wire, proxy):
    proxy.add_toxic(type="slicer", attributes={"average_size": 100, "size_variation": 20, "delay": 3000})
    client, far = wire()
    sent = bytes(range(250)) * 4
    far.sendall(sent)
    sizes = []
    got = b""
    while len(got) < len(sent):
        more = client.recv(4096)
        sizes.append(len(more))
        got += more
    assert got == sent
    assert len(sizes) >= 5


def test_limit_data_lets_so_many_bytes_pass_and_closes(wire, proxy):
    proxy.add_toxic(type="limit_data", attributes={"bytes": 7})
    client, far = wire()
    far.sendall(b"12345")
    assert read_exactly(client, 5) == b"12345"
    far.sendall(b"6789")
    assert read_all(client) == b"67"
    assert how_it_ends(far) in {"end", "reset"}


def test_a_limit_of_nothing_closes_at_the_first_byte(wire, proxy):
    proxy.add_toxic(type="limit_data", attributes={"bytes": 0})
    client, far = wire()
    assert how_it_ends(client, 0.05) == "open"
    far.sendall(b"x")
    assert how_it_ends(client) == "end"


def test_noop_does_nothing(wire, proxy):
    proxy.add_toxic(type="noop")
    client, far = wire()
    far.sendall(b"x")
    assert read_exactly(client, 1) == b"x"


def test_toxics_act_in_the_order_in_which_they_were_added(wire, proxy):
    proxy.add_toxic(type="limit_data", attributes={"bytes": 3})
    proxy.add_toxic(type="latency", attributes={"latency": 100})
    client, far = wire()
    began = time.monotonic()
    far.sendall(b"12345")
    assert read_all(client) == b"123"
    assert 0.099 <= time.monotonic() - began <= 0.1 + LATE_MS / 1000


def test_toxicity_spares_some_connections_and_always_the_same(wire, proxy):
    proxy.add_toxic(type="timeout", toxicity=0.5, attributes={"timeout": 0})
    pairs = [wire() for _ in range(24)]
    first, second = reached(pairs), reached(pairs)
    assert first == second
    assert 1 <= len(first) <= 23


def test_a_toxicity_of_nothing_spares_all(wire, proxy):
    proxy.add_toxic(type="timeout", toxicity=0, attributes={"timeout": 0})
    pairs = [wire() for _ in range(5)]
    assert len(reached(pairs)) == 5
