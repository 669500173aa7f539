"""The HTTP API, request by request, as clients of Toxiproxy know it."""

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

Ask = Callable[..., tuple[int, Any]]
LATENCY = {"type": "latency", "attributes": {"latency": 100}}


@pytest.fixture
def ask(server) -> Ask:
    """(status, JSON or text) of a request; a text is sent as it is."""

    def send(method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(urlsplit(server.client.url).netloc, timeout=10)
        try:
            data = body if isinstance(body, str) else None if body is None else json.dumps(body)
            connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    return send


@pytest.fixture
def name(proxy) -> str:
    return proxy.name


def refused(status: int, error: str) -> tuple[int, dict[str, object]]:
    return status, {"error": error, "status": status}


def test_the_version_is_that_of_the_api(ask):
    assert ask("GET", "/version") == (200, {"version": "2.12.0"})


def test_a_proxy_is_made_shown_and_removed(ask, far):
    made = ask("POST", "/proxies", {"name": "reprise-api", "upstream": far.address, "listen": "127.0.0.1:0"})
    port = int(made[1]["listen"].rpartition(":")[2])
    shown = {
        "name": "reprise-api",
        "listen": f"127.0.0.1:{port}",
        "upstream": far.address,
        "enabled": True,
        "Logger": {},
        "toxics": [],
    }
    assert made == (201, shown)
    assert list(made[1]) == list(shown)
    assert ask("GET", "/proxies/reprise-api") == (200, shown)
    assert ask("GET", "/proxies")[1]["reprise-api"] == shown
    assert ask("DELETE", "/proxies/reprise-api") == (204, "")
    assert ask("GET", "/proxies/reprise-api") == refused(404, "proxy not found")
    assert "reprise-api" not in ask("GET", "/proxies")[1]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"upstream": "127.0.0.1:9"}, "missing required field: name"),
        ({"name": "reprise-bad"}, "missing required field: upstream"),
        ({"name": "", "upstream": ""}, "missing required field: name"),
        ("null", "missing required field: name"),
        ("", "bad request body: EOF"),
    ],
)
def test_a_proxy_without_its_fields_is_refused(ask, body, expected):
    assert ask("POST", "/proxies", body) == refused(400, expected)


@pytest.mark.parametrize("body", ["{", "[]", '"text"', {"name": 5}, {"name": "n", "upstream": "u", "enabled": "yes"}])
def test_a_body_that_is_no_proxy_is_refused(ask, body):
    status, answer = ask("POST", "/proxies", body)
    assert (status, answer["status"]) == (400, 400)
    assert answer["error"].startswith("bad request body: ")


def test_a_name_is_given_once(ask, name):
    assert ask("POST", "/proxies", {"name": name, "upstream": "127.0.0.1:9"}) == refused(409, "proxy already exists")


def test_names_of_fields_come_in_any_case_and_unknown_ones_are_nothing(ask, far):
    status, made = ask(
        "POST", "/proxies", {"NAME": "reprise-case", "Upstream": far.address, "odd": 1, "enabled": False}
    )
    assert ask("DELETE", "/proxies/reprise-case") == (204, "")
    assert (status, made["enabled"], made["listen"]) == (201, False, "")


def test_where_somebody_listens_no_proxy_can(ask, far):
    status, answer = ask("POST", "/proxies", {"name": "reprise-busy", "upstream": "127.0.0.1:9", "listen": far.address})
    assert (status, answer["status"]) == (500, 500)
    assert answer["error"] == f"listen tcp {far.address}: bind: address already in use"
    assert ask("GET", "/proxies/reprise-busy")[0] == 404


def test_an_address_without_a_port_is_refused(ask, name):
    assert ask(
        "POST", "/proxies", {"name": "reprise-bad", "upstream": "127.0.0.1:9", "listen": "localhost"}
    ) == refused(500, "listen tcp: address localhost: missing port in address")
    assert ask("PATCH", f"/proxies/{name}", {"listen": "localhost"}) == refused(
        500, "address localhost: missing port in address"
    )


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_proxy_is_updated(ask, proxy, name, method):
    status, off = ask(method, f"/proxies/{name}", {"enabled": False})
    assert (status, off["enabled"], off["listen"]) == (200, False, proxy.listen)
    status, on = ask(method, f"/proxies/{name}", {"enabled": True, "upstream": "127.0.0.1:9", "name": "ignored"})
    assert (status, on["enabled"], on["upstream"], on["name"]) == (200, True, "127.0.0.1:9", name)
    assert ask(method, f"/proxies/{name}", '"on"')[0] == 400
    assert ask(method, "/proxies/reprise-nobody", {})[0] == 404


