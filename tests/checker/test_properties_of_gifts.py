"""What is given to an agent at a moment that is known roughly: misassigned exactly when each such moment lies in its absence.

An oracle of intervals: all moments, some, or none.
"""

from histories import PROVEN, UNDOING, VICTIM, ns
from hypothesis import given, settings
from hypothesis import strategies as st
from test_properties_of_all import BASE

from chaosreprise import checker
from chaosreprise.history import Report

SETTINGS = settings(max_examples=60, deadline=None)
GONE = PROVEN + 1.0  # the bound of the contract
BACK = 8.14  # when the platform says so
MOMENTS = st.one_of(
    st.floats(5.1, 9.0), st.sampled_from([GONE, UNDOING]).flatmap(lambda edge: st.floats(edge - 0.1, edge + 0.1))
)
WIDTHS = st.sampled_from([0.0, 0.02, 0.5, 2.0])


def found(made) -> tuple[int, int]:
    return checker.judge(made.history(), "end").checks["misassigned"].count


def says(lo: float, hi: float, count: tuple[int, int], known_until: float) -> None:
    """What the oracle says of a gift at some moment of [lo, hi], if nothing explains it that is known only later."""
    every = ns(GONE) <= ns(lo) and ns(hi) <= ns(UNDOING)
    some = lo < UNDOING and hi > GONE
    assert (count[0] == 1) == every
    if every or (some and hi < known_until):
        assert count[1] == 1
    if hi < GONE or lo > BACK:
        assert count == (0, 0)


@SETTINGS
@given(MOMENTS, WIDTHS, st.floats(0.0, 1.0))
def test_a_start_is_misassigned_exactly_when_it_was_surely_placed_on_an_agent_that_was_gone(
    seen: float, width: float, earlier: float
):
    made = BASE.copy()
    made.owner["placed"] = VICTIM
    submitted = seen - earlier
    made.answer(made.submit("start", None, submitted, key="key-placed"), seen + 0.1, session="placed")
    made.session("placed", "pending", seen, key="key-placed")
    made.find(Report, lambda e: e.id == "placed")[0].lo = ns(seen - width)
    says(max(seen - width, submitted), seen, found(made), known_until=9.9)


@SETTINGS
@given(MOMENTS, WIDTHS)
def test_a_command_is_misassigned_exactly_when_it_was_surely_marked_as_sent_to_an_agent_that_was_gone(
    seen: float, width: float
):
    made = BASE.copy()
    session = f"s-{VICTIM}-hib0"
    (wake,) = made.commands("wake", 5.1, 8.0, VICTIM)
    made.row(f"p-{wake.cmd}", session, "wake", "sent", seen)
    report = made.find(Report, lambda e: e.id == f"p-{wake.cmd}" and e.state == "sent")[0]
    report.lo = ns(max(seen - width, 5.36))
    says(max(seen - width, 5.36), seen, found(made), known_until=8.1)
    report.owner = "a1"
    assert found(made) == (0, 0)
