"""The ledger of faults, its locks, and the registry."""

import os
import subprocess
import sys
import time

import pytest

from chaosreprise.errors import NotAllowed, NotPossible
from chaosreprise.faults import ledger, registry
from chaosreprise.faults.ledger import Record
from chaosreprise.paths import state_dir


def record(state, fault="f1", run="r1", platform="p@h"):
    return Record(
        platform=platform,
        run=run,
        fault=fault,
        kind="agents.take_away",
        on="agents/a1",
        state=state,
        lo=1,
        hi=2,
        target={},
    )


def test_leftovers_are_the_faults_that_nobody_saw_whole_again():
    for fault, last in enumerate(
        ("planned", "armed", "injected", "proven", "undoing", "undone", "clean", "moot", "leaked")
    ):
        ledger.append(record("planned", f"f{fault}"))
        ledger.append(record(last, f"f{fault}"))
    ledger.append(record("proven", run="r2"))
    assert [r.state for r in ledger.leftovers("p@h", "r1")] == [
        "armed",
        "injected",
        "proven",
        "undoing",
        "undone",
        "leaked",
    ]
    assert [r.run for r in ledger.leftovers("p@h")] == ["r1"] * 6 + ["r2"]
    assert ledger.platforms() == ["p@h"]
    assert ledger.leftovers("other") == []


def test_a_torn_line_loses_nothing_before_or_after_it():
    ledger.append(record("armed"))
    with ledger.path("p@h", "r1").open("ab") as file:
        file.write(b'{"platform": "p@h", "ru')
    assert [r.state for r in ledger.leftovers("p@h")] == ["armed"]
    ledger.append(record("proven"))
    assert [r.state for r in ledger.leftovers("p@h")] == ["proven"]


def test_one_run_a_platform_and_the_lock_is_freed_by_death():
    program = "import time; from chaosreprise.faults import ledger\nwith ledger.lock('p@h'): print('locked', flush=True); time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        with pytest.raises(NotAllowed, match="p@h is being tested by another run"), ledger.lock("p@h"):
            pass
        with ledger.lock("q@h"):
            other.kill()
    with ledger.lock("p@h"):
        pass


def test_the_wardens_lock_is_waited_for():
    with (
        ledger.warden_lock("p@h", 0),
        pytest.raises(NotAllowed, match="still being undone by another process"),
        ledger.warden_lock("p@h", 0.1),
    ):
        pass


def test_pruning_takes_what_is_old_and_settled_and_nothing_else():
    for platform, state in (("old", "clean"), ("open", "proven"), ("new", "clean"), ("used", "clean")):
        ledger.append(record(state, platform=platform))
    long_ago = time.time() - 30 * 86400
    with ledger.lock("used"):
        for platform in ("old", "open", "used"):
            for path in (ledger.path(platform, "r1"), ledger.folder(platform)):
                os.utime(path, (long_ago, long_ago))
        ledger.prune()
    assert sorted(path.name for path in state_dir("faults").iterdir()) == ["new", "open", "used"]


def test_a_fault_is_there_because_its_file_is_and_keeps_the_contract():
    assert "agents.take_away" in registry.kinds()
    for kind in registry.kinds():
        fault = registry.get(kind)
        assert fault.undo_s > 0
        assert all(callable(getattr(fault, verb)) for verb in ("plan", "inject", "prove", "undo", "verify"))
        assert sys.modules[type(fault).__module__].__doc__, f"{kind} says what it does and when it is proven"
    with pytest.raises(NotPossible, match=r"'agents_take_away' is no fault: expected one of agents\.clock_skew"):
        registry.get("agents_take_away")
