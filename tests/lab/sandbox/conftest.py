"""Real sandboxes to test against: `plain` ones are shared, `new_platform` starts others."""

import contextlib

import pytest
from sandboxes import Platform

from chaosreprise.lab.sandbox.prepare import Options


@pytest.fixture(scope="module")
def new_platform(tmp_path_factory):
    """Starts a sandbox of one's own; it ends with the module."""
    with contextlib.ExitStack() as ends:

        def start(*names, env=None, **options):
            platform = Platform(tmp_path_factory.mktemp("sandbox") / "it", Options(**options))
            ends.callback(platform.close)
            return platform.start(*names, **(env or {}))

        yield start


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """Sandboxes that are shared: tests leave them whole, and read nothing of each other."""
    with contextlib.ExitStack() as ends:
        there = {}

        def find(**options):
            key = Options(**options)
            if key not in there:
                there[key] = Platform(tmp_path_factory.mktemp("sandbox") / "it", key)
                ends.callback(there[key].close)
                there[key].start()
            return there[key]

        yield find


@pytest.fixture(scope="session")
def sandbox(plain):
    return plain()
