from __future__ import annotations

from itertools import permutations

import pytest

from streamproc.core.revisions import Decision, Stored, decide, highest, write_number
from streamproc.core.windows import WindowKey

KEY = WindowKey(1_714_557_600_000, "kan-11", "session-7", "dana")
NOW_MS = 1_714_561_320_000


def stored(revision: int, write: int, digest: str = "a") -> Stored:
    return Stored(KEY, revision, write, digest)


OLD, NEW, TWIN = stored(3, 10), stored(5, 20), stored(5, 30)


@pytest.mark.parametrize(
    ("revision", "digest", "found", "decision"),
    [
        # Nothing is stored yet.
        (5, "a", [], Decision(insert=True, obsolete=[])),
        # More segments supersede fewer, whatever the digests and writes say.
        (6, "a", [NEW], Decision(insert=True, obsolete=[NEW])),
        (6, "b", [stored(5, 2**62)], Decision(insert=True, obsolete=[stored(5, 2**62)])),
        (6, "a", [OLD, NEW, TWIN], Decision(insert=True, obsolete=[OLD, NEW, TWIN])),
        # The very same is stored: only what is below it may go.
        (5, "a", [NEW], Decision(insert=False, obsolete=[])),
        (5, "a", [OLD, NEW], Decision(insert=False, obsolete=[OLD])),
        (5, "a", [OLD, NEW, TWIN], Decision(insert=False, obsolete=[OLD, NEW])),
        # As many segments, but others.
        (5, "b", [NEW], Decision(insert=True, obsolete=[NEW], diverged=True)),
        (5, "b", [OLD, NEW], Decision(insert=True, obsolete=[OLD, NEW], diverged=True)),
        (5, "b", [stored(5, 20, "b"), TWIN], Decision(insert=True, obsolete=[stored(5, 20, "b"), TWIN], diverged=True)),
        # Of twins the later write counts, and it is the same.
        (5, "b", [NEW, stored(5, 30, "b")], Decision(insert=False, obsolete=[NEW])),
        # Redis lost segments: what is stored is kept.
        (4, "a", [NEW], Decision(insert=False, obsolete=[], shrunk=True)),
        (4, "b", [OLD, NEW], Decision(insert=False, obsolete=[OLD], shrunk=True)),
        (3, "a", [OLD, NEW], Decision(insert=False, obsolete=[OLD], shrunk=True)),
        # A document twice, as an insert whose answer was lost leaves it: neither is below the other.
        (5, "a", [NEW, NEW], Decision(insert=False, obsolete=[])),
    ],
)
def test_a_window_is_stored_when_it_has_more_segments_or_others(
    revision: int, digest: str, found: list[Stored], decision: Decision
) -> None:
    assert decide(revision, digest, found) == decision


def test_the_order_in_which_measurements_are_found_decides_nothing() -> None:
    for found in permutations([OLD, NEW, TWIN]):
        assert highest(found) == TWIN
        decision = decide(5, "a", list(found))
        assert (decision.insert, sorted(decision.obsolete)) == (False, [OLD, NEW])


def test_of_nothing_nothing_is_highest() -> None:
    assert highest([]) is None


def test_the_highest_has_most_segments_then_the_latest_write() -> None:
    assert highest([stored(5, 1), stored(4, 9)]) == stored(5, 1)
    assert highest([stored(5, 1), stored(5, 2)]) == stored(5, 2)


def test_a_write_number_is_above_every_one_stored_even_when_the_clock_lags() -> None:
    ahead = write_number(NOW_MS + 60_000, 2**20 - 1)
    assert write_number(NOW_MS, 0, [stored(5, 3), stored(5, ahead), stored(6, 4)]) == ahead + 1
    assert write_number(NOW_MS, 0, [stored(5, NOW_MS << 20)]) == (NOW_MS + 1) << 20


def test_two_flushers_that_saw_the_same_last_write_number_theirs_apart() -> None:
    last = [stored(5, write_number(NOW_MS, 2**20 - 1))]
    assert write_number(NOW_MS, 1, last) != write_number(NOW_MS, 2, last)


def test_write_numbers_grow_with_time_whatever_the_random_bits() -> None:
    assert write_number(NOW_MS, 2**20 - 1) < write_number(NOW_MS + 1, 0)


def test_write_numbers_of_one_millisecond_differ_by_their_random_bits() -> None:
    bits = [0, 1, 2, 2**19, 2**20 - 1]
    assert len({write_number(NOW_MS, random_bits) for random_bits in bits}) == len(bits)


def test_random_bits_beyond_twenty_never_reach_the_time() -> None:
    assert write_number(NOW_MS, 2**64 - 1) >> 20 == NOW_MS


def test_a_write_number_fits_a_signed_64_bit_integer_until_the_year_2200() -> None:
    assert write_number(7_258_118_400_000, 2**20 - 1) < 2**63
