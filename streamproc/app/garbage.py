"""Python's search for cycles of garbage, in processes that handle thousands of objects at a time, without cycles."""

from __future__ import annotations

import gc


def collect_seldom() -> None:
    """Batches and answers are thousands of objects: looking for cycles at every 700 new ones costs a fifth of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
