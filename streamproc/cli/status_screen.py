"""What a person sees of an overview: on 80 columns, what matters first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamproc.answers.overview_results import Overview, ServerState, ShardState, Trouble, WorkerState
from streamproc.core.ledger import LEDGER_TERMS
from streamproc.core.words import duration, short

_WORKERS: Final = 12
_SHARDS: Final = 12
_CHANNELS: Final = 8
_COLOURS: Final = {"healthy": "green", "degraded": "yellow", "down": "red", "warning": "yellow", "critical": "red"}


def screen(seen: Overview) -> RenderableType:
    """One screen."""
    parts: list[RenderableType] = [_verdict(seen)]
    if seen.troubles:
        parts += ["", _troubles(seen.troubles)]
    parts += ["", _servers(seen)]
    if seen.workers:
        parts += ["", *_workers(seen)]
    if seen.shards:
        parts += ["", *_shards(seen), *_flush(seen), "", _ledger(seen.shards)]
    if seen.live.channels:
        parts += ["", *_live(seen)]
    return Group(*parts)


def _verdict(seen: Overview) -> Text:
    said = Text().append(seen.verdict, style=f"bold {_COLOURS[seen.verdict]}")
    for severity in ("critical", "warning"):
        number = sum(trouble.severity == severity for trouble in seen.troubles)
        if number:
            said.append(
                f", {number} {severity if severity == 'critical' or number == 1 else 'warnings'}", style="default"
            )
    return said.append(f"   {seen.at:%Y-%m-%d %H:%M:%S} UTC", style="dim")


def _troubles(troubles: Sequence[Trouble]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=8)
    grid.add_column()
    for trouble in troubles:
        grid.add_row(Text(trouble.severity, style=_COLOURS[trouble.severity]), Text(f"{trouble.message}."))
        grid.add_row("", Text(f"-> {trouble.remedy}.", style="dim"))
    return grid


def _servers(seen: Overview) -> Table:
    settings = seen.settings
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=8)
    grid.add_column()
    for name, server in (("redis", seen.redis), ("mongodb", seen.mongodb)):
        grid.add_row(name, _server(server))
    windows = f"windows of {duration(settings.window_seconds)}, grace {duration(settings.grace_seconds)}"
    grid.add_row("settings", f"prefix {settings.prefix}, {_counted(settings.shards, 'shard')}, {windows}")
    return grid


def _server(server: ServerState) -> Text:
    state = Text("up", style="green") if server.up else Text("away", style="red")
    return Text(f"{server.address}  ").append(state)


def _workers(seen: Overview) -> Iterator[RenderableType]:
    table = _table("worker", "", "heard", "up for", "counted", "errors", "repeated", "stored")
    workers = sorted(seen.workers, key=lambda worker: worker.ready)[:_WORKERS]
    for worker in workers:
        table.add_row(
            Text(worker.name, overflow="fold"),
            _state(worker),
            _ago(seen.at, worker.seen_at),
            _ago(seen.at, worker.started_at),
            *map(short, (worker.counted, worker.errors, worker.duplicates, worker.flushed)),
        )
    yield table
    yield from _more(len(seen.workers) - len(workers), "workers that are ready")


def _state(worker: WorkerState) -> Text:
    if worker.silent:
        return Text("silent", style="red")
    return Text("ready", style="green") if worker.ready else Text("not ready", style="yellow")


def _shards(seen: Overview) -> Iterator[RenderableType]:
    table = _table("shard", "lag", "behind", "pending", "watermark", "open", "due", "taken", "closed", "dead")
    worst = sorted(seen.shards, key=lambda one: (one.watermark_delay_seconds, one.overdue_seconds), reverse=True)
    shown = seen.shards if len(seen.shards) <= _SHARDS else worst[:_SHARDS]
    for shard in shown:
        table.add_row(
            Text(str(shard.shard)),
            f"{'' if shard.lag_known else '~'}{short(shard.lag_entries)}",
            duration(shard.lag_seconds),
            short(shard.pending),
            _watermark(shard.watermark_delay_seconds),
            *map(short, (shard.open, shard.due, shard.taken, shard.closed, shard.dead_letters)),
        )
    yield table
    yield from _more(len(seen.shards) - len(shown), "shards that are less behind")


def _watermark(delay_s: float) -> str:
    return "now" if (delay := duration(delay_s)) == "0 s" else f"-{delay}"


def _flush(seen: Overview) -> Iterator[RenderableType]:
    last = seen.flush.last_at
    if last is not None:
        yield Text(f"last flush {_ago(seen.at, last)} ago, {_counted(seen.flush.last_windows, 'window')}", style="dim")


def _ledger(shards: Sequence[ShardState]) -> Text:
    """The terms of all shards together, and whether each shard balances."""
    sums = {name: [shard.ledger[name] for shard in shards] for name in LEDGER_TERMS}
    said = [_term(name, numbers) for name, numbers in sums.items()]
    imbalances = [shard.imbalance for shard in shards]
    text = Text(f"ledger: {said[0]} = {' + '.join(said[1:])}: ")
    if any(imbalances):
        return text.append("does not balance", style="red")
    if None in imbalances:
        return text.append("unknown whether it balances", style="yellow")
    return text.append("balances", style="green")


def _term(name: str, numbers: Sequence[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    said = name.replace("dead_lettered", "dead-lettered").replace("_", " ")
    return f"{sum(known):,} {said}" if len(known) == len(numbers) else f"? {said}"


def _live(seen: Overview) -> Iterator[RenderableType]:
    for window in seen.live.windows:
        yield Text(
            f"window {window.start:%H:%M:%S} to {window.end:%H:%M:%S}: {_counted(window.segments, 'segment')}, "
            f"{_counted(window.errors, 'error')}, {_counted(window.channels, 'channel')}"
        )
    table = _table("channel", "segments", "errors", "in %", "avg ms", "~p50 ms", "~p95 ms")
    for one in seen.live.channels[:_CHANNELS]:
        table.add_row(
            Text(one.channel_id, overflow="ellipsis", no_wrap=True),
            *map(short, (one.segments, one.errors)),
            f"{one.error_rate:.1%}".removesuffix("%"),
            *(_ms(value) for value in (one.avg_total_ms, one.p50_total_ms, one.p95_total_ms)),
        )
    yield table
    yield from _more(len(seen.live.channels) - _CHANNELS, "channels with fewer segments")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    return table


def _more(number: int, what: str) -> Iterator[Text]:
    if number > 0:
        yield Text(f"and {number:,} {what}", style="dim")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _ago(now: datetime, then: datetime) -> str:
    return duration(max(0.0, (now - then).total_seconds()))
