"""The readers on dialogues that are cut anywhere: every byte goes on, and what is told does not depend on the cuts."""

import random

import dialogues
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaosreprise.links.feed import _line
from chaosreprise.links.reading import Attention
from chaosreprise.links.talk import Talk


class Ear:
    """Where a talk tells what it sees."""

    def __init__(self, watched=True):
        self.attention = Attention()
        self.attention.set(watched, False)
        self.told = []

    def tell(self, connection, about, text=None, stamp=0):
        self.told.append({**about, "text": text})


SEEDS = st.integers(0, 2**32)


def talk(ear):
    return Talk(1, "", 0, ear, lambda: None)


def heard(turns):
    ear = Ear()
    listening = talk(ear)
    for turn in turns:
        if turn.data:
            (listening.upstream if turn.upstream else listening.downstream).saw(turn.data, 1)
    return ear.told


def pieces(draw: random.Random, data: bytes):
    """Small ones at the beginning and at the end, where messages begin and end."""
    while data:
        size = (
            draw.choice([1, 2, 3, 7, 100])
            if draw.random() < 0.8 and len(data) % 60_000 < 400
            else 5_000 * draw.randrange(1, 8)
        )
        yield data[:size]
        data = data[size:]


@settings(deadline=None, max_examples=70)
@given(dialogues.DIALOGUES, SEEDS)
@example([dialogues.Turn(True, b"A\0")], 1)
def test_every_byte_goes_on_and_the_cuts_change_nothing_of_what_is_told(turns, seed):
    draw = random.Random(seed)
    ear = Ear()
    listening = talk(ear)
    for turn in turns:
        side = listening.upstream if turn.upstream else listening.downstream
        went_on = b""
        for piece in pieces(draw, turn.data):
            if draw.random() < 0.5:
                went_on += b"".join(chunk.data for chunk in side.cut(piece, 1))
            else:
                went_on += b"".join(chunk.data for chunk in side.release())
                side.saw(piece, 1)
                went_on += piece
        went_on += b"".join(chunk.data for chunk in side.release())
        assert went_on == turn.data
    for told in (ear.told, expected := heard(turns)):
        for line in told:
            if line["what"] in {"blind", "encrypted"}:
                line["why"] = ""  # it shows as many bytes as had come
    assert ear.told == expected


@settings(deadline=None, max_examples=40)
@given(st.one_of(dialogues.websocket(), dialogues.postgres()), SEEDS)
def test_under_armed_toxics_each_message_that_is_short_enough_comes_as_one_chunk(turns, seed):
    draw = random.Random(seed)
    ear = Ear()
    listening = talk(ear)
    whole = []
    for turn in turns:
        side = listening.upstream if turn.upstream else listening.downstream
        for piece in pieces(draw, turn.data):
            whole += [chunk for chunk in side.cut(piece, 1) if chunk.frame and chunk.frame.whole]
    assert all(chunk.ends for chunk in whole)
    assert len({id(chunk.frame) for chunk in whole}) == len(whole)
    short = [
        line for line in ear.told if line["what"] == "message" and line["size"] < 60_000 and line["opcode"] != "binary"
    ]
    assert len([chunk for chunk in whole if chunk.frame.about["what"] == "message"]) >= len(short)


@pytest.mark.parametrize("at", range(1, 20))
def test_a_message_whose_beginning_has_gone_on_is_nobodys_to_bite(at):
    listening = talk(Ear())
    listening.upstream.saw(dialogues.UPGRADE, 1)
    listening.downstream.saw(dialogues.SWITCHING, 1)
    message, side = dialogues.frame(1, b"x" * 20, False), listening.downstream
    side.saw(message[:at], 1)
    chunks = side.cut(message[at:] + message, 1)
    assert [(chunk.data, chunk.frame is None, chunk.ends) for chunk in chunks] == [
        (message[at:], True, True),
        (message, False, True),
    ]


@settings(deadline=None, max_examples=40)
@given(dialogues.DIALOGUES)
def test_a_reader_keeps_no_more_than_a_message_of_the_limit(turns):
    listening = talk(Ear())
    for turn in turns:
        side = listening.upstream if turn.upstream else listening.downstream
        for at in range(0, len(turn.data), 30_000):
            side.saw(turn.data[at : at + 30_000], 1)
            assert len(side._rest) <= 64 * 1024


