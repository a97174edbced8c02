"""What was measured, as it is kept in measured.json. Everything that is derived from it is derived in `report`."""

from __future__ import annotations

import msgspec


class Machine(msgspec.Struct, frozen=True):
    described: str
    memory_gb: int
    pymongo: str
    mongodb: str
    mongodb_cache_gb: float
    redis: str


class Storage(msgspec.Struct, frozen=True):
    """What an option takes: `document_bytes` of BSON; `data_bytes` and `indexes`, each by its name, on the disk."""

    documents: int
    document_bytes: float
    data_bytes: int
    indexes: dict[str, int]

    @property
    def bson_bytes(self) -> float:
        return self.documents * self.document_bytes

    @property
    def index_bytes(self) -> int:
        return sum(self.indexes.values())

    @property
    def disk_bytes(self) -> int:
        return self.data_bytes + self.index_bytes


class Upkeep(msgspec.Struct, frozen=True):
    """Seconds that it took; `erased_documents` are those of one user."""

    index_build_s: float
    dump_s: float
    dump_bytes: int
    scan_s: float
    erase_s: float
    erased_documents: int


class Loaded(msgspec.Struct, frozen=True):
    """One scale: how much there was, and what either option makes of it."""

    users: int
    days: int
    segments: int
    load_s: float
    disagreeing_windows: int
    option_a: Storage
    ours: Storage
    option_a_upkeep: Upkeep
    ours_upkeep: Upkeep
    #: BSON of a document with no more fields than the review gives it.
    written_document_bytes: int


class Times(msgspec.Struct, frozen=True):
    """Of one question on one option: milliseconds, in order; and what MongoDB looked at to answer it once."""

    ms: list[float]
    documents_examined: int
    keys_examined: int


class Question(msgspec.Struct, frozen=True):
    """`product` is what the product itself does: read the measurements, take the highest of each window, sum up."""

    name: str
    option_a: Times
    ours: Times
    product_ms: list[float]
    agree: bool


class Job(msgspec.Struct, frozen=True):
    """An hour's job. While a command runs, Redis serves nobody else: `longest_ms` is each command's longest run."""

    segments: int
    windows: int
    seconds: float
    redis_cpu_s: float
    longest_ms: dict[str, float]


class RedisErasure(msgspec.Struct, frozen=True):
    """One user erased from Redis: as the review does it, and as we do; and how many segments of theirs were there."""

    segments: int
    review_s: float
    review_erased: int
    ours_s: float
    ours_erased: int


class RedisSide(msgspec.Struct, frozen=True):
    """The same hour as the review's job and as our flush, at two scales; and bytes in memory."""

    review: list[Job]
    ours: list[Job]
    erasure: RedisErasure
    disagreeing_windows: int
    review_segment_bytes: float
    our_segment_bytes: float
    stream_entry_bytes: float
    #: BSON of the document that the review's job inserts.
    review_document_bytes: float


class Results(msgspec.Struct, frozen=True):
    measured_on: str
    machine: Machine
    users_a_channel: int
    segments_an_hour: int
    small: Loaded
    large: Loaded
    questions: list[Question]
    redis: RedisSide
    #: Of the last minute, each time one of the parts began, and at the end. Above two is not ours.
    load_averages: list[float]
    #: Of the archive, by the command that measures it; None where that has not been passed on.
    archive_bytes_a_user_day: float | None = None

    @property
    def wrong(self) -> int:
        """In how many ways the two sides disagree. Anything but 0 makes every other figure worthless."""
        of_loads = self.small.disagreeing_windows + self.large.disagreeing_windows
        erased_otherwise = self.redis.erasure.review_erased != self.redis.erasure.ours_erased
        of_redis = self.redis.disagreeing_windows + erased_otherwise
        return of_loads + of_redis + sum(not one.agree for one in self.questions)
