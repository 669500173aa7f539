"""stack.json: what is refused, and in which words."""

import copy
import json

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.stack import spec

GOOD = {
    "v": 1,
    "id": "t",
    "session": {"command": ["python"]},
    "components": [
        {"name": "db", "command": ["postgres"], "ready": {"tcp": 5000}, "stop_signal": "QUIT", "userns": True},
        {
            "name": "api",
            "command": ["api"],
            "env": {"A": "b"},
            "listen": 5001,
            "ready": {"http": "http://127.0.0.1:5001/health"},
            "after": ["db"],
        },
    ],
}


def put(value, *keys):
    changed = copy.deepcopy(GOOD)
    at = changed
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return changed


def test_a_stack_is_read_as_it_was_saved(tmp_path):
    (tmp_path / "stack.json").write_text(json.dumps(GOOD))
    loaded = spec.load(tmp_path)
    assert loaded.components[1].listen == 5001
    spec.save(tmp_path, loaded)
    assert spec.load(tmp_path) == loaded


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (put(2, "v"), "v = 2: this Reprise runs version 1"),
        (put(-1, "components", 1, "backoff_s"), "components[1].backoff_s = -1: expected seconds from 0 to 3600"),
        (
            put([], "components", 0, "command"),
            "components[0].command = []: expected a list of a program and its arguments",
        ),
        (put(1, "components", 0, "colour"), "components[0].colour is not a setting"),
        (put(["x"], "components", 0, "after"), "component 'db': after = 'x': expected the name of another component"),
        (
            put(["api"], "components", 0, "after"),
            "components: api, db wait for each other in `after`: expected an order",
        ),
        (
            put("KABOOM", "components", 0, "stop_signal"),
            "stop_signal = 'KABOOM': expected a signal's name like TERM or QUIT",
        ),
        (put({}, "components", 0, "ready"), 'component \'db\': ready: expected either {"tcp": PORT} or {"http": URL}'),
        (
            put({"http": "http://localhost:1/"}, "components", 0, "ready"),
            "expected http://127.0.0.1:PORT/PATH, the host as a number",
        ),
        (
            put("sessions", "components", 0, "name"),
            "components: 'sessions' shares the log sessions.log with another name",
        ),
        (put("api", "components", 0, "name"), "components: 'api' shares the log api.log with another name"),
    ],
)
def test_a_bad_stack_is_refused_in_one_sentence(tmp_path, bad, sentence):
    (tmp_path / "stack.json").write_text(json.dumps(bad))
    with pytest.raises(BadInput) as caught:
        spec.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/stack.json: ")
    assert sentence in str(caught.value)


def test_no_stack_and_no_json_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(BadInput, match="can't be read"):
        spec.load(tmp_path)
    (tmp_path / "stack.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        spec.load(tmp_path)
