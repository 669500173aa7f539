"""What a platform file's links look like to `chaos reprise`, by what their servers answer."""

from chaosreprise.platform import file, proxies

STARTS = """version = 1
kind = "streamspace"
name = "x"
[control]
url = "http://127.0.0.1:1"
user = "u"
password = { env = "P" }
template = "t"
[timing]
settle = { backoff_s = 1, reconcile_s = 1, slowest_s = 1 }
[budget]
users = ["a"]
"""


def shown(folder, url, proxy):
    path = folder / "platform.toml"
    path.write_text(f'{STARTS}[links.database]\nadmin = "{url}"\nproxy = "{proxy}"\n')
    (component,) = proxies.components(file.load(str(path)))
    return component


def test_a_link_without_a_token_is_up_as_long_as_its_proxy_is(server, proxy, tmp_path):
    seen = shown(tmp_path, server.client.url, proxy.name)
    assert (seen.name, seen.group, seen.state) == ("links/database", "links", "up")
    proxy.disable()
    assert shown(tmp_path, server.client.url, proxy.name).state == "down"


def test_a_link_that_its_server_does_not_know_is_down_and_says_so(server, tmp_path):
    seen = shown(tmp_path, server.client.url, "nowhere")
    assert (seen.state, seen.reason) == ("down", f"{server.client.url} has no proxy 'nowhere'")


def test_a_link_whose_server_is_away_is_down_and_says_so(far, tmp_path):
    far.close()
    seen = shown(tmp_path, f"http://{far.address}", "any")
    assert seen.state == "down"
    assert f"http://{far.address} can't be reached" in seen.reason
