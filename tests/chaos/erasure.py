"""``python -m tests.chaos.erasure``: erase a person under load and faults, then search every byte for the id.

Each seed is a round of its own, on servers of its own: two workers count what thirty others publish, and one person.
Then the person is erased by `streamproc erase`, while what the person had published comes again and again, and while
one fault is caused (the seeds go through them in turn). At the end

    at once     is how often the id is found when all has settled: never, but in dead letters of texts of which nobody
                can read whose they are, and which a worker had in hand while the passes went by
    in the end  what is found once all erasures have been applied again, as workers do each hour: nothing
    others      what is lost, double or wrong of anybody else, and entries that the ledger does not account for: nothing
    later       that the person's next window counts, and is stored
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Final

from streamproc.stores.mongo.collection import COLLECTION
from streamproc.stores.mongo.sessions import COLLECTION as SESSIONS

from .erasure_faults import FAULTS, ErasureFault
from .person import Officer, Person, is_measurement, traces
from .scene import Scene
from .stage import Stage, until
from .verdict import judge

SCENE: Final = Scene({"ERASURE_KEY": "a key of more than sixteen characters", "SESSIONS_ENABLED": "true"})
_LAYERS: Final = (":segments", ":closed", ":dead", f".{COLLECTION}", f".{SESSIONS}", ".parquet")
_ERASED: Final = ("segments", "documents", "stream_entries", "dead_letters", "sessions", "archive_rows")
_COLUMNS: Final = (
    *("seed", "fault", "runs", "segments", "hours", "entries", "letters", "sessions", "archive", "refused"),
    *("at once", "in the end", "others", "later"),
)


@dataclass(slots=True)
class Round:
    """What became of one erasure."""

    seed: int
    fault: str
    runs: int = 0
    erased: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_ERASED, 0))
    refused: int = 0
    at_once: list[str] = field(default_factory=list)
    in_the_end: list[str] = field(default_factory=list)
    others: int = 0
    later: bool = False
    told: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        strange = [place for place in self.at_once if not place.endswith(":dead")]
        return self.later and not (strange or self.in_the_end or self.others or self.told)

    def cells(self) -> tuple[str, ...]:
        found = [str(self.erased[name]) for name in _ERASED]
        ends = (str(len(self.at_once)), str(len(self.in_the_end)), str(self.others), "stored" if self.later else "NOT")
        return (str(self.seed), self.fault, str(self.runs), *found, str(self.refused), *ends)


async def play(seed: int, fault: ErasureFault | None = None, scene: Scene = SCENE) -> Round:
    """One round."""
    fault = fault or FAULTS[(seed - 1) % len(FAULTS)]
    rng, result = random.Random(f"erasure {seed} {fault.name}"), Round(seed, fault.name)
    with TemporaryDirectory(prefix="archive-") as archive:
        scene = replace(scene, settings={**scene.settings, "ARCHIVE_URL": f"file://{archive}"})
        try:
            await _play(Stage(scene, seed, rng), fault, result)
        except TimeoutError as error:
            result.told.append(str(error))
    return result


async def _play(stage: Stage, fault: ErasureFault, result: Round) -> None:
    async with stage:
        person = Person(stage, stage.rng)
        officer = Officer(stage, person.user)
        await person.prepare()
        async with stage.load(stage.scene.rate), person.publishing():
            await until(lambda: _is_everywhere(stage, person), "the person to be in every layer")
            async with fault.during(stage, officer):
                person.ask()
                receipt = await officer.erase()
            await stage.pause(1, 3)
        await _look(stage, person, officer, result)
        await _come_back(person, datetime.fromisoformat(receipt["covers_windows_until"]), result)
        _look_into_logs(stage, person, officer, result)


async def _is_everywhere(stage: Stage, person: Person) -> bool:
    """Whether the search finds the person in every layer."""
    places = await traces(stage, person.user)
    return all(any(place.endswith(layer) for place in places) for layer in _LAYERS)


async def _look(stage: Stage, person: Person, officer: Officer, result: Round) -> None:
    verdict = await judge(stage)
    result.others, result.told = sum(verdict.numbers), verdict.told
    result.at_once = await traces(stage, person.user)
    # The hour is over: whichever worker comes next applies all erasures again.
    await stage.redis_client.execute_command("DEL", f"{stage.settings.prefix}:{{0}}:turn:erased")
    with suppress(TimeoutError):  # what is still found is told
        await until(lambda: _is_gone(stage, person), "everything to be applied again")
    result.in_the_end = await traces(stage, person.user)
    seen = await stage.survey()
    result.refused = seen.ledger.erased if seen else 0
    if not await officer.is_verified():
        result.told.append("--verify finds something")
    result.runs = officer.runs
    result.erased = await _erased(officer)
    # Whoever is killed before it can write down what it erased leaves it out of the numbers.
    if not (any(result.erased.values()) and result.refused):
        result.told.append(f"nothing was erased: {result.erased}, {result.refused} refused")


async def _is_gone(stage: Stage, person: Person) -> bool:
    return not await traces(stage, person.user)


async def _erased(officer: Officer) -> dict[str, int]:
    """What all receipts together say."""
    total = dict.fromkeys(_ERASED, 0)
    for receipt in await officer.receipts():
        for layers in receipt.get("tallies", {}).values():
            for tally in layers.values():
                for name in total.keys() & tally.keys():
                    total[name] += tally[name] if isinstance(tally[name], int) else len(tally[name])
    return total


async def _come_back(person: Person, later: datetime, result: Round) -> None:
    """The person's first window that is not covered counts, and is stored."""
    await asyncio.sleep(max(0.0, (later - datetime.now(UTC)).total_seconds()))
    for name in ("a", "b", "c", "b"):
        await person.add(person.segment(name, later))

    async def is_stored() -> bool:
        return bool(await person.documents())

    await until(is_stored, "the person's next window to be stored")
    stored = await person.documents()
    result.later = len(stored) == 1 and is_measurement(stored[0], later, 3)


def _look_into_logs(stage: Stage, person: Person, officer: Officer, result: Round) -> None:
    if officer.named_the_person():
        result.told.append("the command names the person")
    if any(person.user in worker.log_tail(1_000_000) for worker in stage.all_workers):
        result.told.append("a worker's log names the person")


def table(rounds: Sequence[Round]) -> str:
    cells = [_COLUMNS, *(one.cells() for one in rounds)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)


def main() -> int:
    """Exit code 0: every round passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.erasure", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="the first (default: %(default)d)")
    parser.add_argument(
        "--count", type=int, default=len(FAULTS), help="how many, half a minute each (default: %(default)d)"
    )
    options = parser.parse_args()
    rounds = []
    for seed in range(options.seed, options.seed + options.count):
        began_s = time.monotonic()
        rounds.append(asyncio.run(play(seed)))
        one = rounds[-1]
        _tell(f"{time.monotonic() - began_s:4.0f} s  seed {seed}, {one.fault}: {'good' if one.passed else 'NOT GOOD'}")
        for line in (*one.told, *one.at_once, *one.in_the_end) if not one.passed else ():
            _tell(f"        {line}")
    print(table(rounds))  # noqa: T201
    return 0 if all(one.passed for one in rounds) else 1


def _tell(line: str) -> None:
    """Progress, which is not the result."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
