"""`streamproc dead-letters` as a person runs it: what it prints, what it refuses, what it leaves behind."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import pty
import signal
import stat
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from click.testing import CliRunner

from streamproc.app.settings import PREFIX
from streamproc.cli.main import main
from streamproc.core import commits
from streamproc.core.commits import Plan, Planner, shard_of
from streamproc.core.events import decode
from streamproc.core.windows import Windowing
from streamproc.embedded import EmbeddedServer
from streamproc.stores.redis.commits import CommitStore
from streamproc.stores.redis.connect import connect
from streamproc.stores.redis.dead_letters import PAGE
from streamproc.stores.redis.entries import EntryStream
from streamproc.stores.redis.shard import Shard

WINDOWING = Windowing()
NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=3)
AHEAD = NOW + timedelta(hours=3)


class Ended(NamedTuple):
    code: int | None
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def event(**fields: Any) -> bytes:
    """A good event of now, but for `fields`; None leaves one out."""
    good = {
        "segment_id": "segment-17",
        "channel_id": "kan-11",
        "session_id": "session-1",
        "user_id": "dana",
        "received_at": NOW,
        "extraction_ms": 45,
        "dubbing_ms": 1100,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
    }
    given = {name: value for name, value in {**good, **fields}.items() if value is not None}
    return json.dumps(given, default=datetime.isoformat).encode()


class Desk:
    """A person's terminal, and shards of which a test chooses the dead letters. There is no MongoDB."""

    def __init__(self, redis_url: str, shards: int = 1) -> None:
        prefix = f"desk-{uuid4().hex[:8]}"
        settings = {
            "REDIS_URL": redis_url,
            "PREFIX": prefix,
            "SHARDS": str(shards),
            "MONGODB_URL": "mongodb://127.0.0.1:1",
        }
        self.variables = {f"{PREFIX}{name}": value for name, value in settings.items()}
        self.client = connect(redis_url)
        self.shards = [Shard(self.client, number=number, prefix=prefix) for number in range(shards)]

    # Acting

    async def refuse(self, *payloads: bytes, shard: int = 0) -> list[str]:
        """Have a consumer refuse entries with these payloads. Returns the ids of the letters."""
        return await self._refuse([(b"data", payload) for payload in payloads], shard)

    async def refuse_own_fields(self, *fields: bytes) -> list[str]:
        return await self._refuse([fields], 0)

    async def _refuse(self, entries: list[tuple[bytes, ...]], shard: int) -> list[str]:
        before = await self.letters(shard)
        stream = EntryStream(self.shards[shard], self.client, "alice")
        await stream.ensure_group()
        pipeline = self.client.pipeline(transaction=False)
        for fields in entries:
            pipeline.execute_command("XADD", self.shards[shard].keys.stream, "*", *fields)
        await pipeline.execute()
        batch = await stream.read_new(len(entries), 0)
        plan = Planner(WINDOWING).plan(batch.entries, batch.now_ms)
        assert len(plan.dead) == len(entries)
        await CommitStore(self.shards[shard], WINDOWING).commit(plan)
        return (await self.letters(shard))[len(before) :]

    async def poison(self) -> str:
        """An entry that is good as far as one can tell, but could not be processed."""
        stream = EntryStream(self.shards[0], self.client, "alice")
        await stream.ensure_group()
        await self.client.execute_command("XADD", self.shards[0].keys.stream, "*", "data", event())
        (entry,) = (await stream.read_new(1, 0)).entries
        letter = commits.poison(entry, "it failed alone", WINDOWING)
        await CommitStore(self.shards[0], WINDOWING).commit(Plan(dead=[letter]))
        return (await self.letters())[-1]

    async def run(self, *arguments: str, stdin: bytes = b"", **variables: str) -> Ended:
        """Run a command in this process, which takes a tenth of the time of one of its own."""
        return await asyncio.to_thread(dead_letters, arguments, self._environment(variables), stdin)

    @asynccontextmanager
    async def started(
        self, *arguments: str, stdin: int = PIPE, stdout: int = PIPE, **variables: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command as a process of its own."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", "dead-letters", *arguments),
            env={**os.environ, **self._environment(variables)},
            stdin=stdin,
            stdout=stdout,
            stderr=PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        own = {f"{PREFIX}{name}": value for name, value in variables.items()}
        return {"COLUMNS": "120", **self.variables, **own}

    # Looking

    async def letters(self, shard: int = 0) -> list[str]:
        found = await self.client.execute_command("XRANGE", self.shards[shard].keys.dead, "-", "+")
        return [letter_id.decode() for letter_id, _ in found]

    async def entries(self, shard: int = 0) -> list[bytes]:
        """The payloads in the stream that nobody has read."""
        batch = await EntryStream(self.shards[shard], self.client, "bob").read_new(1000, 0)
        return [fields[1] for _, fields in batch.entries if fields]