def test_the_same_address_by_its_name_changes_nothing(ask, wire, proxy, name):
    client, far = wire()
    port = proxy.address[1]
    assert ask("POST", f"/proxies/{name}", {"listen": f"localhost:{port}"})[1]["listen"] == f"127.0.0.1:{port}"
    far.sendall(b"x")
    assert client.recv(1) == b"x"


def test_a_toxic_has_defaults(ask, name):
    made = ask("POST", f"/proxies/{name}/toxics", {"type": "latency"})
    shown = {
        "attributes": {"latency": 0, "jitter": 0},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
    }
    assert made == (200, shown)
    assert list(made[1]) == list(shown)
    assert ask("GET", f"/proxies/{name}/toxics") == (200, [shown])
    assert ask("GET", f"/proxies/{name}/toxics/latency_downstream") == (200, shown)
    assert ask("GET", f"/proxies/{name}")[1]["toxics"] == [shown]


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("noop", {}),
        ("latency", {"latency": 1, "jitter": 2}),
        ("bandwidth", {"rate": 3}),
        ("slow_close", {"delay": 4}),
        ("timeout", {"timeout": 5}),
        ("reset_peer", {"timeout": 6}),
        ("slicer", {"average_size": 9, "size_variation": 8, "delay": 7}),
        ("limit_data", {"bytes": 10}),
    ],
)
def test_each_type_takes_its_attributes(ask, name, kind, attributes):
    wanted = {"name": "t", "type": kind, "stream": "Upstream", "toxicity": 0.3, "attributes": attributes}
    assert ask("POST", f"/proxies/{name}/toxics", wanted | {"more": 1}) == (200, wanted)
    assert list(ask("GET", f"/proxies/{name}/toxics/t")[1]["attributes"]) == list(attributes)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "latency", "stream": "sideways"}, "stream was invalid, can be either upstream or downstream"),
        ({"type": "latency", "stream": ""}, "stream was invalid, can be either upstream or downstream"),
        ({"type": "packet_loss"}, "invalid toxic type"),
        ({}, "invalid toxic type"),
        ("", "bad request body: EOF"),
    ],
)
def test_a_toxic_that_is_none_is_refused(ask, name, body, expected):
    assert ask("POST", f"/proxies/{name}/toxics", body) == refused(400, expected)
    assert ask("GET", f"/proxies/{name}/toxics") == (200, [])


@pytest.mark.parametrize("value", ["100", 1.5, "1e3", True, [1], 2**63])
def test_an_attribute_that_is_no_whole_number_is_refused(ask, name, value):
    body = {"type": "latency", "attributes": {"latency": value}}
    status, answer = ask("POST", f"/proxies/{name}/toxics", body)
    assert status == 400
    assert answer["error"].startswith("bad request body: ")
    assert ask("GET", f"/proxies/{name}/toxics") == (200, [])


def test_a_toxic_s_name_is_given_once_for_both_directions(ask, name):
    assert ask("POST", f"/proxies/{name}/toxics", LATENCY | {"name": "one"})[0] == 200
    again = LATENCY | {"name": "one", "stream": "upstream"}
    assert ask("POST", f"/proxies/{name}/toxics", again) == refused(409, "toxic already exists")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_update_changes_what_it_names(ask, name, method):
    ask("POST", f"/proxies/{name}/toxics", LATENCY | {"toxicity": 0.5})
    path = f"/proxies/{name}/toxics/latency_downstream"
    expected = {"attributes": {"latency": 100, "jitter": 7}, "toxicity": 0.5}
    status, updated = ask(method, path, {"attributes": {"jitter": 7}, "name": "ignored", "stream": "upstream"})
    assert (status, {key: updated[key] for key in expected}) == (200, expected)
    assert (updated["name"], updated["stream"]) == ("latency_downstream", "downstream")
    assert ask(method, path, {"toxicity": 0.25})[1]["toxicity"] == 0.25
    assert ask(method, path, {"attributes": {"latency": "x"}})[0] == 400
    assert ask(method, f"/proxies/{name}/toxics/none", {}) == refused(404, "toxic not found")


