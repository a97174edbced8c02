"""What every storage of the archive promises, on a folder and on an emulator of Google Cloud Storage.

Two emulators, for neither does all: fake-gcs-server enforces preconditions, gcp-storage-emulator keeps lifecycle rules.
"""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from archiving import folder_url
from gcp_storage_emulator.server import create_server
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.cloud import storage

from streamproc.stores.archive import buckets, objects
from streamproc.stores.archive.failures import ArchiveTrouble, Conflict
from streamproc.stores.archive.objects import RETENTION_DAYS, Objects, open_objects

NAME = "date=2026-11-22/day.parquet"


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
    in_bucket = request.param == "bucket"
    opened = open_objects(request.getfixturevalue("bucket") if in_bucket else folder_url(tmp_path / "archive"))
    yield opened
    opened.close()


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """ARCHIVE_URL of a bucket on the emulator that keeps lifecycle rules."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server: Any = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    storage.Client().create_bucket("kept")
    yield "gs://kept/archive"
    server.stop()


def test_what_is_put_is_read(store: Objects) -> None:
    assert store.read(NAME) is None
    token = store.put(NAME, b"one", None)
    assert store.read(NAME) == (b"one", token)
    assert store.tokens("date=") == {NAME: token}
    assert store.tokens("manifests/") == {}


def test_nobody_overwrites_what_they_have_not_seen(store: Objects) -> None:
    first = store.put(NAME, b"one", None)
    with pytest.raises(Conflict):
        store.put(NAME, b"two", None)
    second = store.put(NAME, b"two", first)
    assert second != first
    with pytest.raises(Conflict):
        store.put(NAME, b"three", first)
    assert store.read(NAME) == (b"two", second)
    store.delete(NAME)
    with pytest.raises(Conflict):
        store.put(NAME, b"three", second)


def test_the_same_bytes_by_somebody_else_count_as_written(store: Objects) -> None:
    """A reply was lost and the request repeated; or two runs wrote the same day."""
    token = store.put(NAME, b"one", None)
    assert store.put(NAME, b"one", None) == token


def test_the_same_bytes_over_what_was_seen_are_a_new_writing(store: Objects) -> None:
    """So whoever saw the old one loses, also where nothing in it changed."""
    token = store.put(NAME, b"one", None)
    assert store.put(NAME, b"one", token) != token


def test_of_many_at_once_one_writes(store: Objects) -> None:
    token, won = store.put(NAME, b"nobody", None), []

    def write(number: int) -> None:
        try:
            store.put(NAME, b"%d" % number, token)
            won.append(number)
        except Conflict:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"%d" % number for number in won] == [store.read(NAME).data]  # type: ignore[union-attr]


def test_deleting_what_is_not_there_is_fine(store: Objects) -> None:
    store.delete(NAME)
    store.put(NAME, b"one", None)
    store.delete(NAME)
    store.delete(NAME)
    assert store.read(NAME) is None


def test_a_writer_that_dies_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_objects(folder_url(tmp_path / "archive"))
    token = store.put(NAME, b"one", None)
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(Path, "replace", lambda *_: os._exit(9))
        store.put(NAME, b"half", token)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert store.read(NAME) == (b"one", token)
    left = store.tokens("incoming/")
    assert len(left) == 1
    store.put(NAME, b"two", token)  # and its lock died with it


# Settings of a bucket


def test_days_are_cold_and_their_years_begin_with_the_day(bucket: str) -> None:
    store = open_objects(bucket)
    day = datetime(2026, 11, 23, tzinfo=UTC)
    store.put(NAME, b"one", None, keep_from=day, cold=True)
    store.put("manifests/2026-11-22.json", b"{}", None, keep_from=day)
    found = {one.name: one for one in storage.Client().list_blobs(bucket.split("/")[2])}
    days, manifest = found[f"archive/{NAME}"], found["archive/manifests/2026-11-22.json"]
    assert (days.storage_class, manifest.storage_class) == ("COLDLINE", "STANDARD")
    assert days.custom_time == manifest.custom_time == day


def test_the_lifecycle_is_set_beside_what_is_there_and_shown(keeping: str) -> None:
    bucket = storage.Client().get_bucket("kept")
    theirs = {"action": {"type": "Delete"}, "condition": {"age": 30, "matchesPrefix": ["logs/"]}}
    bucket.lifecycle_rules = [theirs]
    bucket.patch()
    store = open_objects(keeping)
    before = {one.what: one.good for one in store.shown()}
    assert before["deleted after seven years"] is False
    for _ in range(2):
        store.prepare()
    rules = [dict(rule) for rule in storage.Client().get_bucket("kept").lifecycle_rules]
    kept = ["archive/date=", "archive/manifests/"]
    assert rules == [
        theirs,
        {"action": {"type": "Delete"}, "condition": {"daysSinceCustomTime": RETENTION_DAYS, "matchesPrefix": kept}},
        {"action": {"type": "Delete"}, "condition": {"age": 1, "matchesPrefix": ["archive/incoming/"]}},
    ]
    shown = {one.what: one for one in store.shown()}
    assert shown["deleted after seven years"].good is True
    assert "7 days" in shown["soft delete"].value


# Trouble


@pytest.fixture
def _sockets() -> Iterator[None]:
    """Google's client leaves sockets of refused requests to the garbage collector: here, and not in another test."""
    yield
    gc.collect()


