"""The table of known bugs: which versions it names, and that it can be trusted to say so."""

from __future__ import annotations

import pytest

from streamproc.app.checkup.diagnosis import Verdict
from streamproc.app.checkup.known_bugs import KNOWN_BUGS, KnownBug, bugs_of, check_bugs, parse

every_bug = pytest.mark.parametrize("bug", KNOWN_BUGS, ids=lambda bug: bug.ticket)


def tickets(product: str, version: str, *circumstances: str) -> set[str]:
    return {bug.ticket.split(",")[0].split(" ")[0] for bug in bugs_of(product, parse(version), circumstances)}


@pytest.mark.parametrize(
    ("text", "version"),
    [("7.0.15", (7, 0, 15)), ("8.0", (8, 0, 0)), ("7.4-rc2", (7, 4, 2)), ("6.0.5-ent", (6, 0, 5)), ("", (0, 0, 0))],
)
def test_version_is_read_from_whatever_a_server_calls_itself(text: str, version: tuple[int, int, int]) -> None:
    assert parse(text) == version


@pytest.mark.parametrize(
    ("product", "last", "fixed", "ticket"),
    [
        ("redis", "7.0.3", "7.0.4", "CVE-2022-31144"),
        ("redis", "7.0.4", "7.0.5", "CVE-2022-35951"),
        ("redis", "7.0.2", "7.0.3", "redis#10855"),
        ("redis", "7.0.10", "7.0.11", "redis#11004"),
        ("redis", "7.0.15", "7.2.0", "valkey#4342"),
        ("valkey", "9.1.1", "9.1.2", "valkey#4342"),
        ("valkey", "8.1.9", "8.1.10", "valkey#4342"),
        ("redis", "7.2.10", "7.2.11", "CVE-2025-49844"),
        ("redis", "7.4.5", "7.4.6", "CVE-2025-49844"),
        ("redis", "8.2.1", "8.2.2", "CVE-2025-49844"),
        ("valkey", "8.0.5", "8.0.6", "CVE-2025-49844"),
        ("redis", "8.6.2", "8.6.3", "CVE-2026-23479"),
        ("valkey", "9.0.1", "9.0.2", "CVE-2025-67733"),
        ("valkey", "9.1.1", "9.1.2", "GHSA-fq2f-crmw-q97r"),
        ("redis", "7.4.1", "7.4.2", "redis#13337"),
        ("mongodb", "6.0.26", "6.0.27", "CVE-2025-14847"),
        ("mongodb", "8.2.2", "8.2.3", "CVE-2025-14847"),
        ("mongodb", "7.0.25", "7.0.26", "CVE-2025-13507"),
        ("mongodb", "8.3.7", "8.3.8", "CVE-2026-18693"),
        ("mongodb", "8.0.3", "8.0.4", "SERVER-95067"),
        ("mongodb", "7.0.15", "7.0.16", "SERVER-94559"),
    ],
)
def test_last_affected_version_is_named_and_the_fixed_one_is_not(
    product: str, last: str, fixed: str, ticket: str
) -> None:
    assert ticket in tickets(product, last)
    assert ticket not in tickets(product, fixed)


def test_a_branch_of_its_own_is_not_taken_for_an_older_one() -> None:
    assert "CVE-2025-49844" in tickets("redis", "7.4.0")
    assert "CVE-2025-49844" not in tickets("redis", "7.2.12")


def test_redis_and_valkey_of_one_number_are_different_servers() -> None:
    assert "CVE-2025-67733" in tickets("valkey", "7.2.11")
    assert "CVE-2025-67733" not in tickets("redis", "7.2.11")


@pytest.mark.parametrize(
    ("product", "version", "ticket", "circumstance"),
    [("redis", "7.4.10", "CVE-2026-81934", "tls"), ("mongodb", "6.0.11", "SERVER-80203", "sharded")],
)
def test_what_matters_only_in_some_circumstance_is_silent_without_it(
    product: str, version: str, ticket: str, circumstance: str
) -> None:
    assert ticket in tickets(product, version, circumstance)
    assert ticket not in tickets(product, version)


@every_bug
def test_every_bug_names_its_source_and_a_remedy_unless_it_is_none_of_ours(bug: KnownBug) -> None:
    assert bug.source.startswith("https://")
    assert (bug.remedy == "") == (bug.verdict is Verdict.GREEN)


@every_bug
def test_every_range_of_versions_is_one(bug: KnownBug) -> None:
    assert bug.affected
    for versions in bug.affected:
        assert parse(versions.since) < parse(versions.fixed)
        assert versions.product in ("redis", "valkey", "mongodb")


def test_a_version_without_known_bugs_gets_one_green_line() -> None:
    (diagnosis,) = check_bugs("valkey", (9, 1, 2))
    assert (diagnosis.verdict, diagnosis.found) == (Verdict.GREEN, "streamproc knows of none in valkey 9.1.2")


def test_a_known_bug_says_what_breaks_what_helps_and_where_that_is_from() -> None:
    red = next(one for one in check_bugs("redis", (7, 0, 0)) if one.verdict is Verdict.RED)
    assert red.found == "CVE-2022-31144: XAUTOCLAIM, which every worker runs, may overflow the heap"
    assert red.remedy.startswith("Upgrade to Redis 7.0.15 or newer (https://")
