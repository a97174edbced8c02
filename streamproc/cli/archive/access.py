"""What the archive's commands share: options, the way to servers and storage, and words for a day."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Any, Final, NamedTuple, TypeVar

import click

from streamproc.app.archiving import Archiving, make_archiving, open_archive
from streamproc.app.connections import Connections
from streamproc.app.settings import PREFIX, Settings
from streamproc.cli.session import explained, interruptible, load_settings, set_up_log
from streamproc.roles.archive_inspector import Day
from streamproc.stores.archive.days import Archive, Damaged

T = TypeVar("T")
_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Day(click.ParamType):
    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").date()
        except ValueError:
            self.fail(f"{value!r} is no day like 2026-11-22", param, ctx)


DAY: Final = _Day()
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


class Reached(NamedTuple):
    """Servers and storage, as long as a command runs."""

    connections: Connections
    archiving: Archiving


def run_with_servers(work: Callable[[Reached], Awaitable[T]], unfinished: str = "") -> T:
    """Do something with the archive and the servers it is made from, and say what failed in a person's words.

    Args:
        unfinished: what a failure leaves undone.
    """
    settings = _settings()
    with explained(settings, unfinished), damage_told():
        return interruptible(_reach(work, settings))


def run_on_archive(work: Callable[[Archive], T]) -> T:
    """Do something with the archive alone: no other server need be there."""
    settings = _settings()
    with explained(settings), damage_told():
        archive = open_archive(settings)
        assert archive is not None  # noqa: S101 - for the type checker: its address is set
        try:
            return work(archive)
        finally:
            archive.objects.close()


class damage_told:  # noqa: N801 - a context manager that reads as one
    """Turn a damaged archive into one message."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if isinstance(error, Damaged):
            raise click.ClickException(f"the archive is damaged: {error}. See `streamproc archive verify`") from None


def day_data(day: Day) -> dict[str, Any]:
    """A day for JSON."""
    return {
        "day": day.day.isoformat(),
        "state": str(day.state),
        "detail": day.detail,
        "written": day.written,
        "rows": day.rows,
        "bytes": day.size_bytes,
    }


def day_line(day: Day) -> str:
    """A day for people."""
    size = f"{day.rows:>8,} rows {day.size_bytes:>12,} bytes" if day.rows else ""
    return f"{day.day}  {day.state:<8} {size}{f'  {day.detail}' if day.detail else ''}".rstrip()


def _settings() -> Settings:
    settings = load_settings()
    set_up_log(settings)
    if not settings.archive_url:
        raise click.UsageError(
            f"{PREFIX}ARCHIVE_URL is not set: name a folder (file:///var/archive) or a bucket (gs://bucket/prefix)"
        )
    return settings


async def _reach(work: Callable[[Reached], Awaitable[T]], settings: Settings) -> T:
    connections = Connections(settings)
    try:
        archiving = make_archiving(connections)
        assert archiving is not None  # noqa: S101 - for the type checker: its address is set
        try:
            await connections.check_layout()
            await connections.check_mongodb()
            return await work(Reached(connections, archiving))
        finally:
            archiving.archive.objects.close()
    finally:
        await connections.close()
