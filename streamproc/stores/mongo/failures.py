"""What a person is told when MongoDB fails us: https://www.mongodb.com/docs/manual/reference/error-codes/

MongoDB's own words are matched, never repeated: they hold the command or the document, and so a user's id.
"""

from __future__ import annotations

from typing import Final

from pymongo import errors

from streamproc.core.failures import Explanation, Rule, first_fitting

#: What a MongoDB that is away, or refuses us, makes its client raise.
FAILURES: Final = (errors.PyMongoError,)

_URL: Final = "STREAMPROC_MONGODB_URL"
_REFUSED: Final = (errors.OperationFailure,)
_UNREACHED: Final = (errors.ConnectionFailure,)
_UNAUTHORIZED: Final = (13,)

_RULES: Final = (
    Rule(
        _REFUSED,
        "",
        Explanation(
            "it refuses user or password",
            f"Correct them in {_URL} (percent-encode special characters; ?authSource= names the database that the user "
            "was made in), or on the server",
        ),
        codes=(18, 8000),
    ),
    Rule(
        _REFUSED,
        "requires authentication",
        Explanation(
            "it wants a user and a password, and none are given",
            f"Put them into {_URL} (mongodb://user:password@host:port), or into a file that {_URL}_FILE names",
        ),
        codes=_UNAUTHORIZED,
    ),
    Rule(
        _REFUSED,
        "",
        Explanation(
            "its user may not do what streamproc does",
            "Grant it the role readWrite on the database that STREAMPROC_MONGODB_DATABASE names",
        ),
        codes=_UNAUTHORIZED,
    ),
    Rule(_REFUSED, "", Explanation("its disk is full", "Free space on MongoDB's disk"), codes=(14031,)),
    Rule(
        _UNREACHED,
        "SSL handshake|certificate.verify",
        Explanation(
            "no TLS connection comes about",
            f"Take tls=true out of {_URL} if it does not speak TLS; else name its authority with tlsCAFile=/path",
        ),
    ),
    Rule(
        _UNREACHED,
        "Message length|ProtocolError",
        Explanation("what answers there is no MongoDB", f"Correct host and port in {_URL}", waiting_helps=False),
    ),
    Rule(
        _UNREACHED,
        "name or service not known|name resolution|nodename nor servname|no address associated",
        Explanation("no machine of that name is known", f"Correct the host in {_URL}, or mend the name service"),
    ),
    Rule(
        _UNREACHED,
        r"Errno (111|61)\b|refused",
        Explanation("nothing listens there (connection refused)", f"Start MongoDB, or correct {_URL}"),
    ),
    Rule(
        _UNREACHED,
        "replica set|not primary|not master|No primary",
        Explanation(
            "no primary of the replica set can be reached",
            f"See rs.status() on MongoDB, and whether replicaSet= in {_URL} names the set",
        ),
    ),
    Rule(
        (errors.ConnectionFailure, errors.ExecutionTimeout, errors.WTimeoutError),
        "",
        Explanation(
            "it does not answer in time, or cuts the connection",
            f"See that it runs, can be reached from here and is not overloaded, that {_URL} names its port, and says "
            "tls=true if it speaks TLS",
        ),
    ),
    Rule(
        (errors.ConfigurationError, errors.InvalidURI, errors.InvalidName),
        "",
        Explanation(
            "its address does not lead to a server", f"Correct host and options in {_URL}", waiting_helps=False
        ),
    ),
)


def explain(error: BaseException) -> Explanation:
    """Cause and remedy of one of `FAILURES`. Never a password, a document or a user's id."""
    return first_fitting(_RULES, error, str(error)) or Explanation(f"it refused ({_name(error)})", "See its log")


def _name(error: BaseException) -> str:
    details = getattr(error, "details", None) or {}
    parts = (type(error).__name__, getattr(error, "code", None), details.get("codeName"))
    return " ".join(str(part) for part in parts if part)