def test_a_toxicity_has_the_digits_of_a_small_number(ask, name):
    for given, shown in [(0.1, 0.1), (0.123456789, 0.12345679), (0, 0), (1, 1), (2.5, 2.5)]:
        made = ask("POST", f"/proxies/{name}/toxics", {"type": "noop", "toxicity": given, "name": f"t{given}"})
        assert made[1]["toxicity"] == shown


def test_upstream_toxics_are_shown_before_downstream_ones(ask, name):
    for label, stream in [("a", "downstream"), ("b", "upstream"), ("c", "downstream")]:
        ask("POST", f"/proxies/{name}/toxics", LATENCY | {"name": label, "stream": stream})
    assert [toxic["name"] for toxic in ask("GET", f"/proxies/{name}/toxics")[1]] == ["b", "a", "c"]


def test_a_toxic_is_removed_once(ask, name):
    ask("POST", f"/proxies/{name}/toxics", LATENCY)
    assert ask("DELETE", f"/proxies/{name}/toxics/latency_downstream") == (204, "")
    assert ask("DELETE", f"/proxies/{name}/toxics/latency_downstream") == refused(404, "toxic not found")
    assert ask("DELETE", "/proxies/reprise-nobody/toxics/x") == refused(404, "proxy not found")


def test_populate_makes_what_is_not_there_and_keeps_what_is(ask, proxy, name, far):
    ask("POST", f"/proxies/{name}/toxics", LATENCY)
    wanted = [
        {"name": name, "listen": proxy.listen, "upstream": far.address},
        {"name": "reprise-pop", "listen": "127.0.0.1:0", "upstream": far.address, "enabled": False},
    ]
    status, made = ask("POST", "/populate", wanted)
    ask("DELETE", "/proxies/reprise-pop")
    assert status == 201
    assert [(one["name"], one["enabled"], len(one["toxics"])) for one in made["proxies"]] == [
        (name, True, 1),
        ("reprise-pop", False, 0),
    ]


def test_populate_replaces_what_leads_elsewhere_with_a_proxy_without_toxics(ask, proxy, name):
    ask("POST", f"/proxies/{name}/toxics", LATENCY)
    status, made = ask("POST", "/populate", [{"name": name, "listen": proxy.listen, "upstream": "127.0.0.1:9"}])
    assert (status, made["proxies"][0]["toxics"], made["proxies"][0]["upstream"]) == (201, [], "127.0.0.1:9")


def test_populate_that_fails_says_what_it_has_made(ask, far):
    wanted = [
        {"name": "reprise-pop", "listen": "127.0.0.1:0", "upstream": far.address},
        {"name": "reprise-pop2", "listen": far.address, "upstream": far.address},
    ]
    status, answer = ask("POST", "/populate", wanted)
    ask("DELETE", "/proxies/reprise-pop")
    assert (status, answer["status"]) == (500, 500)
    assert [one["name"] for one in answer["proxies"]] == ["reprise-pop"]
    assert ask("GET", "/proxies/reprise-pop2")[0] == 404


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([{"name": "a", "upstream": "b"}, {"upstream": "b"}], "missing required field: name at proxy 2"),
        ([{"name": "a"}], "missing required field: upstream at proxy 1"),
        ("", "bad request body: EOF"),
    ],
)
def test_populate_makes_nothing_of_a_list_with_a_mistake(ask, body, expected):
    assert ask("POST", "/populate", body) == (400, {"error": expected, "status": 400, "proxies": None})


def test_populate_of_nothing_makes_nothing(ask):
    assert ask("POST", "/populate", []) == (201, {"proxies": None})
    assert ask("POST", "/populate", {})[0] == 400


