"""The rights in docs/security/ are enough for everything streamproc does, and for little else."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pymongo
import pytest
import redis
from click.testing import CliRunner
from conftest import REDIS_SERVERS
from pods import Pods, get, pods, troubles, until
from provoking import SECRET, Servers, guarded_mongod
from pymongo.errors import OperationFailure
from redis.exceptions import NoPermissionError

from streamproc import BlockingBufferedSegmentPublisher, SegmentPublisher
from streamproc.app.checkup.redis_facts import commands_of_workers, words
from streamproc.cli.main import cli
from streamproc.embedded import EmbeddedServer, start_redis, start_valkey
from streamproc.stores.redis.keys import ShardKeys
from streamproc.stores.redis.scripts import ALL, source

ROOT = Path(__file__).parents[2]
RIGHTS = ROOT / "docs" / "security"
USERS = (RIGHTS / "redis-users.acl").read_text()
ROLES = json.loads((RIGHTS / "mongodb-roles.json").read_text())
ALL_SCRIPTS = "\n".join(source(script.name) for script in ALL)
SPEAKS_REDIS = "\n".join(path.read_text() for path in (ROOT / "streamproc/stores/redis").glob("*.py"))
NO_COMMANDS_THERE = {"cluster"}  # of it, SLOTS alone is wanted
UNAUTHORIZED = 13
PASSWORD = "a-password-of-the-tests"
SEGMENT = {
    "channel_id": "kan-11",
    "session_id": "session-1",
    "user_id": "user-1",
    "extraction_ms": 1,
    "dubbing_ms": 2,
    "reinsertion_ms": 3,
    "source_language": "he",
    "target_language": "en",
}


def rules_of(user: str) -> list[str]:
    (line,) = [line for line in USERS.splitlines() if line.startswith(f"user {user} ")]
    return line.split()[2:]


@pytest.fixture(scope="module")
def acl_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file as an operator fills it in, but for the default user, which stays with the tests."""
    text = re.sub(r">CHANGE-ME-[A-Z]+", f">{PASSWORD}", USERS)
    path = tmp_path_factory.mktemp("acl") / "users.acl"
    path.write_text(text.replace("user default off", "user default on nopass ~* &* +@all"))
    return path


@pytest.fixture(scope="module")
def guarded_redis(acl_file: Path) -> Iterator[EmbeddedServer]:
    with start_valkey(extra_args=["--aclfile", str(acl_file)]) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_mongodb(mongod: EmbeddedServer) -> Iterator[str]:
    """The URL of a MongoDB that knows the roles and a user of each, with a place for the user. `root` is its own."""
    servers: Any = Servers(mongod, mongod, None, None, "", "")
    with guarded_mongod(servers) as change:
        address = change["MONGODB_URL"].removeprefix("mongodb://")
        with pymongo.MongoClient[dict[str, Any]](f"mongodb://root:{SECRET}@{address}/?authSource=admin") as client:
            database = client["dubbing"]
            for role in ROLES:
                database.command(role)
                database.command("createUser", role["createRole"], pwd=PASSWORD, roles=[role["createRole"]])
        yield f"mongodb://{{user}}@{address}/"


def redis_url(server: EmbeddedServer, user: str) -> str:
    return server.url.replace("redis://", f"redis://{user}:{PASSWORD}@")


def mongodb_url(template: str, user: str) -> str:
    if user == "root":
        return template.format(user=f"root:{SECRET}") + "?authSource=admin"
    return template.format(user=f"{user}:{PASSWORD}") + "?authSource=dubbing"


@pytest.fixture
async def system(guarded_redis: EmbeddedServer, guarded_mongodb: str, tmp_path: Path) -> AsyncIterator[Pods]:
    """The test looks as an administrator; processes run under the rights of the files."""
    with redis.Redis.from_url(guarded_redis.url) as admin:
        admin.flushall()
        admin.execute_command("ACL", "LOG", "RESET")
    async with pods(
        guarded_redis.url,
        mongodb_url(guarded_mongodb, "root"),
        PREFIX="dubbing",
        MONGODB_DATABASE="dubbing",
        ERASURE_KEY="a key that nobody will guess",
        API_TOKEN="a-token-of-the-tests",
        ARCHIVE_URL=f"file://{tmp_path}",
        SESSIONS_ENABLED="true",
    ) as one:
        one.variables |= variables(guarded_redis, guarded_mongodb, "streamproc")
        yield one