def dead_letters(arguments: Sequence[str], environment: Mapping[str, str], stdin: bytes = b"") -> Ended:
    """The whole program in this process, down to its exit code."""
    log = logging.getLogger()
    handlers, level = list(log.handlers), log.level
    with CliRunner().isolation(stdin, environment) as (out, err, _), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["streamproc", "dead-letters", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    log.handlers, log.level = handlers, level
    assert isinstance(ended.value.code, int)
    return Ended(ended.value.code, out.getvalue().decode(), err.getvalue().decode())


@pytest.fixture
async def desk(valkey: EmbeddedServer) -> AsyncIterator[Desk]:
    desk = Desk(valkey.url)
    yield desk
    await desk.client.aclose()


@pytest.fixture
async def three_shards(valkey: EmbeddedServer) -> AsyncIterator[Desk]:
    desk = Desk(valkey.url, shards=3)
    yield desk
    await desk.client.aclose()


def replayed(ended: Ended) -> tuple[Mapping[str, int], Mapping[str, int]]:
    return ended.data["replayed"], ended.data["refused"]


# list


async def test_list_shows_the_newest_first_and_totals_by_reason(desk: Desk) -> None:
    ids = await desk.refuse(event(segment_id=""), event(received_at=LONG_AGO), event(received_at=AHEAD), b"{")
    ended = await desk.run("list", "--limit", "3")
    head, *rows, gap, shown, totals = ended.out.splitlines()
    assert head.split() == ["id", "age", "reason", "detail"]
    assert [row.split()[0] for row in rows] == ids[:0:-1]
    assert [row[len(ids[0]) :].split()[2] for row in rows] == ["malformed", "future", "too_late"]
    assert (gap, shown) == ("", "the newest 3 of 4; --limit shows more")
    assert totals == "dead letters 4: future 1, malformed 2, too_late 1"
    assert max(len(row) for row in rows) <= 120
    assert (ended.code, ended.err) == (0, "")


async def test_list_of_one_reason_still_tells_all_totals(desk: Desk) -> None:
    _, too_late = await desk.refuse(b"{", event(received_at=LONG_AGO))
    ended = await desk.run("list", "--reason", "too_late", "--json")
    assert [one["id"] for one in ended.data["letters"]] == [too_late]
    assert (ended.data["totals"], ended.data["total"]) == ({"malformed": 1, "too_late": 1}, 2)
    none = await desk.run("list", "--reason", "poison")
    assert none.out == "none is poison\ndead letters 2: malformed 1, too_late 1\n"


async def test_list_cuts_details_to_the_terminal_and_lets_no_control_character_through(desk: Desk) -> None:
    await desk.refuse(event(segment_id="\x1b[31m" * 40), event(dubbing_ms="\x07" * 100))
    ended = await desk.run("list", COLUMNS="60")
    assert "\x1b" not in ended.out
    assert "\x07" not in ended.out


async def test_list_of_nothing_says_so(desk: Desk) -> None:
    assert await desk.run("list") == Ended(0, "no dead letters\n", "")
    assert (await desk.run("list", "--json")).data == {"letters": [], "totals": {}, "total": 0}


async def test_list_goes_through_all_shards(three_shards: Desk) -> None:
    ids = {(await three_shards.refuse(b"{", shard=number))[0]: number for number in (2, 0, 1)}
    ended = await three_shards.run("list")
    assert ended.out.splitlines()[0].split() == ["id", "shard", "age", "reason", "detail"]
    rows = [line.split()[:2] for line in ended.out.splitlines()[1:4]]
    assert rows == [[letter_id, str(number)] for letter_id, number in reversed(ids.items())]
    assert ended.out.splitlines()[-1] == "dead letters 3: malformed 3"
    assert len((await three_shards.run("list", "--limit", "2", "--json")).data["letters"]) == 2


# show


async def test_show_tells_all_and_whether_it_can_be_replayed(desk: Desk) -> None:
    late, poison = (await desk.refuse(event(received_at=LONG_AGO)))[0], await desk.poison()
    told = (await desk.run("show", late)).out
    for words in ("too_late", "its window ended", "The stored hour stays as it is", '  "user_id": "dana",\n'):
        assert words in told
    ended = await desk.run("show", poison, "--json")
    assert (ended.data["reason"], ended.data["detail"], ended.data["replay"]) == (
        "poison",
        "it failed alone",
        {"possible": True},
    )
    assert json.loads(ended.data["payload"])["user_id"] == "dana"


async def test_show_prints_bytes_with_escapes_and_hebrew_as_it_is(desk: Desk) -> None:
    (raw, hebrew) = await desk.refuse(b'{"segment_id": "\x1b[31m\xff', event(user_id="דנה\x9b\u202e", segment_id=""))
    assert '{"segment_id": "\\x1b[31m\\xff\n' in (await desk.run("show", raw)).out
    assert '"user_id": "דנה\\x9b\\u202e",' in (await desk.run("show", hebrew)).out
    shown = (await desk.run("show", raw, "--json")).data
    assert base64.b64decode(shown["payload_base64"]) == b'{"segment_id": "\x1b[31m\xff'


@pytest.mark.parametrize("command", [["show"], ["replay"], ["drop", "--yes"]], ids=lambda words: words[0])
async def test_an_id_that_is_not_there_is_told(desk: Desk, command: list[str]) -> None:
    ended = await desk.run(*command, "1769162405000-0")
    assert (ended.code, ended.out) == (1, "")
    assert "there is no dead letter 1769162405000-0" in ended.err


@pytest.mark.parametrize("wrong", ["17", "a-b", "-", "1-18446744073709551616", "1-1 "])
async def test_what_is_no_id_is_bad_usage(desk: Desk, wrong: str) -> None:
    ended = await desk.run("show", "--", wrong)
    assert ended.code == 2
    assert "is not like 1769162405000-0" in ended.err


async def test_an_id_of_several_shards_needs_the_shard(three_shards: Desk) -> None:
    for number in (0, 2):
        await three_shards.client.xadd(three_shards.shards[number].keys.dead, {"reason": "malformed"}, id="5-5")
    ended = await three_shards.run("show", "5-5")
    assert ended.code == 2
    assert "each of the shards 0, 2: choose with --shard" in ended.err
    assert (await three_shards.run("show", "5-5", "--shard", "2", "--json")).data["shard"] == 2
    assert (await three_shards.run("show", "5-5", "--shard", "1")).code == 1
    assert (await three_shards.run("show", "5-5", "--shard", "3")).code == 2
    assert (await three_shards.run("drop", "5-5", "--shard", "2", "--yes")).out == "dropped 1: malformed 1\n"
    assert (await three_shards.letters(0), await three_shards.letters(2)) == (["5-5"], [])


# replay


async def test_a_letter_that_is_still_wrong_is_refused_by_field_value_and_rule_and_nothing_is_sent(desk: Desk) -> None:
    (letter,) = await desk.refuse(event(segment_id="", dubbing_ms=-1))
    for arguments, words in (
        ([], "segment_id: expected `str` of length >= 1, got ''"),
        (["--set", "segment_id=s"], "dubbing_ms: expected `float` >= 0.0, got -1"),
        (["--set", "segment_id=s", "--set", "dubbing_ms=long"], "dubbing_ms: expected `float`, got `str` 'long'"),
    ):
        ended = await desk.run("replay", letter, *arguments)
        assert ended.code == 1
        assert f"{letter}  refused, malformed: {words}" in ended.out
        assert "--set FIELD=VALUE" in ended.out
    assert (await desk.entries(), await desk.letters()) == ([], [letter])


async def test_a_mended_letter_is_sent_without_unknown_fields(desk: Desk) -> None:
    (letter, other) = await desk.refuse(event(segment_id="", colour="red"), b"{")
    ended = await desk.run("replay", letter, "--set", "segment_id=17")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "replayed 1: malformed 1"
    (sent,) = await desk.entries()
    assert json.loads(sent)["segment_id"] == "17"
    assert b"colour" not in sent
    assert await desk.letters() == [other]


async def test_a_whole_payload_is_taken_from_a_file_or_standard_input(desk: Desk, tmp_path: Path) -> None:
    first, second, third = await desk.refuse(b"{", b"[", b"\xff")
    path = tmp_path / "mended.json"
    path.write_bytes(json.dumps(json.loads(event(segment_id="from a file")), indent=2).encode())
    assert (await desk.run("replay", first, "--payload", str(path))).code == 0
    piped = await desk.run("replay", second, "--payload", "-", "--set", "segment_id=set", stdin=event())
    assert piped.code == 0
    assert [json.loads(sent)["segment_id"] for sent in await desk.entries()] == ["from a file", "set"]
    refused = await desk.run("replay", third, "--payload", "-", stdin=b"")
    assert (refused.code, await desk.letters()) == (1, [third])
    assert "not valid JSON" in refused.out


async def test_a_dry_run_changes_nothing_and_says_what_would_be(desk: Desk) -> None:
    ids = await desk.refuse(event(source_language=None), event(received_at=LONG_AGO), event(received_at=AHEAD))
    ended = await desk.run("replay", "--all", "--set", "source_language=he", "--dry-run")
    assert ended.code == 1
    assert f"{ids[1]}  would be refused, too_late: its window ended" in ended.out
    assert ended.out.splitlines()[-2:] == [
        "would be replayed 1: malformed 1",
        "would be refused 2: future 1, too_late 1",
    ]
    assert (await desk.entries(), await desk.letters()) == ([], ids)


async def test_too_late_is_refused_before_anything_is_sent_and_told_what_to_do_instead(desk: Desk) -> None:
    mended = event(segment_id="", received_at=LONG_AGO)
    ids = await desk.refuse(event(received_at=LONG_AGO), mended)
    ended = await desk.run("replay", *ids, "--set", "platform=tv")
    assert ended.code == 1
    assert "took late events for 86400 s, until " in ended.out
    for remedy in ("The stored hour stays as it is", "clock", "STREAMPROC_LATE_HORIZON_SECONDS", "export"):
        assert remedy in ended.out
    # What is malformed is judged by its window once it is mended.
    again = await desk.run("replay", ids[1], "--set", "segment_id=s", "--json")
    assert replayed(again) == ({}, {"too_late": 1})
    assert list(again.data["advice"]) == ["too_late"]
    assert (await desk.entries(), await desk.letters()) == ([], ids)


async def test_too_late_can_be_replayed_where_its_window_is_still_open_by_a_longer_horizon(desk: Desk) -> None:
    """Unless it has been forgotten: then the entry would be taken for a duplicate, and be lost."""
    ids = await desk.refuse(event(received_at=LONG_AGO), event(received_at=LONG_AGO, segment_id="other"))
    longer_s = str(7 * 86_400)
    assert (await desk.run("replay", ids[0], LATE_HORIZON_SECONDS=longer_s)).code == 0
    mark_ms = WINDOWING.end_of(WINDOWING.start_of(int(LONG_AGO.timestamp() * 1000)))
    await desk.client.hset(desk.shards[0].keys.ledger, "mark", mark_ms)
    ended = await desk.run("replay", ids[1], "--json", LATE_HORIZON_SECONDS=longer_s)
    assert replayed(ended) == ({}, {"forgotten": 1})
    assert (len(await desk.entries()), await desk.letters()) == (1, ids[1:])


async def test_future_is_told_when_and_replayed_from_then_on(desk: Desk) -> None:
    (letter,) = await desk.refuse(event(received_at=AHEAD))
    ended = await desk.run("replay", letter)
    assert ended.code == 1
    from_ = (AHEAD - timedelta(seconds=300)).isoformat()[:16]
    assert f"it can be replayed from {from_}" in ended.out
    # Its time has come as soon as so much is tolerated.
    assert (await desk.run("replay", "--reason", "future", FUTURE_TOLERANCE_SECONDS="20000")).code == 0
    assert len(await desk.entries()) == 1


async def test_poison_is_replayed_with_a_warning(desk: Desk) -> None:
    letter = await desk.poison()
    for arguments in (["--dry-run"], []):
        ended = await desk.run("replay", letter, *arguments)
        assert ended.code == 0
        assert "Warning: a poison letter" in ended.err
    (sent,) = await desk.entries()
    assert decode(sent) == decode(event())


async def test_an_entrys_own_fields_are_replayed_as_one_object(desk: Desk) -> None:
    texts = {name: str(value) for name, value in json.loads(event(received_at=AHEAD)).items()}
    (letter,) = await desk.refuse_own_fields(*(part.encode() for item in texts.items() for part in item))
    assert (await desk.run("replay", letter, "--set", f"received_at={NOW.isoformat()}")).code == 0
    (sent,) = await desk.entries()
    assert decode(sent) == decode(event())


async def test_known_ids_are_replayed_beside_unknown_ones(desk: Desk) -> None:
    """So that a repeat after an interruption goes on where it ended."""
    ids = await desk.refuse(*(event(source_language=None, segment_id=f"s-{n}") for n in range(3)))
    assert (await desk.run("replay", ids[0], "--set", "source_language=he")).code == 0
    ended = await desk.run("replay", *ids, ids[1], "--set", "source_language=he", "--json")
    assert ended.code == 1
    assert (ended.data["unknown"], [one["id"] for one in ended.data["entries"]]) == ([ids[0]], ids[1:])
    assert (len(await desk.entries()), await desk.letters()) == (3, [])


async def test_more_than_a_page_is_replayed_in_order(desk: Desk) -> None:
    names = [f"s-{n}" for n in range(PAGE + 50)]
    await desk.refuse(*(event(source_language=None, segment_id=name) for name in names))
    ended = await desk.run("replay", "--reason", "malformed", "--set", "source_language=he")
    assert (ended.code, ended.out) == (0, f"replayed {len(names)}: malformed {len(names)}\n")
    assert [json.loads(sent)["segment_id"] for sent in await desk.entries()] == names


async def test_of_many_refusals_the_first_are_told_one_by_one(desk: Desk) -> None:
    await desk.refuse(*[b"{"] * 30)
    ended = await desk.run("replay", "--all")
    assert ended.out.count("refused, malformed: ") == 20
    assert "and 10 more refused" in ended.out
    assert ended.out.count("Mend it") == 1
    assert ended.out.splitlines()[-1] == "refused 30: malformed 30"


async def test_each_letter_goes_to_the_shard_of_its_session(three_shards: Desk) -> None:
    sessions = {shard_of(f"session-{n}", 3): f"session-{n}" for n in range(20)}
    for number in range(3):
        await three_shards.refuse(*(event(segment_id="", session_id=sessions[n]) for n in range(3)), shard=number)
    letters = (await three_shards.run("list", "--json")).data["letters"]
    for n, letter in enumerate(letters):
        one = await three_shards.run(
            "replay", letter["id"], "--shard", str(letter["shard"]), "--set", f"segment_id={n}"
        )
        assert one.code == 0, one
    for number in range(3):
        sent = [json.loads(payload)["session_id"] for payload in await three_shards.entries(number)]
        assert sent == [sessions[number]] * 3
        assert await three_shards.letters(number) == []


async def test_nothing_that_matches_is_told_and_no_failure(desk: Desk) -> None:
    assert await desk.run("replay", "--all") == Ended(0, "no dead letter matches: nothing to replay\n", "")
    assert await desk.run("drop", "--all", "--yes") == Ended(0, "no dead letter matches: nothing to drop\n", "")
    assert await desk.run("export") == Ended(0, "", "no dead letter matches: nothing to export\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay"], "say which: ids, or --reason or --all"),
        (["replay", "5-5", "--all"], "not both"),
        (["replay", "--all", "--shard", "0"], "--shard is for ids"),
        (["replay", "--all", "--payload", "-"], "--payload is for one ID"),
        (["replay", "5-5", "5-6", "--payload", "-"], "--payload is for one ID"),
        (["replay", "--all", "--set", "segment_id=s"], "--set segment_id=... is for one ID"),
        (["replay", "5-5", "--set", "segment=s"], "with one of the fields segment_id, "),
        (["replay", "5-5", "--set", "segment_id"], "must be FIELD=VALUE"),
        (["replay", "--reason", "late"], "'late' is not one of"),
        (["replay", "5-5", "--payload", "/nowhere"], "No such file"),
        (["drop", "--yes"], "say which: ids, or --reason, --older-than or --all"),
        (["drop", "5-5", "--older-than", "5", "--yes"], "not both"),
        (["drop", "--all"], "nobody is there to ask: give --yes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_bad_usage_is_told(desk: Desk, arguments: list[str], words: str) -> None:
    ended = await desk.run(*arguments)
    assert ended.code == 2
    assert words in ended.err


# drop


async def test_drop_removes_what_matches_and_tells_how_many(desk: Desk) -> None:
    malformed, _too_late, other = await desk.refuse(b"{", event(received_at=LONG_AGO), b"[")
    assert (await desk.run("drop", "--reason", "too_late", "--dry-run")).out == "would drop 1: too_late 1\n"
    assert (await desk.run("drop", "--reason", "too_late", "--yes", "--json")).data["dropped"] == {"too_late": 1}
    assert await desk.letters() == [malformed, other]
    assert (await desk.run("drop", malformed, "--yes")).out == "dropped 1: malformed 1\n"
    assert (await desk.run("drop", "--all", "--yes")).code == 0
    assert await desk.letters() == []


async def test_drop_of_what_is_older_leaves_what_is_younger(desk: Desk) -> None:
    now_ms = await desk.shards[0].now_ms()
    for age_s in (7200, 3700, 3500):
        letter_id = f"{now_ms - age_s * 1000}-0"
        await desk.client.xadd(desk.shards[0].keys.dead, {"reason": "malformed"}, id=letter_id)
    assert (await desk.run("drop", "--older-than", "3600", "--yes")).out == "dropped 2: malformed 2\n"
    assert await desk.letters() == [f"{now_ms - 3_500_000}-0"]


@asynccontextmanager
async def asked(desk: Desk) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """`drop --all` on a terminal, as it has asked: the process, and where to type."""
    keyboard, terminal = pty.openpty()
    try:
        async with desk.started("drop", "--all", stdin=terminal) as process:
            assert process.stderr is not None
            question = await process.stderr.readuntil(b"[y/N]:")
            assert question == b"Drop 2: malformed 1, too_late 1? They cannot be brought back [y/N]:"
            yield process, keyboard
    finally:
        os.close(keyboard)
        os.close(terminal)


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 0, 2), (b"\n", 0, 2), (b"\x04", 130, 2)])
async def test_drop_asks_whoever_sits_there(desk: Desk, answer: bytes, code: int, left: int) -> None:
    await desk.refuse(b"{", event(received_at=LONG_AGO))
    async with asked(desk) as (process, keyboard):
        os.write(keyboard, answer)
        assert await process.wait() == code
    assert len(await desk.letters()) == left


