"""The archive in a bucket of Google Cloud Storage.

An upload is one request, checked by the server against its CRC32C, and atomic: an interrupted one leaves nothing.
Every write names the generation that it replaces (https://cloud.google.com/storage/docs/request-preconditions); that
also makes its repetition safe. Days are of class Coldline. Their seven years count from the day itself, not from when
their file was last written: that is `customTime`, by which the lifecycle rule goes.

Credentials are Google's own to find (https://cloud.google.com/docs/authentication/application-default-credentials),
and STORAGE_EMULATOR_HOST names an emulator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import requests
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from streamproc.stores.archive.failures import ArchiveTrouble, Conflict
from streamproc.stores.archive.objects import RETENTION_DAYS, Held, Shown, Token

_COLD: Final = "COLDLINE"
_TIMEOUT_S: Final = (5, 30)  # to connect, to be answered
_RETRY: Final = DEFAULT_RETRY.with_timeout(20)
_STAGED_DAYS: Final = 1


class BucketObjects:
    """Objects of a bucket, below a prefix ('': none)."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._name = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.address = f"gs://{bucket}/{prefix}".rstrip("/")
        self._opened: Any = None

    def read(self, name: str) -> Held | None:
        with self._explained():
            blob = self._blob(name)
            try:
                data = blob.download_as_bytes(timeout=_TIMEOUT_S, retry=_RETRY, checksum="crc32c")
            except exceptions.NotFound as error:
                self._require_bucket(error)
                return None
            if blob.generation is None:  # not every server says so with the data
                blob.reload(timeout=_TIMEOUT_S, retry=_RETRY)
            return Held(data, str(blob.generation))

    def put(
        self, name: str, data: bytes, expected: Token | None, *, keep_from: datetime | None = None, cold: bool = False
    ) -> Token:
        with self._explained():
            blob = self._blob(name)
            if cold:
                blob.storage_class = _COLD
            if keep_from is not None:
                blob.custom_time = keep_from
            try:
                blob.upload_from_string(
                    data,
                    content_type="application/octet-stream",
                    if_generation_match=0 if expected is None else int(expected),
                    checksum="crc32c",
                    timeout=_TIMEOUT_S,
                    retry=_RETRY,
                )
            except exceptions.PreconditionFailed:
                # A reply may have been lost on the way, and the request repeated: then what is there is ours.
                found = self.read(name)
                if found is not None and found.data == data:
                    return found.token
                raise Conflict(name) from None
            return str(blob.generation)

    def path(self, name: str) -> Path | None:  # noqa: ARG002
        return None

    def delete(self, name: str) -> None:
        with self._explained():
            try:
                self._blob(name).delete(timeout=_TIMEOUT_S, retry=_RETRY)
            except exceptions.NotFound as error:
                self._require_bucket(error)

    def tokens(self, prefix: str) -> dict[str, Token]:
        with self._explained():
            listed = self._bucket().list_blobs(
                prefix=f"{self._prefix}{prefix}",
                fields="items(name,generation),nextPageToken",
                timeout=_TIMEOUT_S,
                retry=_RETRY,
            )
            return {blob.name.removeprefix(self._prefix): str(blob.generation) for blob in listed}

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def prepare(self) -> None:
        """Add our lifecycle rules to those of the bucket. Needs storage.buckets.update."""
        with self._explained():
            bucket = self._settings()
            rules = [dict(rule) for rule in bucket.lifecycle_rules]
            missing = [rule for rule in self._rules() if rule not in rules]
            if missing:
                bucket.lifecycle_rules = [*rules, *missing]
                bucket.patch(if_metageneration_match=bucket.metageneration, timeout=_TIMEOUT_S, retry=_RETRY)

    def shown(self) -> Sequence[Shown]:
        """Needs storage.buckets.get."""
        with self._explained():
            bucket = self._settings()
        rules = [dict(rule) for rule in bucket.lifecycle_rules]
        days, staged = (rule in rules for rule in self._rules())
        soft = int((bucket._properties.get("softDeletePolicy") or {}).get("retentionDurationSeconds", 0))
        to_set = "not set: `streamproc archive run --prepare` sets it"
        return [
            Shown("storage", f"bucket {self._name}, class of days {_COLD}"),
            Shown("deleted after seven years", f"{RETENTION_DAYS} days after the day" if days else to_set, days),
            Shown("unfinished files deleted", f"after {_STAGED_DAYS} day" if staged else to_set, staged),
            Shown(
                "object versions",
                "kept: erased rows stay in them" if bucket.versioning_enabled else "not kept",
                not bucket.versioning_enabled,
            ),
            Shown(
                "soft delete",
                f"{soft // 86_400} days: so long erased rows can be restored" if soft else "off",
                None if soft else True,
            ),
        ]

    def _rules(self) -> list[dict[str, Any]]:
        """https://cloud.google.com/storage/docs/lifecycle"""
        delete = {"type": "Delete"}
        kept = [f"{self._prefix}date=", f"{self._prefix}manifests/"]
        return [
            {"action": delete, "condition": {"daysSinceCustomTime": RETENTION_DAYS, "matchesPrefix": kept}},
            {"action": delete, "condition": {"age": _STAGED_DAYS, "matchesPrefix": [f"{self._prefix}incoming/"]}},
        ]

    def _settings(self) -> Any:
        return self._client().get_bucket(self._name, timeout=_TIMEOUT_S, retry=_RETRY)

    def _client(self) -> Any:
        if self._opened is None:
            self._opened = storage.Client()
        return self._opened

    def _bucket(self) -> Any:
        return self._client().bucket(self._name)

    def _blob(self, name: str) -> Any:
        return self._bucket().blob(f"{self._prefix}{name}")

    def _require_bucket(self, error: Exception) -> None:
        """An object that is not there is no trouble; a bucket that is not there is."""
        if "bucket does not exist" in str(error).lower():
            raise _no_bucket(self._name) from None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except exceptions.NotFound:
            raise _no_bucket(self._name) from None
        except (exceptions.GoogleAPIError, auth.GoogleAuthError, requests.RequestException, OSError) as error:
            raise _trouble(self.address, error) from None


