from __future__ import annotations

import pytest

from streamproc.core.windows import Windowing, WindowKey

from .conftest import KEYS, Scripts

ODD = "s-*?[1]:%{}\\צ"


def name(session: str, channel: str = "kan-11", user: str = "dana") -> str:
    return Windowing().name(WindowKey(0, channel, session, user))


def named(shard: Scripts, session: str) -> list[str]:
    return sorted(shard.run("named", [KEYS.open, KEYS.taken], KEYS.names_of_session(session), 100))


@pytest.mark.parametrize("session", ["s-1", ODD])
def test_windows_of_a_session_are_found_in_every_set(shard: Scripts, session: str) -> None:
    mine = sorted([name(session), name(session, "kan-12"), name(session, user="avi")])
    shard.redis.zadd(KEYS.open, {mine[0]: 1, name("s-2"): 1, name("s-11"): 1})
    shard.redis.zadd(KEYS.taken, {mine[1]: 1, mine[2]: 1, name("-1"): 1})
    assert named(shard, session) == mine


def test_a_channel_or_user_of_the_same_name_is_not_the_session(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.open, {name("s-2", channel="s-1"): 1, name("s-3", user="s-1"): 1})
    assert named(shard, "s-1") == []


def test_all_of_many_are_found_at_once(shard: Scripts) -> None:
    many = {name(f"s-{number}"): number for number in range(5000)}
    shard.redis.zadd(KEYS.open, many)
    assert set(shard.run("named", [KEYS.open], "*", 5000)) == set(many)


def test_more_names_than_anyone_may_wait_for_are_not_gone_through(shard: Scripts) -> None:
    shard.redis.zadd(KEYS.open, {name("s-1"): 1, name("s-2"): 1})
    shard.redis.zadd(KEYS.taken, {name("s-3"): 1})
    assert shard.run("named", [KEYS.open, KEYS.taken], "*", 2) is None
    assert len(shard.run("named", [KEYS.open, KEYS.taken], "*", 3)) == 3
