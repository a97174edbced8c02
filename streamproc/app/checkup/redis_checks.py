"""Is this Redis, or Valkey, one that may be trusted with the segments of a day?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from streamproc.app.checkup.diagnosis import Check, Diagnosis, red, unknown, yellow
from streamproc.app.checkup.known_bugs import BUGS, check_bugs
from streamproc.app.checkup.redis_facts import NodeFacts

_SLOW_MS: Final = 100.0
_TIGHT, _FULL = 0.75, 0.9
_STEP: Final = 1024
_TOLD_S: Final = 1  # how often a replica says how far it is

REACHED = Check(
    "answers",
    "the server answers, and takes user and password",
    away=red("it does not answer, or refuses user or password", "{remedy}"),
    slow=yellow(
        f"the quickest of a few answers took over {_SLOW_MS:.0f} ms",
        "Run streamproc near Redis; look for slow commands with SLOWLOG GET, and at the machine's load",
    ),
)
CLUSTER = Check(
    "cluster mode",
    "STREAMPROC_REDIS_CLUSTER says what the server is",
    is_cluster=red(
        "the server is part of a cluster, and the setting says it is not", "Set STREAMPROC_REDIS_CLUSTER=true"
    ),
    is_single=red("the setting says cluster, and the server is none", "Set STREAMPROC_REDIS_CLUSTER=false"),
)
INFORMED = Check(
    "information",
    "the server tells how it is",
    hidden=unknown(
        "the user may not run INFO: version, memory, persistence and replicas cannot be seen",
        "Allow it, on Redis: ACL SETUSER <user> +info",
    ),
)
VERSION = Check(
    "version",
    "Redis 7.0 or newer, or Valkey 7.2 or newer",
    old=red("an older one", "Upgrade the server"),
)
PERMITTED = Check(
    "permissions",
    "the user may run what workers run",
    denied=red(
        "it may not", "Allow it, on Redis: ACL SETUSER <user> ~<STREAMPROC_PREFIX>:* {allowed}; then run doctor again"
    ),
    hidden=unknown(
        "the user may not run scripts, so it cannot be asked; workers cannot run without them either",
        "Allow it, on Redis: ACL SETUSER <user> +@scripting",
    ),
)
ROLE = Check(
    "role",
    "a primary, which takes writes",
    replica=red(
        "a replica", "Let STREAMPROC_REDIS_URL name the primary, or an address that follows it after a failover"
    ),
    loading=red("it is still loading its data", "Wait until it has done so, then run doctor again"),
)
EVICTION = Check(
    "eviction",
    "a full server refuses producers, and never drops segments",
    evicts=red(
        "maxmemory-policy is not noeviction",
        "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file. Share it with no cache",
    ),
    hidden=unknown("the server does not tell", "See to it where the server is managed: it must be noeviction"),
)
MEMORY = Check(
    "memory",
    f"a limit is set, and less than {_TIGHT:.0%} of it is used",
    unlimited=yellow(
        "no maxmemory: where the machine's memory ends, the system kills the server",
        "Set maxmemory below the machine's memory (half of it, where it takes snapshots)",
    ),
    tight=yellow(f"over {_TIGHT:.0%} is used", "Raise maxmemory, or lower STREAMPROC_LATE_HORIZON_SECONDS"),
    full=red(
        f"over {_FULL:.0%} is used: producers are about to be refused",
        "Raise maxmemory now. See that MongoDB answers and windows are stored: what is not stored is kept",
    ),
)
PERSISTENCE = Check(
    "persistence",
    "the append-only file is on, and synced at least every second",
    off=red(
        "neither append-only file nor snapshots: a restart loses all segments that it holds",
        "CONFIG SET appendonly yes, and the same in its configuration file",
    ),
    snapshots=yellow(
        "snapshots only: a crash loses what was added since the last",
        "CONFIG SET appendonly yes, and the same in its configuration file. Where that cannot be had: a replica",
    ),
    unsynced=yellow(
        "appendfsync is no: a power cut loses what the system had not written yet (some 30 s)",
        "CONFIG SET appendfsync everysec, and the same in its configuration file",
    ),
    hidden=unknown(
        "the append-only file is on; how it is synced cannot be seen",
        "Allow CONFIG GET, or see to it where the server is configured: appendfsync must be everysec or always",
    ),
)
WRITTEN = Check(
    "disk",
    "what was last written to disk was written",
    failing=red(
        "the last write to the append-only file failed, or the last snapshot, and writes are refused (MISCONF)",
        "See to the disk of Redis: is it full, may it write there? Its log says why. It takes writes again by itself",
    ),
    snapshot=yellow("the last snapshot or rewrite failed", "See to the disk of Redis: is it full? Its log says why"),
)
REPLICAS = Check(
    "replicas",
    "those there are keep up; none at all is a choice",
    behind=red(
        "one is not in sync, or further behind than STREAMPROC_LATE_QUIET_SECONDS: a failover now would lose events",
        "See to the replica and the network to it: its log says why. Do not fail over before it has caught up",
    ),
    unguarded=yellow(
        "there are some, and min-replicas-to-write is 0: a primary cut off goes on taking what a failover loses",
        "CONFIG SET min-replicas-to-write 1, and the same in its configuration file",
    ),
    hidden=unknown(
        "there are some; min-replicas-to-write cannot be seen",
        "Allow CONFIG GET, or see to it where the server is configured: it should be 1 or more",
    ),
)
CHECKS: Final = (
    REACHED, VERSION, BUGS, CLUSTER, INFORMED, PERMITTED, ROLE, EVICTION, MEMORY, PERSISTENCE, WRITTEN, REPLICAS,
)  # fmt: skip


def check_node(node: NodeFacts, *, late_quiet_s: float, circumstances: Collection[str] = ()) -> Iterator[Diagnosis]:
    """Everything that one server tells of itself."""
    yield _reached(node)
    yield _permitted(node)
    if node.info is None:
        yield INFORMED.trouble("hidden", "INFO is not permitted")
        return
    yield from check_bugs(node.product, node.version, circumstances)
    info = node.info
    yield _role(info)
    yield _eviction(info)
    yield _memory(info)
    yield _persistence(node, info)
    yield _written(node, info)
    yield _replicas(node, info, late_quiet_s)


def check_cluster(*, is_cluster: bool, expected: bool) -> Diagnosis:
    found = "part of a cluster" if is_cluster else "no cluster"
    if is_cluster == expected:
        return CLUSTER.ok(f"{found}, as set")
    return CLUSTER.trouble("is_cluster" if is_cluster else "is_single", f"the server is {found}")


def _reached(node: NodeFacts) -> Diagnosis:
    found = f"{node.product if node.info else 'it'} answers in {node.answer_ms:.1f} ms"
    return REACHED.ok(found) if node.answer_ms < _SLOW_MS else REACHED.trouble("slow", found)


def _permitted(node: NodeFacts) -> Diagnosis:
    if node.denied is None:
        return PERMITTED.trouble("hidden", "scripts are not permitted")
    if node.denied:
        allowed = " ".join(f"+{command.lower().replace(' ', '|')}" for command in node.denied)
        return PERMITTED.trouble("denied", f"denied, or not for these keys: {', '.join(node.denied)}", allowed=allowed)
    return PERMITTED.ok("everything that workers run is permitted")


def _role(info: Any) -> Diagnosis:
    if info.get("loading"):
        return ROLE.trouble("loading", "it is loading its data")
    if info.get("role") != "master":
        return ROLE.trouble("replica", f"a replica of {info.get('master_host')}:{info.get('master_port')}")
    return ROLE.ok("a primary")


def _eviction(info: Any) -> Diagnosis:
    policy = info.get("maxmemory_policy")
    if policy is None:
        return EVICTION.trouble("hidden", "INFO does not tell")
    if policy == "noeviction":
        return EVICTION.ok("maxmemory-policy noeviction")
    return EVICTION.trouble("evicts", f"maxmemory-policy {policy}: a full server drops segments without a word")


def _memory(info: Any) -> Diagnosis:
    used, limit, machine = info["used_memory"], info.get("maxmemory", 0), info.get("total_system_memory", 0)
    share = used / (limit or machine or used)
    of = f"of {_size(limit)} (maxmemory)" if limit else f"of the machine's {_size(machine)}, and no maxmemory"
    found = f"{_size(used)} used {of}: {share:.1%}"
    if share > _TIGHT or not limit:
        return MEMORY.trouble("full" if share > _FULL else "tight" if limit else "unlimited", found)
    return MEMORY.ok(found)


def _persistence(node: NodeFacts, info: Any) -> Diagnosis:
    if not info.get("aof_enabled"):
        if node.config.get("save", "unseen"):
            return PERSISTENCE.trouble("snapshots", "the append-only file is off")
        return PERSISTENCE.trouble("off", "append-only file and snapshots are off")
    synced = node.config.get("appendfsync")
    if synced is None:
        return PERSISTENCE.trouble("hidden", "append-only file on; appendfsync unseen, as CONFIG GET is not permitted")
    found = f"append-only file on, appendfsync {synced}"
    return PERSISTENCE.trouble("unsynced", found) if synced == "no" else PERSISTENCE.ok(found)


def _written(node: NodeFacts, info: Any) -> Diagnosis:
    states = {
        "write to the append-only file": info.get("aof_last_write_status", "ok"),
        "snapshot": info.get("rdb_last_bgsave_status", "ok"),
        "rewrite of the append-only file": info.get("aof_last_bgrewrite_status", "ok"),
    }
    failed = [what for what, state in states.items() if state != "ok"]
    if not failed:
        return WRITTEN.ok("the last writes to disk succeeded")
    stops = node.config.get("stop-writes-on-bgsave-error", "yes") == "yes" and node.config.get("save", "unseen") != ""
    refuses = "write to the append-only file" in failed or ("snapshot" in failed and stops)
    return WRITTEN.trouble("failing" if refuses else "snapshot", f"failed: the last {', the last '.join(failed)}")


def _replicas(node: NodeFacts, info: Any, late_quiet_s: float) -> Diagnosis:
    replicas = [info[f"slave{number}"] for number in range(info.get("connected_slaves", 0))]
    if not replicas:
        return REPLICAS.ok("none: if this machine's disk is lost, so are the segments that only Redis holds")
    listed = ", ".join(f"{one['ip']}:{one['port']} {one['state']}, {one.get('lag', '?')} s behind" for one in replicas)
    allowed_s = max(late_quiet_s, _TOLD_S)
    if any(one["state"] != "online" or one.get("lag", 0) > allowed_s for one in replicas):
        return REPLICAS.trouble("behind", listed)
    wanted = node.config.get("min-replicas-to-write")
    if wanted is None:
        return REPLICAS.trouble("hidden", listed)
    found = f"{listed}; min-replicas-to-write {wanted}"
    return REPLICAS.trouble("unguarded", found) if wanted == "0" else REPLICAS.ok(found)


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < _STEP:
            return f"{number:.0f} {unit}"
        number /= _STEP
    return f"{number:.1f} GiB"