def _no_bucket(name: str) -> ArchiveTrouble:
    return ArchiveTrouble(
        f"there is no bucket {name}",
        f"Make it (gcloud storage buckets create gs://{name}), or correct STREAMPROC_ARCHIVE_URL",
    )


def _trouble(address: str, error: Exception) -> ArchiveTrouble:
    """Cause and remedy. Google's words are matched, never repeated."""
    if isinstance(error, auth.DefaultCredentialsError):
        return ArchiveTrouble(
            "there are no Google credentials",
            "Let GOOGLE_APPLICATION_CREDENTIALS name a service account's key file, or run under a service account "
            "(gcloud auth application-default login on a desk)",
        )
    if isinstance(error, (auth.RefreshError, exceptions.Unauthorized)):
        return ArchiveTrouble(
            "Google refuses the credentials",
            "See that the service account exists, that its key is not revoked, and that the clock is right",
        )
    if isinstance(error, exceptions.Forbidden):
        missing = re.search(r"storage\.[a-z]+\.[a-zA-Z]+", str(error))
        permission = missing[0] if missing else "a permission"
        role = "roles/storage.admin" if ".buckets." in permission else "roles/storage.objectAdmin"
        return ArchiveTrouble(f"the service account lacks {permission} on {address}", f"Grant it {role} on the bucket")
    if isinstance(error, exceptions.GoogleAPIError) and not isinstance(error, exceptions.RetryError):
        code = getattr(error, "code", None)
        number = int(code) if code else 0
        if number and number not in (408, 429) and number < 500:  # noqa: PLR2004 - HTTP's numbers
            return ArchiveTrouble(f"{address} refused (HTTP {number})", "See the bucket's settings and policies")
    return ArchiveTrouble(
        f"{address} does not answer ({type(error).__name__})", "See that Google Cloud Storage can be reached from here"
    )
