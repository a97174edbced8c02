"""What a person is told when Redis fails us: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors

Redis' own words are matched, seldom repeated: redis-py puts the command beside them, with a user's id in its keys.
"""

from __future__ import annotations

import re
from typing import Final

from redis import exceptions as errors

from streamproc.core.failures import Explanation, Rule, first_fitting
from streamproc.stores.redis.connect import EvictsKeys
from streamproc.stores.redis.nodes import SlotUnserved

#: What a Redis that is away, or refuses us, makes its client raise. RedisClusterException is no RedisError: it comes
#: where the URL cannot be that of a cluster.
FAILURES: Final = (errors.RedisError, errors.RedisClusterException)

_URL: Final = "STREAMPROC_REDIS_URL"
_SHOWN_CHARACTERS: Final = 200
_UNREACHED: Final = (errors.ConnectionError, errors.TimeoutError)
_REFUSED: Final = (errors.ResponseError,)
_REFUSED_USER: Final = (errors.AuthenticationError, errors.AuthorizationError, errors.ResponseError)

_USER: Final = (
    Rule(
        _REFUSED_USER,
        "without any password configured",
        Explanation(
            f"it has no password, and {_URL} gives one",
            f"Take the password out of {_URL}, or set one on the server (requirepass, or an ACL)",
        ),
    ),
    Rule(
        _REFUSED_USER,
        "authentication required|NOAUTH",
        Explanation(
            "it wants a password, and none is given",
            f"Put it into {_URL} (redis://user:password@host:port/0, without user redis://:password@host:port/0), or "
            f"into a file that {_URL}_FILE names",
        ),
    ),
    Rule(
        _REFUSED_USER,
        "no permissions?|NOPERM|ACL failure",
        Explanation(
            "its user may not do what streamproc does",
            "Allow it, on Redis: ACL SETUSER <user> on ~<STREAMPROC_PREFIX>:* +@read +@write +@scripting +@connection "
            "+info +time (and in a cluster +cluster|slots)",
        ),
    ),
    Rule(
        (errors.AuthenticationError,),
        "",
        Explanation(
            "it refuses user or password",
            f"Correct them in {_URL} (percent-encode special characters), or on the server",
        ),
    ),
)

_CONNECTION: Final = (
    Rule(
        _UNREACHED,
        "WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|packet length too long",
        Explanation("it does not speak TLS", f"Use redis:// instead of rediss:// in {_URL}", waiting_helps=False),
    ),
    Rule(
        _UNREACHED,
        "certificate.verify",
        Explanation(
            "its TLS certificate is not one that this machine trusts",
            f"Name the authority that signed it: {_URL}=rediss://host:port/0?ssl_ca_certs=/path/to/ca.pem",
        ),
    ),
    Rule(
        _UNREACHED,
        "name or service not known|name resolution|nodename nor servname|no address associated",
        Explanation("no machine of that name is known", f"Correct the host in {_URL}, or mend the name service"),
    ),
    Rule(
        _UNREACHED,
        r"Error (111|61)\b|refused",
        Explanation("nothing listens there (connection refused)", f"Start Redis, or correct {_URL}"),
    ),
    Rule((errors.BusyLoadingError,), "", Explanation("it is still loading its data", "It answers once it has done so")),
    Rule(
        _UNREACHED,
        "max number of clients|too many connections",
        Explanation("it has no connection left", "Raise maxclients on Redis, or run fewer processes"),
    ),
    Rule(
        (errors.TimeoutError,),
        "connecting",
        Explanation(
            "no connection comes about in time",
            f"See that it runs and can be reached from here, and that {_URL} begins with rediss:// only if it speaks "
            "TLS",
        ),
    ),
    Rule(
        (errors.TimeoutError,),
        "",
        Explanation(
            "it does not answer in time",
            "See whether it is frozen, overloaded or busy with a slow command (SLOWLOG GET)",
        ),
    ),
    Rule(
        (errors.InvalidResponse,),
        "",
        Explanation(
            "what answers there is no Redis",
            f"Correct host and port in {_URL}, and begin it with rediss:// if the server speaks TLS",
            waiting_helps=False,
        ),
    ),
    Rule(
        _UNREACHED,
        "",
        Explanation(
            "it closes the connection",
            f"See that it runs, that {_URL} names its port, and begins with rediss:// if it speaks TLS",
        ),
    ),
)

