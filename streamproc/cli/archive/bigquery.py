"""``streamproc archive bigquery``: the statements with which BigQuery reads the archive."""

from __future__ import annotations

from datetime import date
from typing import get_args

import click

from streamproc.cli.archive.access import DAY
from streamproc.cli.session import load_settings
from streamproc.stores.archive.sql import By, Question, answer_sql, external_table_sql


@click.command(epilog="Example: streamproc archive bigquery --by month --since 2026-01-01 --until 2026-12-31")
@click.option("--table", default="dubbing.archive", show_default=True, help="Name of the table, dataset first.")
@click.option("--by", type=click.Choice(get_args(By)), help="Print a query instead of the table's definition.")
@click.option("--since", type=DAY, default="2026-01-01", show_default=True, help="First day of a query.")
@click.option("--until", type=DAY, default="2026-12-31", show_default=True, help="Last day of a query.")
@click.option("--channel", is_flag=True, help="Of one channel, given to the query as parameter channel.")
@click.option("--user", is_flag=True, help="Of one user, given to the query as parameter user.")
def bigquery(table: str, by: By | None, since: date, until: date, channel: bool, user: bool) -> None:
    """Print BigQuery's definition of the archive as an external table, or with --by a query over it.

    Asks no server. Feed it to `bq query --use_legacy_sql=false`.
    """
    if by is None:
        address = load_settings().archive_url
        if not address.startswith("gs://"):
            address = "gs://bucket/prefix"
            click.echo("-- STREAMPROC_ARCHIVE_URL names no bucket: put yours in")
        click.echo(f"{external_table_sql(address.rstrip('/'), table)};")
        return
    question = Question(by, since, until, "channel" if channel else "", "user" if user else "")
    click.echo(f"{answer_sql(question, 'bigquery').replace('FROM archive', f'FROM `{table}`')};")