def test_reset_enables_each_proxy_and_removes_each_toxic(ask, name):
    ask("POST", f"/proxies/{name}/toxics", LATENCY)
    ask("PATCH", f"/proxies/{name}", {"enabled": False})
    assert ask("POST", "/reset") == (204, "")
    shown = ask("GET", f"/proxies/{name}")[1]
    assert (shown["enabled"], shown["toxics"]) == (True, [])


def test_browsers_are_turned_away(ask):
    assert ask("GET", "/proxies", user_agent="Mozilla/5.0 (X11)") == (403, "User agent not allowed\n")
    assert ask("GET", "/proxies", user_agent="Not Mozilla/5.0")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nothing", 404, "404 page not found\n"),
        ("GET", "/proxies/", 404, "404 page not found\n"),
        ("PUT", "/proxies", 405, ""),
        ("GET", "/reset", 405, ""),
        ("DELETE", "/version", 405, ""),
        ("HEAD", "/version", 405, ""),
    ],
)
def test_what_is_not_there_and_what_can_not_be_done(ask, method, path, status, text):
    assert ask(method, path) == (status, text)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/proxies", "application/json"),
        ("GET", "/version", "application/json;charset=utf-8"),
        ("POST", "/proxies", "text/plain; charset=utf-8"),
        ("POST", "/populate", "application/json"),
        ("GET", "/nothing", "text/plain; charset=utf-8"),
    ],
)
def test_answers_say_what_they_are(server, method, path, kind):
    connection = http.client.HTTPConnection(urlsplit(server.client.url).netloc, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    assert answer.read()
    connection.close()
    assert answer.headers["Content-Type"] == kind


def test_one_connection_takes_many_requests(server):
    connection = http.client.HTTPConnection(urlsplit(server.client.url).netloc, timeout=10)
    connection.connect()
    first = connection.sock
    for _ in range(3):
        connection.request("POST", "/populate", "[]")
        assert json.loads(connection.getresponse().read()) == {"proxies": None}
    assert connection.sock is first
    connection.close()


def test_a_refused_update_changes_nothing_of_ours_and_a_part_of_the_real_one(server, ask, name):
    ask("POST", f"/proxies/{name}/toxics", LATENCY)
    path = f"/proxies/{name}/toxics/latency_downstream"
    assert ask("PATCH", path, {"attributes": {"latency": 5, "jitter": "x"}})[0] == 400
    assert ask("GET", path)[1]["attributes"]["latency"] == (100 if server.is_ours else 5)


def test_a_name_with_odd_characters_is_found_again(ask, far):
    odd = "reprise.r1.f%1 ä?"
    path = "/proxies/reprise.r1.f%251%20%C3%A4%3F"
    assert ask("POST", "/proxies", {"name": odd, "upstream": far.address, "enabled": False})[0] == 201
    assert ask("GET", path)[1]["name"] == odd
    assert ask("DELETE", path)[0] == 204


def test_half_a_surrogate_pair_in_a_name_is_replaced(ask, far):
    body = f'{{"name": "reprise-\\ud800", "upstream": "{far.address}", "enabled": false}}'
    assert ask("POST", "/proxies", body)[1]["name"] == "reprise-\ufffd"
    assert ask("DELETE", "/proxies/reprise-%EF%BF%BD") == (204, "")


def test_metrics_count_bytes_of_connections_that_are_gone(ask, wire, proxy, name):
    client, far = wire()
    far.sendall(bytes(1234))
    client.recv(2000)
    proxy.disable()
    wanted = f'toxiproxy_proxy_sent_bytes_total{{direction="downstream",listener="{proxy.listen}",proxy="{name}"'
    told = [line for line in ask("GET", "/metrics")[1].splitlines() if line.startswith(wanted)]
    assert [float(line.split()[-1]) for line in told] == [1234.0]


def test_a_proxy_without_an_address_listens_on_all(ask, far):
    made = ask("POST", "/proxies", {"name": "reprise-any", "upstream": far.address})[1]
    ask("DELETE", "/proxies/reprise-any")
    assert made["listen"].startswith("[::]:" if socket.has_dualstack_ipv6() else "0.0.0.0:")