def variables(guarded_redis: EmbeddedServer, guarded_mongodb: str, user: str) -> dict[str, str]:
    return {
        "STREAMPROC_REDIS_URL": redis_url(guarded_redis, user),
        "STREAMPROC_MONGODB_URL": mongodb_url(guarded_mongodb, user),
    }


def run(system: Pods, line: str, user: str = "") -> int:
    """Run a command to its end, as `user` of Redis and MongoDB if one is named. Returns its exit code."""
    change = {name: value.replace("streamproc:", f"{user}:") for name, value in system.variables.items() if user}
    return CliRunner().invoke(cli, line.split(), env=system.variables | change).exit_code


def denied(system: Pods) -> set[str]:
    """What Redis refused for want of rights, but for what is done without.

    CONFIG: the doctor's question. CLIENT SETINFO: redis-py tells its version. Redis 7.0 has no right of that name.
    XADD by the reader: `status` asks whether producers would be refused, where it may.
    """
    logged = [entry for entry in system.redis.acl_log() if (entry["username"], entry["object"]) != ("reader", "xadd")]
    return {str(entry["object"]) for entry in logged} - {"config|get", "client|setinfo"}


async def counted(system: Pods, number: int) -> bool:
    return await system.counted() >= number


async def has_dead_letters(system: Pods) -> bool:
    return {letter["reason"] for letter in system.dead()} >= {"malformed", "future"}


@pytest.fixture
async def worked(system: Pods) -> Pods:
    """Two workers have counted and stored, exactly; and two entries became dead letters."""
    await system.database["live_dubbing_sessions"].insert_one(
        {"session_id": "session-1-0006", "user_id": "user-1-0006"}
    )
    for _ in range(2):
        await system.start()
    async with system.load(400):
        await until(partial(counted, system, 600), system.logs)
    await system.assert_exact()
    system.add("data", orjson.dumps({**SEGMENT, "segment_id": "1", "received_at": now(), "source_language": ""}))
    system.add("data", orjson.dumps({**SEGMENT, "segment_id": "2", "received_at": "2030-01-01T00:00:00Z"}))
    await until(partial(has_dead_letters, system), system.logs)
    for worker in system.workers:
        assert (await get(worker, "/readyz"))[0] == 200
        assert troubles(worker) == []
    return system


def test_everything_is_done_under_the_rights_of_streamproc(worked: Pods) -> None:
    lines = [
        "init",
        "doctor",
        "status",
        "audit",
        "segments channel-1",
        "hourly channel-1",
        "hourly --session session-1",
        "trends channel-1",
        "user user-1",
        "sessions stale",
        "sessions migrate",
        "archive run",
        "archive status",
        "dead-letters list",
        "dead-letters replay --reason malformed --set source_language=he",
        "dead-letters drop --reason future --yes",
        "erase --user user-1",
        "erase --user user-1 --verify",
    ]
    questions = ["status", "audit", "segments channel-1", "hourly channel-1", "trends channel-1", "dead-letters list"]
    ended = {line: run(worked, line, "reader") for line in questions} | {line: run(worked, line) for line in lines}
    assert denied(worked) == set()
    assert ended == dict.fromkeys([*questions, *lines], 0)
    # Who only asks needs no right to write, and has none.
    assert run(worked, "dead-letters drop --all --yes", "reader") == 1
    assert run(worked, "erase --user user-1", "reader") == 1


