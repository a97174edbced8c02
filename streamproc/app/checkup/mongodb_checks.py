"""Is this MongoDB one that measurements are safe in, and is the collection as it was designed?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from streamproc.app.checkup.diagnosis import Check, Diagnosis, red, unknown, yellow
from streamproc.app.checkup.known_bugs import BUGS, check_bugs
from streamproc.app.checkup.mongodb_facts import BY_TIME, MongoFacts
from streamproc.stores.mongo.collection import (
    COLLECTION,
    EXPIRE_AFTER_SECONDS,
    GRANULARITY,
    INDEXED,
    META_FIELD,
    OLDEST_SERVER,
    TIME_FIELD,
    ServerTooOld,
    check_version,
)

_SLOW_MS: Final = 100.0
_TIGHT, _FULL = 0.8, 0.9

_ELSEWHERE: Final = (
    "Set STREAMPROC_MONGODB_DATABASE to a database without this collection; or save its data, drop it, and run "
    "streamproc init"
)
REACHED = Check(
    "answers",
    "a primary answers, and takes user and password",
    away=red("none answers, or it refuses user or password", "{remedy}"),
    slow=yellow(
        f"the quickest of a few answers took over {_SLOW_MS:.0f} ms",
        "Run streamproc near MongoDB; look at the machine's load",
    ),
)
VERSION = Check(
    "version",
    f"MongoDB {'.'.join(map(str, OLDEST_SERVER))} or newer",
    old=red("an older one", "Upgrade the server"),
)
TOPOLOGY = Check(
    "deployment",
    "a replica set, or a sharded cluster",
    standalone=yellow(
        "a server by itself: a majority is that one, and its disk holds the only copy",
        "Make it a replica set, of three where it matters: start it with --replSet, then rs.initiate()",
    ),
    secondary=red("not a primary: it takes no writes", "Let STREAMPROC_MONGODB_URL name all members and ?replicaSet="),
)
PERMITTED = Check(
    "permissions",
    "the user may do what workers do",
    denied=red(
        "it may not",
        'db.getSiblingDB("<its database>").grantRolesToUser("<user>", [{{role: "readWrite", db: "{database}"}}])',
    ),
)
COLLECTED = Check(
    "collection",
    "it exists, and is a time-series collection",
    missing=yellow("it does not exist yet", "Run streamproc init, or start a worker"),
    other=red("the name is taken by something else: workers do not run", _ELSEWHERE),
    hidden=unknown("the user may not list collections", "Grant it the role readWrite on the database"),
)
FIELDS = Check(
    "fields",
    f"timeField {TIME_FIELD}, metaField {META_FIELD}",
    differ=red("others: workers do not run. They cannot be changed", _ELSEWHERE),
)
GRAINED = Check(
    "granularity",
    f"{GRANULARITY}: a bucket, which expires as a whole, spans a day at most",
    differs=red(f"another, or none: workers do not run. It cannot be set to {GRANULARITY} again", _ELSEWHERE),
)
EXPIRY = Check(
    "expiry",
    f"expireAfterSeconds {EXPIRE_AFTER_SECONDS}, 90 days",
    differs=red(
        "another, or none: workers do not run",
        f'db.runCommand({{collMod: "{COLLECTION}", expireAfterSeconds: {EXPIRE_AFTER_SECONDS}}})',
    ),
    stopped=red(
        "measurements lie before 1970 or after 2038: MongoDB then expires nothing in the collection (SERVER-79864, "
        "SERVER-97368), and looks through all of it for every question about a time",
        f"db.{COLLECTION}.deleteMany({{'{META_FIELD}.hour': {{$gt: ISODate('2038-01-19')}}}}), and the same with "
        "{$lt: ISODate('1970-01-01')}; then restart the server. streamproc stores none such: find who does",
    ),
    unseen=unknown(
        "whether measurements lie before 1970 or after 2038 could not be seen in 5 s, or the user may not read",
        "Grant it the role readWrite on the database; run doctor again when MongoDB is less busy",
    ),
)
INDEXES = Check(
    "indexes",
    f"one on {', '.join(INDEXED)} each, with {TIME_FIELD}",
    missing=red("one is missing: what it serves reads the whole collection", "Run streamproc init, which makes it"),
    hidden=unknown("the user may not list indexes", "Grant it the role readWrite on the database"),
)
PLANS = Check(
    "index use",
    "what streamproc asks is answered by an index (EXPLAIN)",
    scan=red(
        "a question is answered by reading everything, or everything of a time",
        "Run streamproc init, which makes missing indexes. Timestamps out of range do it as well: see expiry, above",
    ),
    hidden=unknown("the user may not EXPLAIN", "Grant it the role readWrite on the database"),
)
DISK = Check(
    "disk",
    f"less than {_TIGHT:.0%} is used",
    tight=yellow(f"over {_TIGHT:.0%} is used", "Enlarge the disk of MongoDB"),
    full=red(f"over {_FULL:.0%} is used: when it is full, MongoDB stops", "Enlarge the disk of MongoDB now"),
    hidden=unknown(
        "the server does not tell (before anything is stored, or managed)", "See to it where the server is managed"
    ),
)
CHECKS: Final = (
    REACHED, VERSION, BUGS, TOPOLOGY, PERMITTED, COLLECTED, FIELDS, GRAINED, EXPIRY, INDEXES, PLANS, DISK,
)  # fmt: skip

_NEEDED: Final = ("find", "insert", "remove", "createCollection", "createIndex", "listCollections", "listIndexes")


def check_mongodb(facts: MongoFacts, database: str) -> Iterator[Diagnosis]:
    """Everything about one deployment and its collection of measurements."""
    found = f"it answers in {facts.answer_ms:.1f} ms"
    yield REACHED.ok(found) if facts.answer_ms < _SLOW_MS else REACHED.trouble("slow", found)
    yield _version(facts)
    yield from check_bugs("mongodb", facts.version, {"sharded"} if _sharded(facts.hello) else ())
    yield _topology(facts.hello)
    yield _permitted(facts.privileges, database)
    yield from _collection(facts, database)
    yield _disk(facts.disk)


def _version(facts: MongoFacts) -> Diagnosis:
    try:
        check_version(facts.version)
    except ServerTooOld as error:
        return VERSION.trouble("old", str(error))
    return VERSION.ok(f"mongodb {'.'.join(map(str, facts.version))}")


def _sharded(hello: Mapping[str, Any]) -> bool:
    return hello.get("msg") == "isdbgrid"


def _topology(hello: Mapping[str, Any]) -> Diagnosis:
    if _sharded(hello):
        return TOPOLOGY.ok("a sharded cluster")
    if not hello.get("isWritablePrimary"):
        return TOPOLOGY.trouble("secondary", "the server that answers is not a primary")
    if "setName" not in hello:
        return TOPOLOGY.trouble("standalone", "a server by itself, in no replica set")
    return TOPOLOGY.ok(f"replica set {hello['setName']}: {', '.join(hello['hosts'])}")


def _permitted(privileges: Sequence[Mapping[str, Any]] | None, database: str) -> Diagnosis:
    if privileges is None:
        return PERMITTED.ok("nobody has logged in, and everything is permitted")
    allowed = {action for one in privileges if _covers(one["resource"], database) for action in one["actions"]}
    denied = [action for action in _NEEDED if not {action, "anyAction"} & allowed]
    if denied:
        return PERMITTED.trouble("denied", f"not permitted: {', '.join(denied)}", database=database)
    return PERMITTED.ok("everything that workers do is permitted")


def _covers(resource: Mapping[str, Any], database: str) -> bool:
    """https://www.mongodb.com/docs/manual/reference/resource-document/"""
    if resource.get("anyResource"):
        return True
    return resource.get("db") in ("", database) and resource.get("collection") in ("", COLLECTION)


