"""Faust tells of every service that starts and stops; what a person needs is said by ours."""

from __future__ import annotations

from mode import Service


class QuietService(Service):
    """A service that starts and stops without a word."""

    abstract = True
    mundane_level = "debug"