_SERVER: Final = (
    Rule(
        (EvictsKeys,),
        "",
        Explanation(
            "it drops keys when its memory is full (maxmemory-policy), and segments with them",
            "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file",
        ),
    ),
    Rule(
        _REFUSED,
        "used memory|^OOM",
        Explanation(
            "its memory is full, so it refuses writes",
            "Raise maxmemory on Redis, or remove what does not belong there (redis-cli --bigkeys)",
        ),
    ),
    Rule(
        _REFUSED,
        "^MISCONF",
        Explanation(
            "it cannot save to its disk, so it refuses writes",
            "Free space on Redis' disk, or mend the permissions of its directory: its log says which",
        ),
    ),
    Rule(
        (errors.ReadOnlyError, errors.MasterDownError),
        "",
        Explanation("it is a replica, which takes no writes", f"Name the primary in {_URL}"),
    ),
    Rule(
        _REFUSED,
        "NOREPLICAS",
        Explanation("it has too few replicas to take writes", "Bring them back, or lower min-replicas-to-write"),
    ),
    Rule(
        _REFUSED,
        "WRONGTYPE",
        Explanation(
            "a key of streamproc's name holds something of another type, which another program wrote",
            "Find it with redis-cli --scan --pattern '<STREAMPROC_PREFIX>:*' and TYPE, and remove it, or set another "
            "STREAMPROC_PREFIX",
        ),
    ),
    Rule(
        _REFUSED,
        "DB index|SELECT is not allowed",
        Explanation(
            "it has no database of that number", f"Correct the number at the end of {_URL}", waiting_helps=False
        ),
    ),
    Rule(
        _REFUSED,
        "unknown (sub)?command",
        Explanation(
            "it lacks a command that streamproc needs",
            "Use Redis 7.0 or newer, or Valkey 7.2 or newer, with no command renamed or switched off",
            waiting_helps=False,
        ),
    ),
)

_NODE_OF_A_CLUSTER: Final = Explanation(
    "it is a node of a cluster", "Set STREAMPROC_REDIS_CLUSTER=true", waiting_helps=False
)
_CLUSTER: Final = (
    Rule(
        (errors.MovedError, errors.AskError),
        "",
        _NODE_OF_A_CLUSTER,
    ),
    Rule(_REFUSED, "^(MOVED|ASK) |CROSSSLOT", _NODE_OF_A_CLUSTER),
    Rule(
        _REFUSED,
        "cluster support disabled",
        Explanation("it is no cluster", "Set STREAMPROC_REDIS_CLUSTER=false", waiting_helps=False),
    ),
    Rule(
        (SlotUnserved,),
        "^(MOVED|ASK|TRYAGAIN) ",
        Explanation(
            "a slot is on its way to another node, or has just got another master", "It goes on once that is done"
        ),
    ),
    Rule(
        (SlotUnserved,),
        "^UNREACHED ",
        Explanation(
            "the node that has its slot does not answer",
            "It goes on once a replica is promoted, or the node is back: see CLUSTER NODES on Redis",
        ),
    ),
    Rule(
        (SlotUnserved, errors.RedisClusterException, errors.ClusterDownError, errors.ClusterError),
        "",
        Explanation("the cluster does not answer for all of its slots", "See CLUSTER INFO and CLUSTER NODES on Redis"),
    ),
)

_RULES: Final = (*_USER, *_SERVER, *_CLUSTER, *_CONNECTION)


def explain(error: BaseException) -> Explanation:
    """Cause and remedy of one of `FAILURES`. Never a password, a key or a user's id."""
    said = _without_command(str(error))
    unknown = Explanation(
        f"it refused ({type(error).__name__}: {' '.join(said.split())[:_SHOWN_CHARACTERS]})", "See its log"
    )
    return first_fitting(_RULES, error, said) or unknown


def _without_command(said: str) -> str:
    """What the server said, without the command that redis-py (in a pipeline) or Redis put beside it."""
    said = re.sub(r"^Command # \d+ \(.*\) of pipeline caused error: ", "", said, flags=re.DOTALL)
    return re.split(r",? with args beginning with", said, maxsplit=1)[0]
