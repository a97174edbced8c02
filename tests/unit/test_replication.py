from __future__ import annotations

import random

from streamproc.core.replication import ReplicaLag


def test_without_replicas_there_is_no_lag() -> None:
    assert ReplicaLag().observe(1000, 500, ()) is None


def test_a_replica_that_has_everything_is_not_behind() -> None:
    lag = ReplicaLag()
    assert [lag.observe(at_ms, at_ms, (at_ms,)) for at_ms in (1000, 2000, 3000)] == [0, 0, 0]


def test_what_is_still_under_way_at_one_look_and_there_at_the_next_is_no_lag() -> None:
    lag = ReplicaLag()
    assert [lag.observe(at_ms, at_ms, (at_ms - 100,)) for at_ms in (1000, 2000, 3000)] == [0, 0, 0]


def test_a_replica_that_stands_still_falls_behind_with_time() -> None:
    lag = ReplicaLag()
    assert [lag.observe(at_ms, at_ms, (1000,)) for at_ms in (1000, 2000, 3000, 4000)] == [0, 0, 1000, 2000]


def test_a_primary_to_which_nothing_is_written_leaves_nobody_behind() -> None:
    lag = ReplicaLag()
    assert [lag.observe(at_ms, 500, (500,)) for at_ms in (1000, 60_000, 120_000)] == [0, 0, 0]


def test_one_that_follows_at_a_distance_is_as_far_behind_as_it_follows() -> None:
    lag = ReplicaLag()
    assert [lag.observe(at_ms, at_ms, (at_ms - 5000,)) for at_ms in range(0, 20_000, 1000)][-5:] == [4000] * 5


def test_the_slowest_of_several_counts() -> None:
    lag = ReplicaLag()
    assert [lag.observe(at_ms, at_ms, (at_ms, 0)) for at_ms in (1000, 2000, 3000)] == [0, 1000, 2000]


def test_once_it_has_caught_up_it_is_not_behind() -> None:
    lag = ReplicaLag()
    for at_ms in range(1000, 60_000, 1000):
        lag.observe(at_ms, at_ms, (0,))
    assert lag.observe(60_000, 60_000, (60_000,)) == 0


def test_another_primary_is_begun_with_anew() -> None:
    """After a failover offsets may be lower, and those that were remembered say nothing of it."""
    lag = ReplicaLag()
    for at_ms in range(1000, 10_000, 1000):
        lag.observe(at_ms, 1_000_000 + at_ms, (1_000_000,))
    assert lag.observe(10_000, 500, (400,)) == 0


def test_a_replica_that_is_gone_and_back_is_judged_from_its_return() -> None:
    lag = ReplicaLag()
    lag.observe(1000, 1000, (0,))
    lag.observe(2000, 2000, ())
    assert lag.observe(3000, 3000, (2500,)) == 0


def test_what_is_remembered_is_bounded_and_the_lag_still_grows() -> None:
    lag = ReplicaLag(most=10)
    assert [lag.observe(at_ms, at_ms, (0,)) for at_ms in range(1000, 101_000, 1000)][-1] == 99_000
    assert len(lag._lacking) == 10


def test_the_lag_is_the_true_one_but_for_the_time_between_two_looks() -> None:
    rng = random.Random(5)
    for _ in range(200):
        behind_ms, lag = rng.randrange(0, 30_000), ReplicaLag()
        looks = range(0, 60_000, 1000)
        seen = [lag.observe(at_ms, 7 * at_ms, (7 * max(0, at_ms - behind_ms),)) for at_ms in looks][-1]
        assert seen is not None
        assert behind_ms - 1000 <= seen <= behind_ms
