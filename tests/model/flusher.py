"""The flusher: stores due windows in MongoDB, which cannot upsert. Any number of them; each prefix may be repeated."""

from __future__ import annotations

from random import Random

from streamproc.core.revisions import Stored, decide, write_number

from .mongodb import MongoDB
from .shard import Shard, Taken
from .steps import Role, Trouble


class Flusher:
    def __init__(self, shard: Shard, mongodb: MongoDB, rng: Random) -> None:
        self._shard = shard
        self._mongodb = mongodb
        self._rng = rng

    def run_once(self) -> Role:
        """Flush some due windows. Returns whether there are none."""
        taken: Taken | None = yield (self._shard.take_due,)
        if taken is None or not taken.windows:
            return True
        inserted: dict[object, Stored] = {}
        try:
            # In this order: should Redis fail over in between, then what is known is older than what is held.
            known = yield self._mongodb.look_up, taken.windows
            held = yield self._shard.fetch, taken.windows
            decisions = {}
            for window, segments in held.items():
                revision, digest = len(segments), " ".join(sorted(segments))
                decision = decisions[window] = decide(revision, digest, known[window])
                if decision.insert:
                    write = write_number(taken.now_ms, self._rng.getrandbits(20), known[window])
                    inserted[window] = Stored(window, revision, write, digest)
            for document in inserted.values():
                yield self._mongodb.insert, document
            # Now a higher one is known to be stored.
            for decision in decisions.values():
                for lower in decision.obsolete:
                    yield self._mongodb.delete, lower
        except Trouble:
            yield self._shard.give_back, taken
            raise
        revisions = {window: len(held.get(window, ())) for window in taken.windows}
        verdicts = yield self._shard.finish, revisions, taken
        for window, verdict in verdicts.items():
            if verdict == "erased" and window in inserted:
                yield self._mongodb.delete, inserted[window]
        return False
