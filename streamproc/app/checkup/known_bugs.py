"""Known bugs of server versions, as far as they concern what streamproc does: which versions, what breaks, the remedy.

Only what a ticket, an advisory or release notes say, or what was measured. A version that matches nothing is not
thereby free of bugs. A vulnerability is yellow: who can reach the server cannot be seen from here, and distributions
repair versions without renaming them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from streamproc.app.checkup.diagnosis import Check, Diagnosis, Verdict, red, yellow

Version = tuple[int, int, int]


class Affected(NamedTuple):
    """Versions from `since` up to, but without, `fixed`."""

    product: str
    since: str
    fixed: str

    def has(self, product: str, version: Version) -> bool:
        return product == self.product and parse(self.since) <= version < parse(self.fixed)


class KnownBug(NamedTuple):
    """A bug of some versions of a server.

    Attributes:
        ticket: its usual name.
        source: where it is described.
        breaks: what goes wrong.
        remedy: '' where streamproc is not concerned.
        only: a circumstance without which it does not matter: ``tls``, ``sharded``.
    """

    ticket: str
    source: str
    affected: tuple[Affected, ...]
    verdict: Verdict
    breaks: str
    remedy: str = ""
    only: str = ""


def parse(version: str) -> Version:
    """The first three numbers of a version; what is missing counts as 0."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major, minor, patch


def bugs_of(product: str, version: Version, circumstances: Collection[str] = ()) -> list[KnownBug]:
    """The known bugs of a version of ``redis``, ``valkey`` or ``mongodb``, as far as they matter here."""
    return [
        bug
        for bug in KNOWN_BUGS
        if any(versions.has(product, version) for versions in bug.affected)
        and (not bug.only or bug.only in circumstances)
    ]


def check_bugs(product: str, version: Version, circumstances: Collection[str] = ()) -> Iterator[Diagnosis]:
    """A line for each known bug of a version; if there is none, one that says so."""
    bugs = bugs_of(product, version, circumstances)
    for bug in bugs:
        found = f"{bug.ticket}: {bug.breaks}"
        yield BUGS.trouble(bug.verdict, found, remedy=f"{bug.remedy} ({bug.source})") if bug.remedy else BUGS.ok(found)
    if not bugs:
        yield BUGS.ok(f"streamproc knows of none in {product} {'.'.join(map(str, version))}")


BUGS = Check(
    "known bugs",
    "none that concerns streamproc; the table is below",
    yellow=yellow("a known bug, or vulnerability, of this version may do harm", "{remedy}"),
    red=red("a known bug of this version can break what streamproc does", "{remedy}"),
)


def _of(product: str, *ranges: str) -> tuple[Affected, ...]:
    return tuple(Affected(product, *one.split("-")) for one in ranges)


_UNLESS_PATCHED: Final = "Upgrade, unless your distribution has patched this version. Let no stranger reach the server"

