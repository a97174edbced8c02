"""The review's questions, asked of both options: how long they take, what MongoDB looks at, and whether both agree."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from streamproc.core.rows import Document, Sum, Window, date, epoch_ms, highest_of_each
from streamproc.stores.mongo.reading import MeasurementReader

from .data import DAY_MS, HOUR_MS, Scale
from .load import Database, figures_of
from .option import Option, Pipeline
from .option_a import OPTION_A
from .ours import OURS
from .results import Question, Times

Answer = dict[Any, tuple[float, ...]]
_T = TypeVar("_T")

#: A busy machine is no server that is away.
_PATIENCE_S: Final = 60.0
_STEP_MS: Final = {"hour": HOUR_MS, "day": DAY_MS}


class Asked(NamedTuple):
    """A question of the review: about a ``channel`` or a ``user``, how far back, in which steps, and how often."""

    name: str
    about: str
    span_ms: int
    by: str | None
    rounds: int


class Subject(NamedTuple):
    """Whom one round is about, and of when."""

    id: str
    since_ms: int
    until_ms: int


#: As many rounds of each as take some ten seconds.
ASKED: Final = (
    Asked("an hour of a channel", "channel", HOUR_MS, None, 100),
    Asked("a day of a channel, by hour", "channel", DAY_MS, "hour", 40),
    Asked("7 days of a channel, by day", "channel", 7 * DAY_MS, "day", 10),
    Asked("30 days of a user", "user", 30 * DAY_MS, None, 20),
)


async def ask(database: Database, scale: Scale, asked: Asked, most_rounds: int) -> Question:
    """Ask one question again and again, each time about another channel or user, or another time."""
    subjects = list(_subjects(scale, asked, min(asked.rounds, most_rounds)))
    reader = MeasurementReader(database, silence_s=_PATIENCE_S)

    async def of_option(option: Option) -> tuple[list[Answer], Times]:
        pipelines = [_pipeline(option, asked, subject) for subject in subjects]
        answers, ms = await _each(pipelines, lambda pipeline: _aggregate(database, option, pipeline))
        return answers, Times(ms, *await _examined(database, option, pipelines[0]))

    answers_a, times_a = await of_option(OPTION_A)
    answers_ours, times_ours = await of_option(OURS)
    answers_product, product_ms = await _each(subjects, lambda subject: _product(reader, asked, subject))
    agree = answers_a == answers_ours == answers_product and all(answers_a)
    return Question(asked.name, times_a, times_ours, product_ms, agree)


def _subjects(scale: Scale, asked: Asked, rounds: int) -> Iterator[Subject]:
    """Times end at full hours; where all that is stored is asked for, there is but one time."""
    span_ms = min(asked.span_ms, scale.days * DAY_MS)
    spare_ms = scale.days * DAY_MS - span_ms
    for number in range(rounds):
        until_ms = scale.until_ms - (number * HOUR_MS % spare_ms if spare_ms else 0)
        user = number * (scale.users_a_channel if asked.about == "channel" else 1) % scale.users
        name = scale.channel(user) if asked.about == "channel" else scale.user(user)
        yield Subject(name, until_ms - span_ms, until_ms)


def _pipeline(option: Option, asked: Asked, subject: Subject) -> Pipeline:
    select = option.of_channel if asked.about == "channel" else option.of_user
    return option.sums(select(*subject), asked.by)


async def _each(subjects: Sequence[_T], ask_one: Callable[[_T], Awaitable[Answer]]) -> tuple[list[Answer], list[float]]:
    """All answers, and their milliseconds in order. The first is asked twice: connections are opened, caches filled."""
    await ask_one(subjects[0])
    answers, ms = [], []
    for subject in subjects:
        begun_s = time.perf_counter()
        answers.append(await ask_one(subject))
        ms.append((time.perf_counter() - begun_s) * 1000)
    return answers, sorted(ms)


async def _aggregate(database: Database, option: Option, pipeline: Pipeline) -> Answer:
    cursor = await database[option.collection].aggregate(pipeline)
    return {group["_id"]: figures_of(group) async for group in cursor}


async def _product(reader: MeasurementReader, asked: Asked, subject: Subject) -> Answer:
    """As the product answers from stored hours, percentiles included, which the pipelines do without."""
    find = reader.of_channel if asked.about == "channel" else reader.of_user
    steps: dict[Any, list[Document]] = {}
    for document in highest_of_each(await find(*subject)).values():
        start_ms = epoch_ms(document["timestamp"])
        step = date(start_ms - start_ms % _STEP_MS[asked.by]) if asked.by else None
        steps.setdefault(step, []).append(document)
    sums = {step: Sum.of([Window(one, "final") for one in documents]) for step, documents in sorted(steps.items())}
    return {step: _figures(one) for step, one in sums.items()}


def _figures(one: Sum) -> tuple[float, ...]:
    found = one.aggregate
    return found.segments, found.errors, found.total_us / 1000, found.original_bytes, found.dubbed_bytes


async def _examined(database: Database, option: Option, pipeline: Pipeline) -> tuple[int, int]:
    """Documents and index keys that MongoDB says it looked at. (Of a time-series collection: buckets.)"""
    command = {"aggregate": option.collection, "pipeline": pipeline, "cursor": {}}
    plan = await database.command("explain", command, verbosity="executionStats")
    stats = next(_found(plan, "executionStats"))
    return stats["totalDocsExamined"], stats["totalKeysExamined"]


def _found(tree: Any, name: str) -> Iterator[Any]:
    """Every value of that name, at whatever depth: where it is depends on the plan."""
    if isinstance(tree, dict):
        if name in tree:
            yield tree[name]
        tree = tree.values()
    elif not isinstance(tree, list):
        return
    for branch in tree:
        yield from _found(branch, name)
