"""The rows of an answer as CSV (RFC 4180), harmless for spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import Any, Final, get_args, get_type_hints

import msgspec
import orjson

from streamproc.answers.results import Answer

# Text that begins so is a formula to a spreadsheet; the last four are the same signs, full width.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ABOUT: Final = ("channel_id", "session_id", "user_id")
_ROWS: Final = ("segments", "hours", "days")


def rows_of(answer: type[Answer]) -> tuple[str, type[msgspec.Struct]]:
    """Under which name an answer of this type has its rows, and of which type they are."""
    name = next(name for name in _ROWS if name in answer.__struct_fields__)
    return name, get_args(get_type_hints(answer)[name])[0]


def to_csv(answer: Answer) -> str:
    """A line for each row and a column for each of their fields, before them what the answer is about; CRLF.

    The columns are there without rows, too. Tallies are JSON; what is null is empty; times are as in JSON.
    """
    name, row_type = rows_of(type(answer))
    own = row_type.__struct_fields__
    about = {one: getattr(answer, one) for one in _ABOUT if hasattr(answer, one) and one not in own}
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*about, *own])
    for row in getattr(answer, name):
        values = {**about, **msgspec.to_builtins(row)}
        writer.writerow([_cell(values[column]) for column in (*about, *own)])
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Numbers as they are, and text so that no spreadsheet calculates it."""
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
