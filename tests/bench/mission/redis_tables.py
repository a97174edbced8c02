"""Tables of what was measured in Redis, and of the bill."""

from __future__ import annotations

from . import prices
from .results import Job, Results
from .tables import Table, dollars, duration, number, size, times


def jobs(results: Results) -> Table:
    of_redis = results.redis
    rows = [
        _job_row(name, job)
        for review, ours in zip(of_redis.review, of_redis.ours, strict=True)
        for name, job in (("the review's", review), ("our flush", ours))
    ]
    keys_ms = of_redis.review[-1].longest_ms.get("KEYS", 0.0) * prices.USERS / of_redis.review[-1].windows
    notes = (
        "Longest: the command that kept Redis from everybody else for longest, by its own slow log; those below "
        "0.1 ms are not in it. KEYS looks at every key there is: with the 24 hours of detail that the review promises "
        f"it would take {duration(keys_ms * prices.REVIEW_DETAIL_HOURS / 1000)}, and its question about the last five "
        "minutes asks for it twice. Windows of which the two jobs made different measurements: "
        f"{of_redis.disagreeing_windows}.",
    )
    heads = ("job", "segments", "windows", "takes", "CPU of Redis", "longest")
    return Table("jobs", "one hour from Redis to MongoDB", heads, rows, notes)


def _job_row(name: str, job: Job) -> tuple[str, ...]:
    longest = sorted(job.longest_ms.items(), key=lambda item: -item[1])[:2]
    shown = ", ".join(f"{command} {number(ms)} ms" for command, ms in longest) or "below 0.1 ms"
    return (
        name,
        number(job.segments),
        number(job.windows),
        duration(job.seconds),
        duration(job.redis_cpu_s),
        shown,
    )


def redis_erasure(results: Results) -> Table:
    measured = results.redis.erasure
    review_s, ours_s = prices.redis_erasure_s(results)
    rows = [
        ("the review's: SCAN, HGETALL of every key", duration(measured.review_s), duration(review_s)),
        ("ours: the user's index, the stream", duration(measured.ours_s), duration(ours_s)),
    ]
    notes = (
        f"{number(measured.review_erased)} segments of the user among {number(measured.segments)}. Multiplied for the "
        "review by all keys of 24 h, for ours by the entries of 1 h: in proportion to what either looks at.",
    )
    return Table("redis-erasure", "one user erased from Redis", ("", "measured", f"{prices.USERS} users"), rows, notes)


def redis_memory(results: Results) -> Table:
    of_redis = results.redis
    review, ours = prices.review_redis_bytes(results), prices.our_redis_bytes(results)
    rows = [
        ("the review's: a hash of 18 fields a segment, for 24 h", number(of_redis.review_segment_bytes), size(review)),
        ("ours: a hash a window, for its hour, 24 h and 5 min", number(of_redis.our_segment_bytes), ""),
        ("ours: the stream, for 1 h", number(of_redis.stream_entry_bytes), ""),
        ("ours together", "", size(ours)),
    ]
    notes = (f"{times(review, ours)} less. More about it: `make bench-memory`.",)
    return Table("redis-memory", "Redis memory", ("layout", "B a segment", f"{prices.USERS} users"), rows, notes)


def bill(results: Results) -> Table:
    a, ours = prices.bill_of_option_a(results), prices.bill_of_ours(results)
    design = prices.bill_of_review(results)

    def row(what: str, says_a: str, says_design: str, name: str) -> tuple[str, ...]:
        of_a, of_design, of_ours = (dollars(getattr(one, name)) for one in (a, design, ours))
        return what, says_a, of_a, says_design, of_design, of_ours

    rows = [
        row("MongoDB, $0.25 a GB", "$43.20", "$0.09", "storage"),
        row("two backups, $0.25 a GB", "$86.40", "$0.18", "backups"),
        row("Redis, $3 for 500 MB", "-", "$3.00", "redis"),
        row("archive of a year, $0.01 a GB", "-", "$0.01", "archive"),
        row("together", "$129.60", "$3.28", "total"),
        ("reads, its guess", "$20 to $50", "not measured", "$1 to $2", "not measured", "not measured"),
    ]
    heads = (
        *("a month", "Option A, it says", "Option A, measured"),
        *("its design, it says", "its design, measured", "ours, measured"),
    )
    return Table("bill", f"the bill: {prices.FULL}, the review's prices", heads, rows, (_bill_note(results),))


def _bill_note(results: Results) -> str:
    a, ours = prices.bill_of_option_a(results), prices.bill_of_ours(results)
    guesses = zip(prices.READS_OPTION_A, prices.READS_OURS, strict=True)
    with_guess = " to ".join(times(a.total + of_a, ours.total + of_ours) for of_a, of_ours in guesses)
    return (
        f"Ours costs {times(a.total, ours.total)} less than Option A; with the review's guess for reads, {with_guess}. "
        "What all need alike, the MongoDB cluster itself, is in none. Storage is data and indexes on the disk; that of "
        "the review's design is taken to be ours."
    )


def archive(results: Results) -> Table:
    given = results.archive_bytes_a_user_day
    a_year = prices.archive_year_bytes(results)
    a_month = a_year / prices.GB * prices.ARCHIVE_A_GB
    shown = (
        (f"{number(given)} B", size(a_year), dollars(a_month), dollars(7 * a_month)) if given else ("not given",) * 4
    )
    rows = [
        ("a user's day", "-", shown[0]),
        ("a year of 1000 users", "12 MB", shown[1]),
        ("a month's price of one year", "$0.00", shown[2]),
        ("a month's price of seven years", "less than $0.01", shown[3]),
    ]
    return Table("archive", "the archive", ("", "the review", "measured"), rows)
