"""Experiments and platform files with something wrong in them, drawn from a seed: most are refused, some are still good."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

# What JSON or TOML can say and json.dumps can't: put in by name after the rest is written.
LITERALS = {
    "@deep@": "[" * 20_000 + "]" * 20_000,
    "@nested@": "[" * 300 + "]" * 300,
    "@digits@": "9" * 5_000,
    "@infinite@": "1e999",
    "@nan@": "NaN",
}
NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 7, 1001, 2**31, 2**63, 2**64, 10**30, 0.5, -0.5, 1e308, "", " ", "5", "true", "lost",
    "a" * 3_000, "\0", "a\0b", "a\nb", "\ud800", "\u202eabc", "é", "٣", "\x1b[31m", "`", "a`b", "${unknown}", "${seed}",
    "${", "$x", "${exposure}", "../../etc/passwd", "/dev/zero", "/dev/null", "/", "lost\n", [], {}, [[]], {"": None},
    [None] * 20, {"a": {"b": {"c": {}}}}, ["lost", "lost"], {"type": "env", "key": 5}, {"type": "env"}, {"type": None},
    {"type": "env", "key": "HOME", "env_var_type": "int"}, {"type": "probe"}, *LITERALS,
]  # fmt: skip
NASTY_TOML = [
    "nan", "-inf", "1e400", "-1", "0", "1", "3", "0.5", "1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", "true", "false",
    "9" * 5_000, "0x" + "f" * 5_000, "18446744073709551616", '""', '"x"', '"a b"', '"\\u0000"', '"a\\u0000b"', '"a\\nb"',
    '"\\u202e"', '"' + "a" * 3_000 + '"', '"/dev/zero"', '"é"', "'''\na\n'''", "[]", "{}", "[1, 2]", '["a"]', "[[]]",
    '{ file = "x" }', '{ env = "NOT_SET" }', '{ env = "HOME", file = "x" }', "{ fil = 3 }", '"http://a:99999"', '"http://"',
    '"https://[::1]:8443/x"', '"http://[::::]"', '"http://a..b"', '"http://u:p@h"', '"streamspace"', '"embedded"', "", "x",
    "[" * 3_000, "@deep@", "1_000", "+1", "0b1", "{ a.b.c = 1 }", "'lost'",
]  # fmt: skip


def experiments(base: list[dict[str, Any]], seed: int) -> Iterator[bytes]:
    """For ever; each is one of `base` with one to three things changed."""
    draw = random.Random(f"{seed} experiments")
    texts = [json.dumps(one) for one in base]
    while True:
        tree = json.loads(draw.choice(texts))
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            if tree:
                _changed(draw, tree, draw.choice(("controls", "controls", "method", "method", "configuration", "")))
        text = json.dumps(tree, ensure_ascii=draw.random() < 0.5)
        for name, literal in LITERALS.items():
            text = text.replace(f'"{name}"', literal)
        yield _damaged(draw, text.encode(errors="surrogatepass"), 0.15)


def platform_files(base: list[str], seed: int) -> Iterator[bytes]:
    """For ever; each is one of `base` with up to two lines changed."""
    draw = random.Random(f"{seed} platform files")
    while True:
        lines = draw.choice(base).splitlines()
        for _ in range(draw.choice((0, 1, 1, 1, 2))):
            _change_line(draw, lines)
        text = "\n".join(lines) + "\n"
        yield _damaged(draw, text.replace("@deep@", LITERALS["@deep@"]).encode(), 0.1)


def _changed(draw: random.Random, tree: dict[str, Any], within: str) -> None:
    holder, key = _place(draw, tree, within)
    match draw.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[_typo(draw, key)] = holder.pop(key)
        case 2 if isinstance(holder, dict):
            holder[draw.choice(("x", "", "a.b", "a\nb", "arg", "name", "\ud800"))] = copy.deepcopy(draw.choice(NASTY))
        case 3:
            holder[key] = [holder[key]]
        case 4:
            holder[key] = {"x": holder[key]}
        case _:
            holder[key] = copy.deepcopy(draw.choice(NASTY))


def _place(draw: random.Random, tree: dict[str, Any], within: str) -> tuple[Any, Any]:
    """A container and a key of it, below that key or anywhere in the tree."""
    holder: Any = tree
    key: Any = within if within in tree else draw.choice(list(tree))
    while isinstance(below := holder[key], dict | list) and below and draw.random() < 0.8:
        holder, key = below, draw.choice(list(below) if isinstance(below, dict) else range(len(below)))
    return holder, key


def _typo(draw: random.Random, name: str) -> str:
    at = draw.randrange(len(name) + 1)
    return name[:at] + draw.choice("sx-\u00e9\n") + name[at:]


def _change_line(draw: random.Random, lines: list[str]) -> None:
    at = draw.randrange(len(lines))
    name, equals, _ = lines[at].partition(" = ")
    match draw.randrange(10):
        case 0:
            del lines[at]
            lines.append("")
        case 1:
            lines.insert(at, lines[draw.randrange(len(lines))])
        case 2:
            lines[at] = _typo(draw, lines[at])
        case 3:
            lines.insert(at, f"{draw.choice(('x', 'agents', 'a.b', '[[x]]', '[x]', '['))} = {draw.choice(NASTY_TOML)}")
        case _ if equals:
            lines[at] = f"{name} = {draw.choice(NASTY_TOML)}"
        case _:
            lines[at] = draw.choice(
                ("[x]", "[allow]", "[[lab]]", "[control.control]", "[a.b.c]", "# only a remark", '["\\u0000"]')
            )


def _damaged(draw: random.Random, data: bytes, how_often: float) -> bytes:
    if draw.random() >= how_often:
        return data
    at = draw.randrange(len(data))
    match draw.randrange(7):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + b"\0" + data[at:]
        case 3:
            return b"\xef\xbb\xbf" + data
        case 4:
            return data.replace(b"\n", b"\r\n")
        case 5:
            return data.replace(b"{", b'{"name": 1, ', 1)
        case _:
            return data.decode("utf-8", "replace").encode("utf-16")
