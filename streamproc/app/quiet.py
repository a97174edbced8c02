"""Faust tells of every service that starts and stops; what a person needs is said by ours."""

from __future__ import annotations

import logging

from mode import Service


class QuietService(Service):
    """A service that starts and stops without a word, whatever the log level: only errors of Faust's are told."""

    abstract = True
    logger = logging.getLogger("faust.services")
