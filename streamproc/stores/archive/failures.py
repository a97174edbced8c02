"""What a person is told when the archive's storage fails us. It loads nothing heavy: every process may import it."""

from __future__ import annotations

from streamproc.core.failures import Explanation

#: What to install, where a library is missing.
EXTRA = "pip install 'streamproc[archive]'"


class ArchiveTrouble(Exception):
    """The storage is away, or refuses us. Nothing half is left behind: repeat when it is mended.

    Attributes:
        explanation: cause and remedy, without object contents and without a user's id.
    """

    def __init__(self, cause: str, remedy: str, *, waiting_helps: bool = True) -> None:
        self.explanation = Explanation(cause, remedy, waiting_helps)
        super().__init__(str(self.explanation))


class LibraryMissing(ArchiveTrouble):
    """A library of the extra `archive` is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the archive needs {name}, which is not installed", EXTRA, waiting_helps=False)


class Conflict(Exception):
    """Somebody else wrote the object since it was read, so it was left as it is: read again, and decide again."""


#: What an archive that is away, or refuses us, makes its caller raise.
FAILURES = (ArchiveTrouble,)
