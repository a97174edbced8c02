"""What is to become of each entry of a batch: judged from the entry alone, so that every pod judges alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from streamproc.core.windows import WindowKey

from .settings import WINDOWING
from .steps import Died

#: Milliseconds when it was added, and a number that makes it unique. Redis gives it; ids grow.
EntryId = tuple[int, int]
NO_ID: Final[EntryId] = (0, 0)


class Event(NamedTuple):
    """What a producer tells of one segment. `flaw`: "malformed", or "deadly" to whoever tries to plan it."""

    segment: str
    session: str
    user: str
    received_ms: int
    flaw: str = ""

    @property
    def window(self) -> WindowKey:
        return WindowKey(WINDOWING.start_of(self.received_ms), "channel", self.session, self.user)


class Delivered(NamedTuple):
    """An entry as it was read; `event` None if a stranger has deleted it. `deliveries` is told of what was claimed."""

    entry_id: EntryId
    event: Event | None
    deliveries: int = 1


class Batch(NamedTuple):
    """Entries read together, and Redis' time."""

    entries: list[Delivered]
    now_ms: int


class Letter(NamedTuple):
    """An entry that becomes a dead letter."""

    entry_id: EntryId
    reason: str
    event: Event


class Group(NamedTuple):
    """The entries of one window: the low watermark at which it is due if one of them counts; their ids and segments."""

    due_ms: int
    entries: list[tuple[EntryId, str]]


class Plan(NamedTuple):
    """Every entry of a batch is in one of the three."""

    windows: dict[WindowKey, Group]
    dead: list[Letter]
    lost: list[EntryId]


def plan(entries: Iterable[Delivered], now_ms: int) -> Plan:
    """`now_ms`: Redis' time at or after the read."""
    windows: dict[WindowKey, Group] = {}
    dead: list[Letter] = []
    lost: list[EntryId] = []
    for entry_id, event, _ in entries:
        if event is None:
            lost.append(entry_id)
        elif event.flaw:
            dead.append(_flawed(entry_id, event))
        else:
            added_ms = min(entry_id[0], now_ms)  # when it came, not when somebody got to it
            window = event.window
            if event.received_ms > added_ms + WINDOWING.future_ms:
                dead.append(Letter(entry_id, "future", event))
            elif added_ms > WINDOWING.late_until(window.start_ms):
                dead.append(Letter(entry_id, "too_late", event))
            else:
                due_ms = WINDOWING.due_at(window.start_ms, added_ms)
                before = windows.get(window, Group(due_ms, []))
                windows[window] = Group(min(due_ms, before.due_ms), [*before.entries, (entry_id, event.segment)])
    return Plan(windows, dead, lost)


def _flawed(entry_id: EntryId, event: Event) -> Letter:
    if event.flaw == "deadly":
        raise Died(event)
    return Letter(entry_id, "malformed", event)
