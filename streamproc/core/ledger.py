"""The ledger: every entry that was ever added to a shard's stream is accounted for, or named as missing.

Per shard and epoch (a re-created stream or group starts a new one):

    entries_added - epoch_base = counted + duplicates + dead_lettered + erased + forwarded
                                 + pending + undelivered + lost

The left side is Redis' own count. Of the right side the outcomes are counted by what XACK acknowledged, in the same
script as the acknowledgement, so each entry has one outcome however often it was processed; `pending` and
`undelivered` are what has no outcome yet. An entry that a stranger trims or deletes leaves no trace on the right, so
the sum is what shows it.

All terms must be read in one script: between two reads an entry moves from one to another, and is missing or double.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: The terms of the balance, the left side first: their names wherever they are shown.
LEDGER_TERMS: Final = (
    "entries_added",
    "counted",
    "duplicates",
    "dead_lettered",
    "erased",
    "forwarded",
    "pending",
    "undelivered",
    "lost",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTerms:
    """The terms of one shard's ledger: numbers of stream entries.

    Attributes:
        entries_added: entries ever added to the stream (``entries-added`` of XINFO STREAM).
        epoch_base: `entries_added` - length when the epoch began; what lies before it is no concern of this epoch.
        counted: added to their window.
        duplicates: already in their window, or of a window that has been forgotten.
        dead_lettered: broke a rule, or could not be processed.
        erased: refused, since their user has been erased.
        forwarded: added to the shard that they belong to (where they count as added again).
        lost: pending entries that were found deleted, plus what an audit has found missing from the sum.
        pending: delivered, not yet acknowledged.
        undelivered: not yet delivered; None if there are more than were worth counting.
        epoch: number of the epoch.
        mark: the janitor's mark, as stored: windows below it have been forgotten.
    """

    entries_added: int
    epoch_base: int
    counted: int
    duplicates: int
    dead_lettered: int
    erased: int
    forwarded: int
    lost: int
    pending: int
    undelivered: int | None
    epoch: int = 0
    mark: int = 0

    def by_name(self) -> dict[str, int | None]:
        """The terms of this epoch by name, as `LEDGER_TERMS` has them; undelivered is None where it is unknown."""
        of_epoch = {name: getattr(self, name) for name in LEDGER_TERMS}
        return {**of_epoch, "entries_added": self.entries_added - self.epoch_base}

    def imbalance(self) -> int | None:
        """The left side minus the right: 0 if every entry is accounted for, None if `undelivered` is unknown.

        Above 0, that many entries disappeared without an outcome: trimmed or deleted by a stranger. Below 0, more
        outcomes were counted than entries added: Redis forgot additions (a failover, a restored backup), or the
        terms were not read together.
        """
        return None if self.undelivered is None else self.unaccounted() - self.undelivered

    def unaccounted(self) -> int:
        """Entries that are neither pending nor have an outcome: the undelivered ones, and whatever disappeared."""
        outcomes = self.counted + self.duplicates + self.dead_lettered + self.erased + self.forwarded + self.lost
        return (self.entries_added - self.epoch_base) - (outcomes + self.pending)

    @classmethod
    def from_hash(
        cls, fields: Mapping[bytes, bytes], *, entries_added: int, pending: int, undelivered: int | None
    ) -> LedgerTerms:
        """The terms from the `ledger` hash (HGETALL, as bytes) and what was read from the stream beside it.

        A field that is missing is 0: nothing has been counted under it yet. Other fields are left alone.

        Raises:
            ValueError: a counter is no integer.
        """
        return cls(
            entries_added=entries_added,
            epoch_base=_counter(fields, "epoch_base"),
            counted=_counter(fields, "counted"),
            duplicates=_counter(fields, "duplicates"),
            dead_lettered=_counter(fields, "dead_lettered"),
            erased=_counter(fields, "erased"),
            forwarded=_counter(fields, "forwarded"),
            lost=_counter(fields, "lost"),
            pending=pending,
            undelivered=undelivered,
            epoch=_counter(fields, "epoch"),
            mark=_counter(fields, "mark"),
        )


@dataclass(frozen=True, slots=True)
class WrittenOff:
    """An earlier epoch that somebody ended, because entries had disappeared in it.

    Attributes:
        at_ms: when, by Redis' clock.
        imbalance, lost: what was missing.
        note: why, and what was done about it.
    """

    epoch: int
    at_ms: int
    imbalance: int
    lost: int
    note: str

    @classmethod
    def from_ended(cls, epoch: int, ended: Mapping[str, str]) -> WrittenOff | None:
        """From what the ledger keeps of an ended epoch; None where stream or group had vanished: nobody ended that.

        Raises:
            ValueError: a counter is no integer.
        """
        if "note" not in ended:
            return None
        fields = {name.encode(): str(value).encode() for name, value in ended.items()}
        beside = {name: _counter(fields, name) for name in ("entries_added", "pending", "undelivered")}
        terms = LedgerTerms.from_hash(fields, **beside)
        return cls(epoch, _counter(fields, "at"), terms.imbalance() or 0, terms.lost, ended["note"])


def _counter(fields: Mapping[bytes, bytes], name: str) -> int:
    raw = fields.get(name.encode(), b"0")
    try:
        return int(raw)
    except ValueError:
        raise ValueError(
            f"field {name!r} of the ledger hash is {raw!r}, not an integer: something other than streamproc wrote it; "
            f"set it right with HSET, or remove it with HDEL to start it again from 0"
        ) from None