async def test_publishers_need_nothing_but_their_stream(system: Pods, guarded_redis: EmbeddedServer) -> None:
    url = redis_url(guarded_redis, "publisher")
    system.redis.xgroup_create(system.keys.stream, "any", mkstream=True)
    async with SegmentPublisher(url) as publisher:
        await publisher.publish(segment_id="1", received_at=now(), **SEGMENT)

    def publish_buffered() -> None:
        with BlockingBufferedSegmentPublisher(url) as publisher:
            publisher.put(segment_id="2", received_at=now(), **SEGMENT)

    await asyncio.to_thread(publish_buffered)
    assert system.redis.xlen(system.keys.stream) == 2
    assert denied(system) == set()


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("publisher", "XRANGE {stream} - +"),
        ("publisher", "XADD {ledger} * a b"),
        ("publisher", "DEL {stream}"),
        ("reader", "XADD {stream} * a b"),
        ("reader", "UNLINK {stream}"),
        ("streamproc", "GET of-another-program"),
        ("streamproc", "FLUSHALL"),
        ("streamproc", "KEYS *"),
        ("streamproc", "CONFIG GET requirepass"),
        ("streamproc", "ACL LIST"),
        ("streamproc", "CLIENT LIST"),
        ("streamproc", "XGROUP DESTROY {stream} streamproc"),
    ],
)
def test_redis_refuses_everything_else(guarded_redis: EmbeddedServer, user: str, command: str) -> None:
    keys = ShardKeys("dubbing", 0)
    words = command.format(stream=keys.stream, ledger=keys.ledger).split()
    with redis.Redis.from_url(redis_url(guarded_redis, user)) as client, pytest.raises(NoPermissionError):
        client.execute_command(*words)


@pytest.mark.parametrize(
    ("user", "database", "command"),
    [
        ("streamproc", "dubbing", {"dropDatabase": 1}),
        ("streamproc", "dubbing", {"drop": "dubbing_metrics_ts"}),
        ("streamproc", "dubbing", {"createUser": "another", "pwd": "x", "roles": []}),
        ("streamproc", "another", {"find": "anything"}),
        ("streamproc", "admin", {"listDatabases": 1, "authorizedDatabases": False}),
        ("reader", "dubbing", {"insert": "dubbing_metrics_ts", "documents": [{}]}),
    ],
)
def test_mongodb_refuses_everything_else(
    guarded_mongodb: str, user: str, database: str, command: dict[str, Any]
) -> None:
    url = mongodb_url(guarded_mongodb, user)
    with pymongo.MongoClient[dict[str, Any]](url) as client, pytest.raises(OperationFailure) as refused:
        client[database].command(command)
    assert refused.value.code == UNAUTHORIZED


@pytest.mark.skipif("redis7" not in REDIS_SERVERS, reason="no redis-server on PATH")
def test_redis_7_takes_the_file_too(acl_file: Path) -> None:
    with (
        start_redis(extra_args=["--aclfile", str(acl_file)]) as server,
        redis.Redis.from_url(redis_url(server, "publisher")) as client,
    ):
        assert client.xadd("dubbing:{0}:segments", {"data": "{}"})


def test_the_rights_name_every_command_that_the_code_runs(guarded_redis: EmbeddedServer) -> None:
    """Also those that the tests above happen not to come by."""
    rights = {rule.removeprefix("+") for rule in rules_of("streamproc") if rule.startswith("+")}
    in_scripts = re.findall(r"redis\.call\('(\w+)'(?:, *'(CREATE|DELCONSUMER|STREAM|GROUPS|CONSUMERS)')?", ALL_SCRIPTS)
    used = {"|".join(filter(None, names)).lower() for names in in_scripts}
    used |= {"|".join(words(command)).lower() for command in commands_of_workers(ShardKeys("dubbing", 0), "group")}
    with redis.Redis.from_url(guarded_redis.url, decode_responses=True) as client:
        known = set(client.execute_command("COMMAND LIST"))
    used |= {word.lower() for word in re.findall(r'"([A-Z]{3,})"', SPEAKS_REDIS)} & known - NO_COMMANDS_THERE
    assert len(used) > 30
    assert used - rights == set()


@pytest.mark.parametrize("user", ["streamproc", "publisher", "reader"])
def test_no_user_may_do_what_is_dangerous(user: str) -> None:
    rules = rules_of(user)
    assert "-@all" in rules
    assert not [rule for rule in rules if rule.startswith("+@") or rule in ("allkeys", "allcommands", "nopass", "~*")]


def now() -> datetime:
    return datetime.now(UTC)
