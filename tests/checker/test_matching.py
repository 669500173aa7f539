"""Spans that meet: as many pairs as there can be, by trying all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chaosreprise.checker.matching import meeting

SPANS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)).map(lambda span: (span[0], sum(span))), max_size=5)


def most(ones: list, others: list) -> int:
    """The size of the largest matching. Tries all."""
    if not ones:
        return 0
    first, rest = ones[0], ones[1:]
    tries = [
        1 + most(rest, others[:number] + others[number + 1 :])
        for number, other in enumerate(others)
        if first[0] <= other[1] and other[0] <= first[1]
    ]
    return max([most(rest, others), *tries])


@settings(max_examples=300, deadline=None)
@given(SPANS, SPANS)
def test_as_many_pairs_meet_as_can(ones: list, others: list):
    found = meeting(ones, others)
    assert len(set(found.values())) == len(found) == most(ones, others)
    assert all(ones[one][0] <= others[other][1] and others[other][0] <= ones[one][1] for one, other in found.items())


def test_a_span_that_meets_two_leaves_the_longer_one_to_who_needs_it():
    assert meeting([(0, 10), (8, 20)], [(0, 9), (5, 12)]) == {0: 0, 1: 1}
    assert meeting([(0, 6), (4, 15)], [(7, 8), (1, 9)]) == {0: 1, 1: 0}