def of_refusals(test: Any) -> Any:
    """A test in which requests are refused."""
    return pytest.mark.filterwarnings("ignore::ResourceWarning")(pytest.mark.usefixtures("_sockets")(test))


def test_a_folder_that_is_not_mounted_is_trouble_and_no_empty_archive(tmp_path: Path) -> None:
    store = open_objects(f"file://{tmp_path}/absent")
    for call in (lambda: store.read(NAME), lambda: store.put(NAME, b"", None), lambda: store.tokens("")):
        with pytest.raises(ArchiveTrouble, match="mkdir -p"):
            call()


@of_refusals
def test_a_bucket_that_is_not_there_is_named(bucket: str) -> None:
    store = open_objects("gs://no-such-bucket-here")
    with pytest.raises(ArchiveTrouble, match="no bucket no-such-bucket-here"):
        store.put(NAME, b"", None)
    with pytest.raises(ArchiveTrouble, match="no bucket no-such-bucket-here"):
        store.tokens("")


@of_refusals
def test_a_storage_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_RETRY", buckets._RETRY.with_timeout(0.1))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(ArchiveTrouble, match="does not answer"):
        open_objects("gs://somewhere").tokens("")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (auth.DefaultCredentialsError("none"), "GOOGLE_APPLICATION_CREDENTIALS"),
        (auth.RefreshError("revoked"), "refuses the credentials"),
        (exceptions.Unauthorized("no"), "refuses the credentials"),
        (
            exceptions.Forbidden("x@y does not have storage.objects.create access to the object date=2026"),
            "lacks storage.objects.create on gs://b. Grant it roles/storage.objectAdmin",
        ),
        (
            exceptions.Forbidden("x@y does not have storage.buckets.update access"),
            "lacks storage.buckets.update on gs://b. Grant it roles/storage.admin",
        ),
        (exceptions.BadRequest("odd"), r"refused \(HTTP 400\)"),
        (exceptions.ServiceUnavailable("later"), "does not answer"),
    ],
)
def test_trouble_names_what_is_missing(error: Exception, told: str) -> None:
    """As Google's client raises it: no emulator checks credentials or permissions."""
    with pytest.raises(ArchiveTrouble, match=told):
        raise buckets._trouble("gs://b", error)


@pytest.mark.parametrize(
    "url",
    [
        "file:///var/archive",
        "file:///var/with%20space",
        "gs://bucket",
        "gs://my-bucket/some/prefix/",
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    objects.check_address(url)


@pytest.mark.parametrize(
    "url",
    [
        *("/var/archive", "file://", "file:///", "file://host/path", "file:///a/../b"),
        *("gs://", "gs://UPPER", "gs://b/a b", "s3://bucket", "gs://user:secret@bucket", "gs://bucket?x=1"),
    ],
)
def test_addresses_that_are_not(url: str) -> None:
    with pytest.raises(ValueError, match="must be file:///absolute/folder or gs://bucket"):
        objects.check_address(url)


# As a server says it


class _Refusing(BaseHTTPRequestHandler):
    """Answers every request with one refusal, in the form of Google's."""

    code = 403
    message = ""

    def _refuse(self) -> None:
        body = orjson.dumps({"error": {"code": self.code, "message": self.message, "errors": []}})
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _refuse  # noqa: N815 - the names of HTTP's methods

    def log_message(self, *_: Any) -> None:
        pass


@of_refusals
@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        (403, "a@b.iam does not have storage.objects.get access to the object.", "lacks storage.objects.get"),
        (401, "Invalid Credentials", "no Google credentials"),  # towards an emulator there are none
        (404, "The specified bucket does not exist.", "no bucket somewhere"),
        (400, "odd", r"refused \(HTTP 400\)"),
    ],
)
def test_a_refusal_names_what_is_missing(code: int, message: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = type("Handler", (_Refusing,), {"code": code, "message": message})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        store = open_objects("gs://somewhere")
        for call in (lambda: store.read(NAME), lambda: store.put(NAME, b"one", None)):
            with pytest.raises(ArchiveTrouble, match=told):
                call()
        store.close()
        server.shutdown()


def test_an_upload_that_breaks_off_is_no_object(bucket: str, bucket_emulator: str) -> None:
    """The client dies with half of the file sent, as its kind of upload sends it."""
    store = open_objects(bucket)
    store.put("before", b"one", None)
    name = bucket.split("/")[2]
    host, port = bucket_emulator.removeprefix("http://").split(":")
    metadata = orjson.dumps({"name": f"archive/{NAME}"}).decode()
    body = f"--cut\r\ncontent-type: application/json\r\n\r\n{metadata}\r\n--cut\r\ncontent-type: text/plain\r\n\r\nhalf"
    head = (
        f"POST /upload/storage/v1/b/{name}/o?uploadType=multipart HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: multipart/related; boundary=cut\r\nContent-Length: {len(body) + 1000}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall((head + body).encode())
    assert list(store.tokens("")) == ["before"]
    assert store.read(NAME) is None
