"""What every command does first: read the settings, set up the log."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click
import orjson

from streamproc.app.settings import InvalidSettings, Settings


class _JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def load_settings(**overrides: Any) -> Settings:
    """The settings, or a usage error that names what is wrong."""
    try:
        return Settings.load(**overrides)
    except InvalidSettings as error:
        raise click.UsageError(str(error)) from None


def set_up_log(settings: Settings) -> None:
    """Log to standard error, one line per thing worth knowing. Faust's own progress is not."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("faust", "mode", "aiohttp", "asyncio", "pymongo"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
