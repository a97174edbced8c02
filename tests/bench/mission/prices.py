"""The prices of the review, and what a month costs by them. Nobody's price list is asked: the review's is taken."""

from __future__ import annotations

from typing import Final, NamedTuple

from .results import Results, Storage

GB: Final = 1e9

USERS: Final = 1000
DAYS: Final = 30
FULL: Final = f"{USERS} users, {DAYS} days"
DAYS_A_YEAR: Final = 365

MONGODB_A_GB: Final = 0.25
#: The review keeps two backups, at the price of storage.
BACKUPS: Final = 2
#: Three dollars for an instance that holds 500 MB.
REDIS_A_GB: Final = 3 / 0.5
ARCHIVE_A_GB: Final = 0.01
#: What the review guesses for reads, of Option A and of its own. Neither is measured here.
READS_OPTION_A: Final = (20, 50)
READS_OURS: Final = (1, 2)

#: Our detail lives until the end of its hour, then 24 h of horizon and 5 minutes of tolerance (docs/formats.md).
DETAIL_HOURS: Final = 25 + 5 / 60
#: And the entry it came from, until it is trimmed: STREAMPROC_STREAM_RETENTION_SECONDS.
STREAM_HOURS: Final = 1
#: The review promises 24 hours of detail.
REVIEW_DETAIL_HOURS: Final = 24


class Bill(NamedTuple):
    """Dollars a month."""

    storage: float
    backups: float
    redis: float = 0.0
    archive: float = 0.0

    @property
    def mongodb(self) -> float:
        return self.storage + self.backups

    @property
    def total(self) -> float:
        return sum(self)


def factor(results: Results) -> float:
    """By how much the large scale has to be multiplied to be a thousand users for thirty days."""
    return USERS * DAYS / (results.large.users * results.large.days)


def disk_bytes(results: Results, storage: Storage) -> float:
    """Data and indexes of a thousand users and thirty days."""
    return storage.disk_bytes * factor(results)


def review_redis_bytes(results: Results) -> float:
    return _segments_an_hour(results) * REVIEW_DETAIL_HOURS * results.redis.review_segment_bytes


def our_redis_bytes(results: Results) -> float:
    """When it is most: an hour that has just ended, and the 24 before it; and the stream."""
    of_redis = results.redis
    detail = DETAIL_HOURS * of_redis.our_segment_bytes
    return _segments_an_hour(results) * (detail + STREAM_HOURS * of_redis.stream_entry_bytes)


def redis_erasure_s(results: Results) -> tuple[float, float]:
    """Seconds that erasing a user takes in a full Redis: the review's way, and ours."""
    measured = results.redis.erasure
    hours = _segments_an_hour(results) / measured.segments
    return measured.review_s * hours * REVIEW_DETAIL_HOURS, measured.ours_s * hours * STREAM_HOURS


def archive_year_bytes(results: Results) -> float:
    """What the archive grows by in a year; 0 where nobody said what a user's day takes."""
    return (results.archive_bytes_a_user_day or 0.0) * USERS * DAYS_A_YEAR


def bill_of_option_a(results: Results) -> Bill:
    return _mongodb(disk_bytes(results, results.large.option_a))


def bill_of_review(results: Results) -> Bill:
    """What the review designs: our storage in MongoDB, for it differs little, and its own layout in Redis."""
    redis = review_redis_bytes(results) / GB * REDIS_A_GB
    return bill_of_ours(results)._replace(redis=redis)


def bill_of_ours(results: Results) -> Bill:
    """With a full archive of one year."""
    redis = our_redis_bytes(results) / GB * REDIS_A_GB
    archive = archive_year_bytes(results) / GB * ARCHIVE_A_GB
    return _mongodb(disk_bytes(results, results.large.ours))._replace(redis=redis, archive=archive)


def _mongodb(disk: float) -> Bill:
    storage = disk / GB * MONGODB_A_GB
    return Bill(storage, BACKUPS * storage)


def _segments_an_hour(results: Results) -> int:
    return USERS * results.segments_an_hour
