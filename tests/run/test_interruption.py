"""A signal reaches Chaos Toolkit whatever swallows it on its way: real signals to a real process."""

import subprocess
import sys

import pytest

BEGIN = """
import logging, os, signal, sys, time
from chaoslib.exceptions import InterruptExecution
from chaosreprise.run.interruption import interruption

told = []
interruption.install()
interruption.at_once = lambda: told.append("warden")

class Sending(logging.StreamHandler):
    def flush(self):
        if not told:
            os.kill(os.getpid(), signal.SIGTERM)

log = logging.getLogger("sending")
log.addHandler(Sending(sys.stdout))

def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)
"""
LOGGING = """
try:
    log.error("hello")
    time.sleep(30)
except InterruptExecution as error:
    print(error, told)
"""
SWALLOWED = """
try:
    try:
        send()
    except Exception:
        pass
    time.sleep(30)
except InterruptExecution as error:
    print(error, told)
"""
ELSEWHERE = """
import threading
threading.Timer(0.3, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()
try:
    time.sleep(30)
except InterruptExecution as error:
    print(error, told)
"""
KNOWN = """
try:
    send()
except InterruptExecution:
    interruption.journal = {"status": "interrupted"}
time.sleep(0.5)
interruption.check()
print("left alone")
"""
HELD = """
interruption.held = True
send()
time.sleep(0.5)
print(interruption.by, told)
"""
RESTORED = """
interruption.restore()
send()
"""


def ran(script: str, *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*before, sys.executable, "-c", BEGIN + script], capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (LOGGING, "hello\ninterrupted by SIGTERM ['warden']\n"),
        (SWALLOWED, "interrupted by SIGTERM ['warden']\n"),
        (ELSEWHERE, "SIGTERM received ['warden']\n"),
        (KNOWN, "left alone\n"),
        (HELD, "SIGTERM ['warden']\n"),
    ],
)
def test_a_signal_is_raised_until_it_is_known_or_while_held_only_noted(script: str, says: str) -> None:
    done = ran(script)
    assert (done.returncode, done.stdout) == (0, says), done
    assert "Traceback" not in done.stderr
    assert ("the verdict is written" in done.stderr) == (script is HELD)


def test_afterwards_signals_are_what_they_were() -> None:
    assert ran(RESTORED).returncode == -15


def test_what_was_ignored_stays_ignored() -> None:
    script = "send(signal.SIGHUP); time.sleep(0.3); print(interruption.by)"
    assert ran(script, "sh", "-c", 'trap "" HUP; exec "$@"', "sh").stdout == "None\n"
