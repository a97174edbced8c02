"""Rows as CSV (RFC 4180), harmless for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, Final, get_args, get_type_hints

import msgspec
import orjson

# Text that begins so is a formula to a spreadsheet; the last four are the same signs, full width.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ABOUT: Final = ("channel_id", "session_id", "user_id")


def row_type(answer: type, rows: str) -> type[msgspec.Struct]:
    """The type of the rows that an answer has under a name."""
    row: type[msgspec.Struct] = get_args(get_type_hints(answer)[rows])[0]
    return row


def table(answer: msgspec.Struct, rows: str) -> bytes:
    """The rows of an answer as a table: a column for each of their fields, before them what the answer is about."""
    about = {name: getattr(answer, name) for name in _ABOUT if hasattr(answer, name)}
    own = [field.encode_name for field in msgspec.structs.fields(row_type(type(answer), rows))]
    columns = [*(name for name in about if name not in own), *own]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(_cells({**about, **msgspec.to_builtins(row)}, columns) for row in getattr(answer, rows))
    return text.getvalue().encode()


def _cells(row: dict[str, Any], columns: Iterable[str]) -> list[Any]:
    return [_cell(row[column]) for column in columns]


def _cell(value: Any) -> Any:
    """Numbers as they are, nothing as nothing, counts by name as JSON, text so that no spreadsheet calculates it."""
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
