from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamproc.core.windows import Windowing, WindowKey, escape, unescape

# Nothing may pass or fail by the clock of a busy machine.
unhurried = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Text that can be written as UTF-8, rich in what is structure inside a key.
identifiers = st.text(st.sampled_from("%:{}0123456789ABDabd ") | st.characters(codec="utf-8"), max_size=20)
lengths = st.integers(1, 400_000).map(lambda seconds: seconds * 1000) | st.sampled_from([5_000, 3_600_000, 86_400_000])
# From 1001 to 9990: a year has four digits.
moments = st.integers(-30_000_000_000_000, 253_000_000_000_000) | st.integers(0, 4_102_444_800_000)


@unhurried
@given(identifiers)
def test_escaping_leaves_no_structure_and_is_undone(identifier: str) -> None:
    assert not set(escape(identifier)) & set(":{}")
    assert unescape(escape(identifier)) == identifier


@unhurried
@given(identifiers, identifiers)
def test_different_identifiers_are_escaped_differently(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


@unhurried
@given(lengths, moments, identifiers, identifiers, identifiers)
def test_a_window_is_found_again_by_its_name(
    length_ms: int, moment: int, channel: str, session: str, user: str
) -> None:
    windowing = Windowing(length_ms=length_ms)
    key = WindowKey(windowing.start_of(moment), channel, session, user)
    assert windowing.parse_name(windowing.name(key)) == key


@unhurried
@given(lengths, st.text(max_size=40) | st.from_regex(r"\A[0-9]{10}([0-9]{4})?:[a-z%:]{0,6}:[a-z%37A]{0,6}:u\Z"))
def test_a_foreign_name_is_refused_or_is_no_foreign_name(length_ms: int, name: str) -> None:
    windowing = Windowing(length_ms=length_ms)
    with contextlib.suppress(ValueError):
        key = windowing.parse_name(name)
        assert windowing.name(key) == name
        assert windowing.start_of(key.start_ms) == key.start_ms


@unhurried
@given(lengths, moments)
def test_every_moment_lies_in_exactly_one_window(length_ms: int, moment: int) -> None:
    windowing = Windowing(length_ms=length_ms)
    start = windowing.start_of(moment)
    assert start <= moment < windowing.end_of(start)
    assert start % length_ms == 0
    assert windowing.start_of(windowing.end_of(start)) == windowing.end_of(start)


@unhurried
@given(moments, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_window_is_never_due_before_its_grace_nor_before_the_entry_was_added(
    moment: int, wait: int, more: int
) -> None:
    windowing = Windowing(length_ms=5_000)
    start = windowing.start_of(moment)
    due = windowing.due_at(start, start + wait)
    assert due >= windowing.end_of(start) + windowing.grace_ms
    assert due > start + wait
    # Who is added later is never due earlier: the first entry of a batch is due first.
    assert windowing.due_at(start, start + wait + more) >= due
