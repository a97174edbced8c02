"""A world in which a test says what happens, call by call, instead of a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from streamproc.core.erasures import Erasure, State

from .clock import START_MS
from .crew import Crew
from .faults import Act, Call, Fate, run
from .redis_under_faults import Rewrite, Server
from .world import Policies, World

USER: Final = "dana"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stage:
    """A world with its group made, and verbs for a story.

    Segments are of the window that starts when the clock does (at 0 ms), ends at 10 s, is due at 11 s and takes late
    events until 40 s; `publish` says otherwise by `at_ms`.
    """

    def __init__(
        self,
        server: Server,
        rewrites: Mapping[str, Rewrite] | None = None,
        policies: Policies | None = None,
        shards: int = 1,
    ) -> None:
        self.world = World(server, Random(1), rewrites=rewrites, policies=policies, shards=shards)
        run(self.world.stream("first").ensure_group())

    # What others do

    def publish(self, *segments: str, session: str = "s-1", at_ms: int = 5_000) -> None:
        self.world.publish(*(_event(segment, session, at_ms) for segment in segments))

    def at(self, ms: int) -> None:
        """It is so many milliseconds after the start."""
        self.world.clock.advance_to(START_MS + ms)

    # What roles do

    def count(self, *segments: str, session: str = "s-1", at_ms: int = 5_000) -> None:
        """Publish segments, and count all there is."""
        self.publish(*segments, session=session, at_ms=at_ms)
        consumer = self.world.consumer("counts")
        while run(consumer.run_once()):
            pass

    def flush(self) -> None:
        while run(self.world.flusher().run_once()):
            pass

    def keep_house(self) -> None:
        run(self.world.janitor().run_once())

    def ask(self) -> Erasure:
        """Somebody asks that the user of all these segments be erased."""
        return run(self.world.eraser().request(USER))

    def advance(self, erasure: Erasure, fate_of: Callable[[Call], Fate] = lambda _: Fate.ARRIVES) -> Erasure:
        """The next step of an erasure, if it is time."""
        return run(self.world.eraser().advance(erasure), fate_of)

    def wait_for_flushes(self) -> None:
        """Until one that is under way must have ended."""
        self.world.clock.advance(self.world.policies.erase.flush_visibility_ms)

    def erase(self) -> None:
        """Ask, and take both steps."""
        erasure = self.advance(self.ask())
        self.wait_for_flushes()
        assert self.advance(erasure).state is State.COMPLETE

    def look_after_erasures(self) -> None:
        run(self.world.eraser().run_once())

    def consuming(self, name: str = "consumer") -> Act:
        """A consumer at work on one batch."""
        return Act(self.world.consumer(name).run_once())

    def flushing(self) -> Act:
        """A flusher at work on one batch."""
        return Act(self.world.flusher().run_once())

    # How it ends

    def settle(self) -> list[str]:
        """Let everything come to rest. Returns what is wrong then; empty means exact."""
        crew = Crew(self.world)
        crew.store()
        found = self.world.unlike_redis()
        crew.forget()
        crew.store()
        crew.forget()
        crew.sweep()
        return found + self.world.differences()


def _event(segment: str, session: str, at_ms: int) -> dict[str, Any]:
    return {
        "segment_id": segment,
        "channel_id": "kan-11",
        "session_id": session,
        "user_id": USER,
        "received_at": _EPOCH + timedelta(milliseconds=START_MS + at_ms),
        "extraction_ms": 45.25,
        "dubbing_ms": 1100.5,
        "reinsertion_ms": 55,
        "source_language": "he",
        "target_language": "en",
    }