async def test_an_interruption_while_it_asks_drops_nothing(desk: Desk) -> None:
    await desk.refuse(b"{", event(received_at=LONG_AGO))
    async with asked(desk) as (process, _):
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    assert len(await desk.letters()) == 2


async def test_an_interruption_at_work_ends_with_130(desk: Desk) -> None:
    async with silent_server() as (url, connected), desk.started("replay", "--all", REDIS_URL=url) as process:
        await connected.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert process.returncode == 130
    assert b"Traceback" not in err


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that takes connections and never answers: its address, and what is set once it was asked something."""
    connected = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        # Not before: an interruption in the middle of connecting may be swallowed (python/cpython#86296).
        connected.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", connected


# export


async def test_export_writes_a_line_of_json_for_each(desk: Desk) -> None:
    ids = await desk.refuse(b"\xff\x00", event(received_at=LONG_AGO), b'{"text": "\xd7\x93"}')
    lines = [json.loads(line) for line in (await desk.run("export")).out.splitlines()]
    assert [line["id"] for line in lines] == ids
    assert [line["reason"] for line in lines] == ["malformed", "too_late", "malformed"]
    assert base64.b64decode(lines[0]["payload_base64"]) == b"\xff\x00"
    assert lines[1]["payload"].encode() == event(received_at=LONG_AGO)
    assert list(lines[2]) == ["id", "shard", "entry_id", "reason", "detail", "at", "payload"]
    assert datetime.fromisoformat(lines[2]["at"]) <= datetime.now(UTC)
    assert await desk.letters() == ids
    only = (await desk.run("export", "--reason", "too_late")).out.splitlines()
    assert [json.loads(line)["id"] for line in only] == ids[1:2]


async def test_export_to_a_file_is_for_its_owner_and_whole_or_not_there(desk: Desk, tmp_path: Path) -> None:
    await desk.refuse(*[b"{"] * 3)
    path = tmp_path / "letters.jsonl"
    path.write_text("the one before\n")
    ended = await desk.run("export", "--output", str(path))
    assert (ended.code, ended.out, ended.err) == (0, "", f"exported 3 dead letters to {path}\n")
    assert len(path.read_text().splitlines()) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    failed = await desk.run("export", "--output", str(path), REDIS_URL="redis://127.0.0.1:1/0")
    assert failed.code == 1
    assert len(path.read_text().splitlines()) == 3
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["letters.jsonl"]


async def test_export_to_where_nothing_can_be_written_says_so(desk: Desk) -> None:
    ended = await desk.run("export", "--output", "/nowhere/letters.jsonl")
    assert ended.code == 1
    assert "/nowhere/letters.jsonl cannot be written: No such file or directory" in ended.err


async def test_export_into_a_pipe_that_closes_ends_quietly(desk: Desk) -> None:
    await desk.refuse(event(segment_id=""))
    read_end, write_end = os.pipe()
    os.close(read_end)
    async with desk.started("export", stdout=write_end) as process:
        os.close(write_end)
        _, err = await process.communicate()
        assert (process.returncode, err) == (1, b"")


# What is away, what differs


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "5-5"], ["replay", "--all"], ["drop", "--all", "--yes"], ["export"]]
)
async def test_redis_away_is_told_with_its_remedy(desk: Desk, arguments: list[str]) -> None:
    ended = await desk.run(*arguments, REDIS_URL="redis://:s3cr3t@127.0.0.1:1/0")
    assert (ended.code, ended.out) == (1, "")
    assert "redis://127.0.0.1:1/0" in ended.err
    assert "STREAMPROC_REDIS_URL" in ended.err
    assert "s3cr3t" not in ended.err


async def test_settings_other_than_the_workers_are_refused(desk: Desk) -> None:
    await desk.shards[0].agree_on_layout(shards=4, window_ms=3_600_000)
    ended = await desk.run("list")
    assert ended.code == 1
    assert "shards is 4 there and 1 here" in ended.err


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["replay"], ["drop"], ["export"]], ids=str)
async def test_help_has_an_example(desk: Desk, command: list[str]) -> None:
    ended = await desk.run(*command, "--help")
    assert ended.code == 0
    assert "Example: streamproc dead-letters" in ended.out


async def test_without_a_subcommand_it_helps(desk: Desk) -> None:
    ended = await desk.run()
    assert ended.code == 2
    assert "Commands:" in ended.out
