"""Judging a round: everything has settled, and then nothing may be lost, double or wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from streamproc.demo.oracle import Difference, Window

from .stage import Stage

_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.25


@dataclass(slots=True)
class Verdict:
    """Numbers of segments (`lost`, `twice`), windows (`wrong`, `several`), entries (`ledger`). All zero: exact."""

    segments: int = 0
    windows: int = 0
    lost: int = 0
    twice: int = 0
    wrong: int = 0
    several: int = 0
    ledger: int = 0
    #: What differs, and whatever else went wrong, for people.
    told: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.lost, self.twice, self.wrong, self.several, self.ledger


async def judge(stage: Stage) -> Verdict:
    """Wait until nothing is under way and nothing differs, at most a minute; then compare for good.

    Waiting for differences to go hides nothing: a stored hour may be behind for as long as a sweep or a late flush
    takes, and what is still different after a minute of silence stays so.
    """
    give_up_s = time.monotonic() + _PATIENCE_S
    while (under_way := await _under_way(stage)) or (await _differences(stage)):
        if time.monotonic() > give_up_s:
            break
        await asyncio.sleep(_LOOK_S)
    stage.look_after_workers()
    verdict = tally(await _differences(stage), stage.survivors.segments_of)
    verdict.segments, verdict.windows = stage.oracle.segments, stage.oracle.windows
    await _audit(stage, verdict)
    if under_way:
        verdict.told.append(f"not settled: {under_way}")
    verdict.told += stage.troubles
    return verdict


async def _under_way(stage: Stage) -> str:
    seen = await stage.survey()
    if seen is None:
        return "no stream or no group"
    terms = (
        (seen.pending, "entries pending"),
        (seen.lag_entries, "undelivered"),
        (seen.open + seen.taken, "windows to be stored"),
    )
    return ", ".join(f"{number} {name}" for number, name in terms if number)


async def _differences(stage: Stage) -> list[Difference]:
    documents = await stage.documents()
    if stage.survivors.anything_forgotten:
        return await stage.survivors.compare(stage.redis_client, documents)
    return stage.oracle.compare(documents)


def tally(differences: Sequence[Difference], segments_of: Callable[[Window], int]) -> Verdict:
    """What the differences come to."""
    verdict = Verdict(told=[str(one) for one in differences])
    resized = {one.window for one in differences if one.field in {"segments_processed", "measurements"}}
    others = {one.window for one in differences if one.window not in resized and one.field != "survivors in Redis"}
    verdict.wrong = len(others)
    for one in differences:
        if one.field == "segments_processed":
            _count(verdict, int(str(one.expected)), int(str(one.found)))
        elif one.field == "survivors in Redis":
            verdict.lost += len(set(_listed(one.expected)) - set(_listed(one.found)))
        elif one.field == "measurements" and one.found == 0:
            verdict.lost += segments_of(one.window)
        elif one.field == "measurements":
            verdict.several += one.expected == 1
            verdict.wrong += one.expected == 0
    return verdict


def _count(verdict: Verdict, expected: int, found: int) -> None:
    verdict.lost += max(0, expected - found)
    verdict.twice += max(0, found - expected)


def _listed(ids: object) -> Iterable[str]:
    assert isinstance(ids, list)
    return ids


async def _audit(stage: Stage, verdict: Verdict) -> None:
    """The product's own verdict. Where Redis forgot, hours that were stored before have `shrunk`, and nothing else."""
    code, audit = await stage.audit()
    found: list[dict[str, Any]] = [finding for shard in audit["shards"] for finding in shard["findings"]]
    allowed = {"shrunk"} if stage.survivors.anything_forgotten else set()
    surprising = [finding for finding in found if finding["kind"] not in allowed]
    verdict.wrong += len(surprising)
    verdict.told += [f"audit: {finding}" for finding in surprising]
    for shard in audit["shards"]:
        # An imbalance that cannot be known counts as one.
        verdict.ledger += 1 if shard["imbalance"] is None else abs(shard["imbalance"])
        verdict.ledger += shard["lost"]
        if shard["imbalance"] != 0 or shard["lost"]:
            verdict.told.append(f"ledger: imbalance {shard['imbalance']}: {shard['ledger']}")
    clean = not found and not verdict.ledger
    if (code == 0) is not clean:
        verdict.told.append(f"audit ended with code {code} and printed {audit}")
