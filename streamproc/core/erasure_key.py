"""What is derived from the erasure key: hashes that recognise an erased user, and the sealed id of a request.

The key (STREAMPROC_ERASURE_KEY) is the one secret of erasures. Who has it can tell whether a given user was erased;
who has not sees hashes that name nobody. Three uses, kept apart so that none tells anything about another:

    hash         HMAC-SHA-256 of the user id, hex: the tombstone in Redis and the name on the receipt
    fingerprint  the same of a text that no user id can be: pods compare it to know that they have one key
    seal         AES-256-GCM under a key derived by HKDF: the id itself, for as long as it may have to be erased again
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

_NONCE_BYTES = 12
# User ids are printable, so this is nobody's.
_FINGERPRINTED = b"\x00streamproc erasure key"
_SEALING = b"streamproc erasure: sealed user id, 1"


class WrongKey(ValueError):
    """A sealed id does not open: it was sealed under another erasure key, or for another hash."""


class ErasureKey:
    """An erasure key.

    Args:
        secret: not empty; the longer and the more random, the less can be guessed from hashes.
    """

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("an erasure key is not empty")
        self._secret = secret.encode()

    def __repr__(self) -> str:
        return f"ErasureKey({self.fingerprint})"

    def hash(self, user_id: str) -> str:
        """The keyed hash of a user id: 64 hex digits."""
        return hmac.new(self._secret, user_id.encode(), hashlib.sha256).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Tells this key from others, and nothing else about it: 16 hex digits."""
        return hmac.new(self._secret, _FINGERPRINTED, hashlib.sha256).hexdigest()[:16]

    def seal(self, user_id: str, nonce: bytes) -> bytes:
        """Encrypt a user id, bound to its hash. `nonce`: 12 random bytes, never used twice."""
        sealed: bytes = self._cipher().encrypt(nonce, user_id.encode(), self.hash(user_id).encode())
        return nonce + sealed

    def unseal(self, sealed: bytes, user_hash: str) -> str:
        """The user id that was sealed.

        Raises:
            WrongKey: this key did not seal it, or not with this hash.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            opened: bytes = self._cipher().decrypt(nonce, encrypted, user_hash.encode())
        except (InvalidTag, ValueError):
            raise WrongKey(
                "the id was sealed under another STREAMPROC_ERASURE_KEY: give this process that one"
            ) from None
        return opened.decode()

    def _cipher(self) -> Any:
        # Loading OpenSSL takes longer than all the rest of most commands, and few of them erase.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

        return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_SEALING).derive(self._secret))
