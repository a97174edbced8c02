from __future__ import annotations

import pytest

from streamproc.core.words import duration, listed, short


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.44, "0.4 s"),
        (2.0, "2 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_a_duration_is_said_in_the_unit_a_person_would_choose(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0"),
        (99_999, "99,999"),
        (-99_999, "-99,999"),
        (100_000, "100k"),
        (-123_456, "-123k"),
        (4_567_890, "4.57M"),
        (45_678_900, "45.7M"),
        (999_999_999, "1,000M"),
        (12_345_678_901, "12.3G"),
    ],
)
def test_a_large_number_is_cut_to_three_digits(number: int, said: str) -> None:
    assert short(number) == said


def test_a_long_list_names_a_few_and_how_many_more() -> None:
    assert listed([]) == ""
    assert listed("abc") == "a, b, c"
    assert listed("abcdefg") == "a, b, c and 4 more"