KNOWN_BUGS: Final = (
    KnownBug(
        "CVE-2022-31144",
        "https://github.com/redis/redis/security/advisories/GHSA-96f7-42fg-2jrh",
        _of("redis", "7.0.0-7.0.4"),
        Verdict.RED,
        "XAUTOCLAIM, which every worker runs, may overflow the heap",
        "Upgrade to Redis 7.0.15 or newer",
    ),
    KnownBug(
        "CVE-2022-35951",
        "https://github.com/redis/redis/security/advisories/GHSA-5gc4-76rx-22c9",
        _of("redis", "7.0.0-7.0.5"),
        Verdict.YELLOW,
        "whoever may run XAUTOCLAIM can overflow the heap",
        "Upgrade to Redis 7.0.15 or newer",
    ),
    KnownBug(
        "redis#10855",
        "https://github.com/redis/redis/releases/tag/7.0.3",
        _of("redis", "7.0.0-7.0.3"),
        Verdict.YELLOW,
        "with min-replicas-to-write a script can fail after its first writes",
        "Upgrade to Redis 7.0.15 or newer",
    ),
    KnownBug(
        "redis#11004, redis#11973",
        "https://github.com/redis/redis/releases/tag/7.0.11",
        _of("redis", "7.0.0-7.0.11"),
        Verdict.YELLOW,
        "in rare cases the append-only file is not synced: a power cut loses more than appendfsync promises",
        "Upgrade to Redis 7.0.15 or newer",
    ),
    KnownBug(
        "valkey#4342",
        "https://github.com/valkey-io/valkey/pull/4342",
        # Measured: Redis 7.0.15 loses what is written between the two starts, Valkey 9.1.2 does not.
        _of("redis", "7.0.0-7.2.0")
        + _of("valkey", "7.2.0-7.2.13", "8.0.0-8.0.11", "8.1.0-8.1.10", "9.0.0-9.0.6", "9.1.0-9.1.2"),
        Verdict.YELLOW,
        "after a power cut in the middle of a script's writes, what is added next is lost at the following start",
        "Upgrade; until then, after an unclean stop, run redis-check-aof --fix (valkey-check-aof) before the start",
    ),
    KnownBug(
        "CVE-2025-49844",
        "https://github.com/redis/redis/security/advisories/GHSA-4789-qfc9-5f9q",
        _of("redis", "7.0.0-7.2.11", "7.4.0-7.4.6", "8.0.0-8.0.4", "8.2.0-8.2.2")
        + _of("valkey", "7.2.0-7.2.11", "8.0.0-8.0.6", "8.1.0-8.1.4"),
        Verdict.YELLOW,
        "whoever may run scripts can take over the server",
        _UNLESS_PATCHED,
    ),
    KnownBug(
        "CVE-2026-23479",
        "https://github.com/redis/redis/security/advisories/GHSA-93m2-935m-8rj3",
        _of("redis", "7.2.0-7.2.14", "7.4.0-7.4.9", "8.2.0-8.2.6", "8.4.0-8.4.3", "8.6.0-8.6.3"),
        Verdict.YELLOW,
        "a blocked client that is evicted (maxmemory-clients) can crash the server, or worse",
        _UNLESS_PATCHED,
    ),
    KnownBug(
        "CVE-2026-81934",
        "https://www.cve.org/CVERecord?id=CVE-2026-81934",
        _of("redis", "7.0.0-7.2.16", "7.4.0-7.4.11", "8.0.0-8.2.9", "8.4.0-8.4.6", "8.6.0-8.6.6")
        + _of("redis", "8.8.0-8.8.2", "8.10.0-8.10.1"),
        Verdict.YELLOW,
        "whoever reaches the TLS port can take over the server, without a password",
        _UNLESS_PATCHED,
        only="tls",
    ),
    KnownBug(
        "CVE-2025-67733",
        "https://osv.dev/vulnerability/BIT-valkey-2025-67733",
        _of("valkey", "7.2.0-7.2.12", "8.0.0-8.0.7", "8.1.0-8.1.6", "9.0.0-9.0.2"),
        Verdict.YELLOW,
        "whoever may run scripts can forge replies on a shared connection",
        _UNLESS_PATCHED,
    ),
    KnownBug(
        "GHSA-fq2f-crmw-q97r",
        "https://github.com/valkey-io/valkey/releases/tag/9.1.2",
        _of("valkey", "9.1.0-9.1.2"),
        Verdict.YELLOW,
        "whoever reaches the port can crash the server, without a password",
        _UNLESS_PATCHED,
    ),
    KnownBug(
        "redis#13337, redis#13473",
        "https://github.com/redis/redis/issues/13337",
        _of("redis", "7.0.0-7.4.2"),
        Verdict.GREEN,
        "XINFO GROUPS tells a wrong lag after trimming; streamproc does not use it, and neither should an alert",
    ),
    KnownBug(
        "CVE-2025-14847 (SERVER-115508)",
        "https://jira.mongodb.org/browse/SERVER-115508",
        _of("mongodb", "5.0.0-5.0.32", "6.0.0-6.0.27", "7.0.0-7.0.28", "8.0.0-8.0.17", "8.2.0-8.2.3"),
        Verdict.YELLOW,
        "whoever reaches the port can read the server's memory, without a password",
        f"{_UNLESS_PATCHED}. Until it is patched, start it with networkMessageCompressors that name no zlib",
    ),
    KnownBug(
        "CVE-2025-13507 (SERVER-108565)",
        "https://jira.mongodb.org/browse/SERVER-108565",
        _of("mongodb", "7.0.0-7.0.26", "8.0.0-8.0.16", "8.2.0-8.2.1"),
        Verdict.YELLOW,
        "a very large insert into a time-series collection can end the server",
        "Upgrade to MongoDB 7.0.26, 8.0.16, 8.2.1 or newer",
    ),
    KnownBug(
        "CVE-2026-18693 (SERVER-129994)",
        "https://jira.mongodb.org/browse/SERVER-129994",
        _of("mongodb", "7.0.0-7.0.40", "8.0.0-8.0.29", "8.2.0-8.3.8"),
        Verdict.YELLOW,
        "whoever may write to a time-series collection can crash the server, or worse",
        _UNLESS_PATCHED,
    ),
    KnownBug(
        "SERVER-95067",
        "https://jira.mongodb.org/browse/SERVER-95067",
        _of("mongodb", "8.0.0-8.0.4"),
        Verdict.YELLOW,
        "inserts into time-series collections may be batched wrongly (a critical advisory of MongoDB's)",
        "Upgrade to MongoDB 8.0.4 or newer",
    ),
    KnownBug(
        "SERVER-80203",
        "https://jira.mongodb.org/browse/SERVER-80203",
        _of("mongodb", "5.0.6-5.0.22", "6.0.0-6.0.12", "7.0.0-7.0.4"),
        Verdict.YELLOW,
        "where the collection is sharded by metadata, measurements may lie where queries do not find them",
        "Upgrade to MongoDB 5.0.22, 6.0.12, 7.0.4 or newer, and follow the ticket for what is stored",
        only="sharded",
    ),
    KnownBug(
        "SERVER-94559, SERVER-99527",
        "https://jira.mongodb.org/browse/SERVER-99527",
        _of("mongodb", "7.0.0-7.0.16", "8.0.0-8.0.4"),
        Verdict.GREEN,
        "deletes by time damage time-series collections; streamproc deletes by metadata only, and so should you",
    ),
)