@settings(deadline=None, max_examples=40)
@given(dialogues.DIALOGUES, SEEDS)
def test_a_subscription_that_comes_and_goes_never_loses_the_beginning_of_a_message(turns, seed):
    """Who subscribes late is told of what begins from there on just as who was there before."""
    draw = random.Random(seed)
    ear = Ear(watched=False)
    listening = talk(ear)
    for number, turn in enumerate(turns):
        ear.attention.set(number == len(turns) - 1 or draw.random() < 0.5, False)
        side = listening.upstream if turn.upstream else listening.downstream
        for piece in pieces(draw, turn.data):
            side.saw(piece, 1)
    expected = [(line["what"], line.get("size")) for line in heard(turns)[len(heard(turns[:-1])) :]]
    whats = [(line["what"], line.get("size")) for line in ear.told]
    assert whats[len(whats) - len(expected) :] == expected


@pytest.mark.parametrize(
    ("turns", "what", "why"),
    [
        ([(True, b"\x16\x03\x01\x02\x00\x01\x00")], "encrypted", "TLS: the client began with a ClientHello"),
        ([(True, dialogues.SSL_REQUEST), (False, b"S")], "encrypted", "PostgreSQL accepted"),
        ([(True, dialogues.SSL_REQUEST), (False, b"E....")], "blind", "PostgreSQL answered a request for encryption with b'E....'"),
        ([(True, dialogues.SSL_REQUEST + b"x")], "blind", "before the answer to PostgreSQL's request for encryption"),
        ([(False, b"220 mail ready\r\n")], "blind", "the server spoke first (b'220 mail ready"),
        ([(True, b"\xff\xff")], "blind", "neither HTTP/1.1 nor PostgreSQL begins with b'\\xff\\xff'"),
        ([(True, b"HELO mail\r\n")], "blind", "no HTTP/1.1 request begins with b'HELO mail"),
        ([(True, b"GET / HTTP/1.1\r\n\r\n"), (False, b"<html>\n")], "blind", "no HTTP/1.1 answer begins with b'<html>"),
        ([(True, b"PRI * HTTP/2.0\r\n\r\n")], "blind", "no HTTP/1.1 request begins with b'PRI * HTTP/2.0"),
        ([(True, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x81")], "blind", "before the answer to the request for another protocol"),
        ([(True, b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"), (False, b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n")], "blind", "HTTP made it h2c"),
        ([(True, b"CONNECT x:1 HTTP/1.1\r\n\r\n"), (False, b"HTTP/1.1 200 OK\r\n\r\n")], "blind", "tunnel"),
        ([(True, b"GET / HTTP/1.1\r\n" + b"x" * 40_000)], "blind", "an HTTP head of more than 32768 bytes"),
        ([(True, b"\0\0\0\x08\0\2\0\0")], "blind", "PostgreSQL's protocol 2.0 is none that is read"),
        ([(True, dialogues.startup() + b"?\0\0\0\4")], "blind", "no message of PostgreSQL begins with b'?"),
        ([(True, dialogues.UPGRADE), (False, dialogues.SWITCHING + b"\x83\x00")], "blind", "no WebSocket frame begins with b'\\x83"),
        ([(True, dialogues.UPGRADE), (False, dialogues.SWITCHING + b"\xc1\x00")], "blind", "no WebSocket frame begins with b'\\xc1"),
        ([(True, dialogues.UPGRADE), (False, dialogues.SWITCHING + b"\x80\x00")], "blind", "continuation where a message was due"),
        ([(True, dialogues.UPGRADE), (False, dialogues.SWITCHING + b"\x09\x00")], "blind", "no WebSocket frame begins with b'\\t"),
    ],
)  # fmt: skip
def test_what_can_t_be_read_is_said_once_with_its_reason(turns, what, why):
    ear = Ear()
    listening = talk(ear)
    for upstream, data in [*turns, (True, b"more"), (False, b"and more")]:
        side = listening.upstream if upstream else listening.downstream
        assert b"".join(chunk.data for chunk in side.cut(data, 1)) == data
    [line] = [line for line in ear.told if line["what"] in {"blind", "encrypted"}]
    assert line["what"] == what
    assert why in line["why"]
    assert listening.blind == line["why"]


def test_numbers_and_texts_that_json_can_t_hold_are_told_all_the_same():
    for text in [
        '{"type": 123456789012345678901234567890}',
        '{"type": "\\ud800"}',
        '{"type": 1e999}',
        '{"a": -9223372036854775809}',
    ]:
        frame = dialogues.frame(1, text.encode(), False)
        [line] = [
            one
            for one in heard(
                [dialogues.Turn(True, dialogues.UPGRADE), dialogues.Turn(False, dialogues.SWITCHING + frame)]
            )
            if one["what"] == "message"
        ]
        assert line["text"] == text
        assert _line(line).endswith(b"\n")
