"""What servers and clients say, as they said it when it was provoked, and what a person is told instead."""

from __future__ import annotations

import pytest
from pymongo import errors as mongo_errors
from redis import exceptions as redis_errors

from streamproc.app.explain import explain, server_of
from streamproc.stores.mongo import failures as mongo
from streamproc.stores.redis import failures as redis

ID = "dana@example.com"

REDIS: list[tuple[Exception, str, str]] = [
    (redis_errors.ConnectionError("Error 111 connecting to h:1. Connect call failed ('h', 1)."), "refused", "Start"),
    (redis_errors.ConnectionError("Error -2 connecting to h:1. Name or service not known."), "name is known", "host"),
    (redis_errors.ConnectionError("Connection closed by server."), "closes the connection", "port"),
    (redis_errors.ConnectionError("Error 1 connecting to h:1. [SSL: WRONG_VERSION_NUMBER] wrong"), "no", "redis://"),
    (redis_errors.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "TLS", "ssl_ca_certs"),
    (redis_errors.ConnectionError("max number of clients reached"), "no connection left", "maxclients"),
    (redis_errors.BusyLoadingError("Redis is loading the dataset in memory"), "loading its data", "answers once"),
    (redis_errors.TimeoutError("Timeout reading from h:1"), "not answer in time", "SLOWLOG"),
    (redis_errors.ReadOnlyError("You can't write against a read only replica."), "replica", "primary"),
    (redis_errors.MasterDownError("Link with MASTER is down"), "replica", "primary"),
    (redis_errors.MovedError("866 127.0.0.1:7001"), "node of a cluster", "REDIS_CLUSTER=true"),
    (redis_errors.ResponseError("MOVED 866 127.0.0.1:7001"), "node of a cluster", "REDIS_CLUSTER=true"),
    (redis_errors.ClusterDownError("CLUSTERDOWN The cluster is down"), "all of its slots", "CLUSTER INFO"),
    (redis_errors.RedisClusterException("Redis Cluster cannot be connected"), "all of its slots", "CLUSTER NODES"),
    (redis_errors.ResponseError("NOREPLICAS Not enough good replicas to write."), "replicas", "min-replicas-to-write"),
    (redis_errors.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), "disk", "space"),
    (redis_errors.ResponseError("unknown command 'EVALSHA', with args beginning with: "), "lacks", "7.0"),
    (redis_errors.NoPermissionError("this user has no permissions to access one of the keys"), "may not", "ACL"),
    (redis_errors.ResponseError("ACL failure in script: User bob has no permissions to run"), "may not", "ACL"),
    (redis_errors.ResponseError("EXECABORT whatever"), "EXECABORT whatever", "log"),
]

MONGODB: list[tuple[Exception, str, str]] = [
    (mongo_errors.AutoReconnect("h:1: [Errno 111] Connection refused"), "refused", "Start"),
    (mongo_errors.ServerSelectionTimeoutError("h:1: [Errno -2] Name or service not known"), "name is known", "host"),
    (mongo_errors.NetworkTimeout("h:1: timed out"), "in time", "tls=true"),
    (mongo_errors.NotPrimaryError("not primary"), "no primary", "rs.status()"),
    (mongo_errors.OperationFailure("Authentication failed.", 18), "user or password", "authSource"),
    (mongo_errors.OperationFailure("Command find requires authentication", 13), "none are given", "MONGODB_URL_FILE"),
    (mongo_errors.OperationFailure("not authorized on dubbing to execute", 13), "may not", "readWrite"),
    (mongo_errors.OperationFailure("available disk space", 14031), "disk is full", "space"),
    (mongo_errors.ConfigurationError("The DNS query name does not exist"), "address", "host"),
    (mongo_errors.OperationFailure("whatever", 9999, {"codeName": "Odd"}), "OperationFailure 9999 Odd", "log"),
]


@pytest.mark.parametrize(("error", "cause", "remedy"), [*REDIS, *MONGODB], ids=lambda one: str(one)[:40])
def test_each_error_has_a_cause_and_a_remedy_in_plain_words(error: Exception, cause: str, remedy: str) -> None:
    found = explain(error)
    assert (cause in found.cause, remedy in found.remedy) == (True, True), found
    assert str(found) == f"{found.cause}. {found.remedy}"
    assert not str(found).endswith(".")


@pytest.mark.parametrize(("error", "expected"), [(REDIS[0][0], "redis"), (MONGODB[0][0], "mongodb")])
def test_an_error_belongs_to_the_server_that_raised_it(error: Exception, expected: str) -> None:
    assert server_of(error) == expected


@pytest.mark.parametrize(
    "error",
    [
        redis_errors.ResponseError(f"Command # 1 (HGETALL p:{{0}}:segment:h:c:s:{ID}) of pipeline caused error: ODD"),
        redis_errors.ResponseError(f"unknown command 'XADD', with args beginning with: 's' '{ID}'"),
        redis_errors.ResponseError(f"ERR odd, with args beginning with: 's' '{ID}'"),
        mongo_errors.BulkWriteError({"writeErrors": [{"op": {"metadata": {"user_id": ID}}}]}),
        mongo_errors.OperationFailure(f"not authorized to execute {{ find: '{ID}' }}", 13),
        mongo_errors.WriteError(ID, 1, {"op": ID}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_explanation_holds_no_id_whatever_the_error_repeats(error: Exception) -> None:
    assert ID in f"{error} {getattr(error, 'details', '')}"
    assert ID not in str(explain(error))


def test_where_only_other_settings_help_waiting_does_not() -> None:
    assert not redis.explain(redis_errors.InvalidResponse("Protocol error")).waiting_helps
    assert not mongo.explain(mongo_errors.AutoReconnect("Message length (1347703880) is larger")).waiting_helps
    assert redis.explain(redis_errors.AuthenticationError("invalid username-password pair")).waiting_helps
