"""All tables of what was measured."""

from __future__ import annotations

from typing import Final

from . import verdicts
from .mongodb_tables import linearity, questions, storage, upkeep
from .redis_tables import archive, bill, jobs, redis_erasure, redis_memory
from .results import Results
from .tables import Table, duration, number

_OURS_ALONE: Final = 3.0
_TIMED: Final = ("questions", "upkeep", "jobs", "redis-erasure", "claims")


def tables(results: Results) -> list[Table]:
    """All of them, in the order in which they are shown."""
    shown = [
        verdicts.answers(results),
        machine(results),
        storage(results),
        linearity(results),
        questions(results),
        upkeep(results),
        jobs(results),
        redis_erasure(results),
        redis_memory(results),
        bill(results),
        archive(results),
        verdicts.claims(results),
    ]
    busiest = max(results.load_averages)
    if busiest <= _OURS_ALONE:
        return shown
    warning = (
        f"Others were at this machine meanwhile (load average up to {number(busiest)}), so every time is too long, on "
        "both sides: trust ratios more than milliseconds and minutes. On a quiet machine `make bench-mission "
        "ARGS=--markdown` measures again and writes this page anew."
    )
    return [one._replace(notes=(*one.notes, warning)) if one.name in _TIMED else one for one in shown]


def machine(results: Results) -> Table:
    where, large = results.machine, results.large
    mongodb = f"{where.mongodb}, cache {where.mongodb_cache_gb:g} GB, client PyMongo {where.pymongo}"
    channels = -(-large.users // results.users_a_channel)
    rows = [
        ("machine", f"{where.described}, {where.memory_gb} GB"),
        ("MongoDB", mongodb),
        ("Redis", where.redis),
        ("measured on", results.measured_on),
        ("load average", f"{', '.join(map(number, results.load_averages))}; what is above 2 is not ours"),
        ("segments", f"{number(large.segments)}: {large.users} users, {large.days} days, {channels} channels"),
        ("loaded in", f"{duration(large.load_s)}, and {duration(results.small.load_s)} for the small scale"),
        ("windows that differ", f"{results.small.disagreeing_windows + large.disagreeing_windows}"),
    ]
    return Table("machine", "what was measured, and where", ("", ""), rows)
