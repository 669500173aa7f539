"""Platform files of tests, as far as they are alike."""

STREAMSPACE = """\
version = 1
kind = "streamspace"
name = "x"
[control]
url = "http://127.0.0.1:{port}"
user = "u"
password = {{ file = "password" }}
template = "t"
[budget]
users = ["a"]
[timing]
settle = {{ backoff_s = 1, reconcile_s = 1, slowest_s = 1 }}
"""
