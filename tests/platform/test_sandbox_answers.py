"""What the control plane's answers to steps mean, in all the words that its contract leaves to it."""

import msgspec
import pytest

from chaosreprise.history import Answer
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.sandbox_answers import judged

OWN, OTHER = "r1.7 nonce 3 400", "r1.6 nonce 2 200"


def told(stdout, stderr="", status=202, **more):
    body = {"id": "step-1", "status": "accepted", "stdout": stdout, "stderr": stderr, **more}
    said = judged(
        Operation(cmd="c7", op="step", key="r1.7", session="s1"),
        status,
        msgspec.json.encode(body),
        Answer(lo=0, hi=1, cmd="c7", outcome="info"),
    )
    return said.outcome, said.result


@pytest.mark.parametrize(
    "stdout",
    [f"{OWN}\n", f"{OWN}\n\n", f"loading ...\n{OWN}\r\n", f"{OWN}\nbye\n", f"r1.7 past its interpreter\n{OWN}\n"],
)
def test_its_own_line_is_found_whatever_else_was_printed(stdout):
    assert told(stdout) == ("ok", OWN)
    assert told(stdout, "a warning of the runtime\n", tenantId=None, took=3) == ("ok", OWN)


@pytest.mark.parametrize("stdout", [f"{OTHER}\n", f"{OTHER}\n{OWN}\n", f"{OWN}\n{OTHER}\n"])
def test_the_line_of_another_step_is_never_passed_over(stdout):
    assert told(stdout) == ("ok", OTHER)


@pytest.mark.parametrize(("stdout", "stderr"), [("", ""), (None, None), ("\n", None)])
def test_nothing_at_all_is_an_acceptance_that_names_nobody(stdout, stderr):
    assert told(stdout, stderr) == ("ok", None)


def test_what_failed_says_so_on_standard_error_and_may_have_begun():
    assert told("", "Traceback\nNameError: x\n") == ("info", None)
    assert told("half a li", "Killed\n") == ("info", "half a li")


def test_an_answer_of_another_shape_proves_nothing():
    assert told("", id=None) == ("info", None)
    assert told(["x"]) == ("info", None)
    assert told(f"{OWN}\n", status=500) == ("info", None)
