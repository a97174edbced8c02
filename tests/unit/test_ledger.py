from __future__ import annotations

from dataclasses import fields, replace

import pytest

from streamproc.core.ledger import LedgerTerms, WrittenOff

HASH = {
    b"counted": b"70",
    b"duplicates": b"8",
    b"dead_lettered": b"5",
    b"erased": b"4",
    b"forwarded": b"2",
    b"lost": b"1",
    b"epoch": b"3",
    b"epoch_base": b"1000",
    b"mark": b"1769162400000",
    b"epoch_reason": b"stream re-created",
}
BALANCED = LedgerTerms.from_hash(HASH, entries_added=1105, pending=9, undelivered=6)
RIGHT_SIDE = ["counted", "duplicates", "dead_lettered", "erased", "forwarded", "lost", "pending", "undelivered"]


def test_every_field_of_the_hash_is_read() -> None:
    expected = LedgerTerms(
        entries_added=1105,
        epoch_base=1000,
        counted=70,
        duplicates=8,
        dead_lettered=5,
        erased=4,
        forwarded=2,
        lost=1,
        pending=9,
        undelivered=6,
        epoch=3,
        mark=1_769_162_400_000,
    )
    assert expected == BALANCED


def test_a_ledger_in_which_every_entry_has_its_place_balances() -> None:
    assert BALANCED.imbalance() == 0


@pytest.mark.parametrize("term", RIGHT_SIDE)
def test_an_entry_missing_from_any_term_is_noticed(term: str) -> None:
    assert replace(BALANCED, **{term: getattr(BALANCED, term) - 1}).imbalance() == 1


def test_every_term_takes_part() -> None:
    assert {field.name for field in fields(LedgerTerms)} == {
        *RIGHT_SIDE,
        "entries_added",
        "epoch_base",
        "epoch",
        "mark",
    }


def test_outcomes_without_an_entry_show_below_zero() -> None:
    assert replace(BALANCED, entries_added=1103).imbalance() == -2


def test_what_lies_before_the_epoch_is_left_out() -> None:
    assert replace(BALANCED, entries_added=105, epoch_base=0).imbalance() == 0


def test_the_balance_is_unknown_while_undelivered_is() -> None:
    assert replace(BALANCED, undelivered=None).imbalance() is None


def test_an_empty_hash_is_a_ledger_of_zeros() -> None:
    assert LedgerTerms.from_hash({}, entries_added=5, pending=2, undelivered=3).imbalance() == 0


def test_a_counter_that_is_no_integer_is_named() -> None:
    with pytest.raises(ValueError, match=r"'counted' of the ledger hash is b'many'.*HSET"):
        LedgerTerms.from_hash({b"counted": b"many"}, entries_added=0, pending=0, undelivered=0)


def test_what_was_written_off_is_told_as_it_was() -> None:
    ended = {"counted": "3", "lost": "2", "epoch_base": "10", "epoch_reason": "first start"}
    beside = {"entries_added": "20", "pending": "1", "undelivered": "1", "at": "1769162400000", "note": "trimmed"}
    assert WrittenOff.from_ended(4, ended | beside) == WrittenOff(4, 1_769_162_400_000, 3, 2, "trimmed")


def test_an_epoch_that_ended_with_its_group_was_not_written_off() -> None:
    assert WrittenOff.from_ended(4, {"counted": "3", "epoch_reason": "first start"}) is None