def _collection(facts: MongoFacts, database: str) -> Iterator[Diagnosis]:
    name, collection = f"{database}.{COLLECTION}", facts.collection
    if not facts.listed:
        yield COLLECTED.trouble("hidden", "the collections may not be listed")
    elif collection is None:
        yield COLLECTED.trouble("missing", f"there is no {name}")
    elif collection["type"] != "timeseries":
        yield COLLECTED.trouble("other", f"{name} is a {collection['type']}, not a time-series collection")
    else:
        yield COLLECTED.ok(f"{name} is a time-series collection")
        yield from _options(collection["options"], facts.strays)
        yield _indexes(facts.indexes)
        yield _plans(facts.plans)


def _options(options: Mapping[str, Any], strays: int | None) -> Iterator[Diagnosis]:
    series = options["timeseries"]
    fields = f"timeField {series.get('timeField')}, metaField {series.get('metaField')}"
    ours = (series.get("timeField"), series.get("metaField")) == (TIME_FIELD, META_FIELD)
    yield FIELDS.ok(fields) if ours else FIELDS.trouble("differ", fields)
    grain = f"granularity {series.get('granularity')}"
    yield GRAINED.ok(grain) if series.get("granularity") == GRANULARITY else GRAINED.trouble("differs", grain)
    expiry = f"expireAfterSeconds {options.get('expireAfterSeconds')}"
    if options.get("expireAfterSeconds") != EXPIRE_AFTER_SECONDS:
        yield EXPIRY.trouble("differs", expiry)
    elif strays is None:
        yield EXPIRY.trouble("unseen", f"{expiry}; timestamps were not looked through")
    elif strays:
        yield EXPIRY.trouble("stopped", f"{expiry}, and timestamps before 1970 or after 2038")
    else:
        yield EXPIRY.ok(expiry)


def _indexes(indexes: Sequence[Mapping[str, int]] | None) -> Diagnosis:
    if indexes is None:
        return INDEXES.trouble("hidden", "the indexes may not be listed")
    wanted = {name: {f"{META_FIELD}.{name}": 1, TIME_FIELD: -1} for name in INDEXED}
    missing = [name for name, key in wanted.items() if key not in indexes]
    if missing:
        return INDEXES.trouble("missing", f"no index on {', '.join(missing)} with {TIME_FIELD}")
    return INDEXES.ok(f"on {', '.join(INDEXED)}, each with {TIME_FIELD}")


def _plans(plans: Mapping[str, Sequence[str]]) -> Diagnosis:
    unseen = [name for name, stages in plans.items() if not stages]
    if unseen:
        return PLANS.trouble("hidden", f"not explained: {'; '.join(unseen)}")
    scans = [name for name, stages in plans.items() if not _by_index(name, stages)]
    if scans:
        return PLANS.trouble("scan", f"by no index: {'; '.join(scans)}")
    return PLANS.ok(f"used: {'; '.join(plans)}")


def _by_index(question: str, stages: Sequence[str]) -> bool:
    """A question about a time alone is answered in the order of time, in which buckets lie."""
    wanted = {"IXSCAN", "CLUSTERED_IXSCAN"} if question == BY_TIME else {"IXSCAN"}
    return "COLLSCAN" not in stages and not wanted.isdisjoint(stages)


def _disk(disk: tuple[float, float] | None) -> Diagnosis:
    if disk is None:
        return DISK.trouble("hidden", "size and use of the disk are not told")
    total, used = disk
    found = f"{used / total:.0%} of {total / 1024**3:.0f} GiB used"
    if used / total > _FULL:
        return DISK.trouble("full", found)
    return DISK.trouble("tight", found) if used / total > _TIGHT else DISK.ok(found)
