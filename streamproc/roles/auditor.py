"""The auditor: proves that what is stored is what was counted, or says where it is not.

For every closed window whose detail is still kept, the hour is recomputed from the details and compared with its
measurement, field by field. The ledger is read beside it. Windows that change meanwhile are left to the next audit:
they are not closed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from streamproc.core.fold import Measurement, fold
from streamproc.core.revisions import highest, write_number
from streamproc.core.windows import WindowKey
from streamproc.stores.mongo.insertion import Document
from streamproc.stores.mongo.measurements import MeasurementStore, stored_of
from streamproc.stores.redis.behind import BehindSessions
from streamproc.stores.redis.shard import Shard
from streamproc.stores.redis.survey import Survey, survey, write_off
from streamproc.stores.redis.windows import WindowStore

_SLICE = 20
# Counting them stalls Redis for some milliseconds; behind a longer backlog the balance is unknown.
_MOST_UNDELIVERED = 20_000


class BalanceUnknown(RuntimeError):
    """So many entries wait to be read that nobody can tell what is missing. The message says what to do."""


class Kind(StrEnum):
    """What is wrong with a window's measurement."""

    MISSING = "missing"  # none is stored
    DOUBLED = "doubled"  # several are; readers take the highest
    DIFFERENT = "different"  # a field is not what the details come to
    SHRUNK = "shrunk"  # it holds more segments than the details: Redis lost data, and what is stored is kept


@dataclass(frozen=True, slots=True)
class Finding:
    """One window whose measurement is not what its details come to."""

    window: WindowKey
    kind: Kind
    detail: str
    repaired: bool = False


@dataclass(slots=True)
class Audit:
    """What an audit of one shard found. `survey` is None where stream or group is missing."""

    shard: int
    survey: Survey | None
    windows: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def imbalance(self) -> int | None:
        """The ledger's; None where it cannot be known now."""
        return None if self.survey is None else self.survey.ledger.imbalance()

    @property
    def lost(self) -> int:
        return 0 if self.survey is None else self.survey.ledger.lost

    @property
    def clean(self) -> bool:
        """Everything is accounted for, and nothing is wrong or everything that was is repaired."""
        balanced = self.survey is None or self.imbalance == 0
        return balanced and not self.lost and all(finding.repaired for finding in self.findings)


class Auditor:
    """Audits one shard.

    Args:
        behind: where to note whose hours were repaired; None where no session documents are kept.
    """

    def __init__(
        self,
        shard: Shard,
        windows: WindowStore,
        measurements: MeasurementStore,
        behind: BehindSessions | None = None,
    ) -> None:
        self._behind = behind
        self._shard = shard
        self._windows = windows
        self._store = measurements

    async def run_once(self, *, repair: bool = False) -> Audit:
        """Look at the ledger and at every closed window.

        Args:
            repair: store what the details come to, wherever they come to more than what is stored.

        Raises:
            redis.exceptions.RedisError, pymongo.errors.PyMongoError: the audit is not complete; start again.
        """
        audit = Audit(self._shard.number, await survey(self._shard, most_undelivered=_MOST_UNDELIVERED))
        seen: set[WindowKey] = set()
        async for page in self._windows.closed():
            fresh = [key for key in page if key not in seen]
            seen.update(fresh)
            for first in range(0, len(fresh), _SLICE):
                audit.findings += await self._check(fresh[first : first + _SLICE], repair=repair)
        audit.windows = len(seen)
        return audit

    async def write_off(self, audit: Audit, note: str) -> bool:
        """Close the books on entries that disappeared: a new epoch of the ledger begins, and balances.

        What was missing stays on record, with the note. `audit` is brought up to date. Returns whether there was
        anything to write off.

        Raises:
            BalanceUnknown: nothing was changed.
            redis.exceptions.RedisError: it may or may not have taken effect; start again.
        """
        if audit.survey is None or (audit.imbalance == 0 and not audit.lost):
            return False
        done = await write_off(self._shard, audit.survey.epoch, note, most_undelivered=_MOST_UNDELIVERED)
        if done is None:
            raise BalanceUnknown(
                f"shard {audit.shard}: more than {_MOST_UNDELIVERED:,} entries wait to be read, so nobody can tell "
                "what is missing. Try again once workers have caught up: `streamproc status`"
            )
        audit.survey = await survey(self._shard, most_undelivered=_MOST_UNDELIVERED)
        return done

    async def _check(self, keys: Sequence[WindowKey], *, repair: bool) -> list[Finding]:
        found = await self._store.documents(keys)
        details = dict(zip(keys, await self._windows.fetch(keys), strict=True))
        findings = []
        for key, segments in details.items():
            if not segments:
                continue  # forgotten or erased since it was listed
            measurement = fold(key, segments)
            if _compare(measurement, found[key]) and (finding := await self._confirm(measurement, repair=repair)):
                findings.append(finding)
        return findings

    async def _confirm(self, measurement: Measurement, *, repair: bool) -> Finding | None:
        """Look once more. A window that is closed all the while, with the same segments, is what MongoDB must hold.

        What was read one after the other may differ only because the window grew and was flushed in between.
        """
        if not await self._is_closed(measurement):
            return None
        documents = (await self._store.documents([measurement.key]))[measurement.key]
        finding = _compare(measurement, documents)
        if finding is None or not await self._is_closed(measurement):
            return None
        if repair and finding.kind is not Kind.SHRUNK:
            return replace(finding, repaired=await self._repair(measurement, documents))
        return finding

    async def _is_closed(self, measurement: Measurement) -> bool:
        """Whether the window is not being flushed again: then it is too early to judge."""
        return await self._windows.is_closed(measurement.key, measurement.revision)

    async def _repair(self, measurement: Measurement, documents: Sequence[Document]) -> bool:
        """Store the measurement above all others, and only then delete them. Returns whether MongoDB took it."""
        stored = [stored_of(document) for document in documents]
        write = write_number(await self._windows.now_ms(), secrets.randbits(32), stored)
        if await self._store.insert([measurement.document(write)]):
            return False
        await self._store.delete(stored)
        if self._behind:
            await self._behind.note({measurement.key.session_id: None})
        return True


def _compare(measurement: Measurement, documents: Sequence[Document]) -> Finding | None:
    """What is wrong with the stored documents of one window, if anything."""
    key = measurement.key
    best = highest(map(stored_of, documents))
    if best is None:
        return Finding(key, Kind.MISSING, f"{measurement.revision} segments are not stored")
    if best.revision > measurement.revision:
        return Finding(key, Kind.SHRUNK, f"{best.revision} segments stored, {measurement.revision} in Redis")
    if len(documents) > 1:
        return Finding(key, Kind.DOUBLED, f"{len(documents)} measurements are stored")
    different = _different_fields(measurement.document(best.write), documents[0])
    return Finding(key, Kind.DIFFERENT, "; ".join(different)) if different else None


def _different_fields(expected: Document, found: Document) -> list[str]:
    return [
        f"{name} should be {_value(expected, name)}, is {_value(found, name)}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]


def _value(document: Document, name: str) -> Any:
    return document.get(name, "absent")
