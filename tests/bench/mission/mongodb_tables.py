"""Tables of what was measured in MongoDB, and of what follows from it for a thousand users and thirty days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import prices
from .results import Loaded, Results, Times
from .tables import Table, duration, number, quantile, size, times


def storage(results: Results) -> Table:
    a, ours, factor = results.large.option_a, results.large.ours, prices.factor(results)

    def row(what: str, of_a: float, of_ours: float, review: str) -> tuple[str, ...]:
        grown = (size(of_a * factor), size(of_ours * factor))
        return what, size(of_a), size(of_ours), *grown, times(of_a, of_ours), review

    documents = (number(one.documents) for one in (a, ours))
    grown = (number(one.documents * factor) for one in (a, ours))
    rows = [
        ("documents", *documents, *grown, times(a.documents, ours.documents), "240x"),
        row("BSON", a.bson_bytes, ours.bson_bytes, "480x"),
        row("data on the disk", a.data_bytes, ours.data_bytes, "480x"),
        row("indexes on the disk", a.index_bytes, ours.index_bytes, "30x"),
        row("both", a.disk_bytes, ours.disk_bytes, ""),
    ]
    notes = (
        f"Multiplied by {factor:g}: {prices.USERS} / {results.large.users} users, "
        f"{prices.DAYS} / {results.large.days} days.",
        f"A document is {number(a.document_bytes)} B and {number(ours.document_bytes)} B of BSON; with no more fields "
        f"than the review gives it, a segment's is {results.large.written_document_bytes} B.",
    )
    heads = ("", "Option A", "ours", f"Option A, {prices.FULL}", "ours", "ratio", "the review's")
    return Table("storage", "storage in MongoDB", heads, rows, notes)


def linearity(results: Results) -> Table:
    """What a document takes at two scales. Where that is the same, multiplying is allowed."""
    small, large = results.small, results.large
    rows = [
        (what, number(of_small), number(of_large), f"{of_large / of_small:.2f}")
        for (what, of_small), (_, of_large) in zip(_per_document(small), _per_document(large), strict=True)
    ]
    heads = ("for each document", f"{small.users} users", f"{large.users} users", "ratio")
    notes = ("1.00 is in proportion, which is what the multiplication above supposes.",)
    return Table("linearity", "does it grow in proportion?", heads, rows, notes)


def _per_document(loaded: Loaded) -> Iterator[tuple[str, float]]:
    for name, of, kept in (
        ("segment", loaded.option_a, loaded.option_a_upkeep),
        ("window", loaded.ours, loaded.ours_upkeep),
    ):
        yield f"{name}: data, B", of.data_bytes / of.documents
        yield f"{name}: indexes, B", of.index_bytes / of.documents
        yield f"{name}: index build, us", kept.index_build_s * 1e6 / of.documents
        yield f"{name}: dump, us", kept.dump_s * 1e6 / of.documents
        yield f"{name}: scan, us", kept.scan_s * 1e6 / of.documents


def questions(results: Results) -> Table:
    rows = [
        (
            one.name,
            str(len(one.option_a.ms)),
            *_cells(one.option_a),
            *_cells(one.ours),
            *_quantiles(one.product_ms),
            times(quantile(one.option_a.ms, 0.5), quantile(one.ours.ms, 0.5)),
            times(quantile(one.option_a.ms, 0.5), quantile(one.product_ms, 0.5)),
        )
        for one in results.questions
    ]
    heads = (
        *("question", "rounds", "Option A p50, ms", "p99", "documents"),
        *("ours p50", "p99", "documents", "product p50", "p99", "faster", "product faster"),
    )
    notes = (
        f"{results.users_a_channel} users a channel, as 1000 users on 50 channels are: a question finds as much as it "
        "would at full scale, so nothing is multiplied. `documents` is what MongoDB examined, by its own account. "
        "Everything is in the cache, which at full scale Option A would not be.",
    )
    return Table("questions", "the review's questions", heads, rows, notes)


def _cells(asked: Times) -> tuple[str, ...]:
    return (*_quantiles(asked.ms), number(asked.documents_examined))


def _quantiles(ms: Sequence[float]) -> tuple[str, str]:
    return number(quantile(ms, 0.5)), number(quantile(ms, 0.99))


def upkeep(results: Results) -> Table:
    a, ours, factor = results.large.option_a_upkeep, results.large.ours_upkeep, prices.factor(results)

    def row(what: str, of_a: float, of_ours: float, grown: float) -> tuple[str, ...]:
        full = (duration(of_a * grown), duration(of_ours * grown))
        return what, duration(of_a), duration(of_ours), *full, times(of_a, of_ours)

    rows = [
        row("index build", a.index_build_s, ours.index_build_s, factor),
        row("dump", a.dump_s, ours.dump_s, factor),
        row("collection scan", a.scan_s, ours.scan_s, factor),
        row("erasure of one user", a.erase_s, ours.erase_s, 1),
    ]
    notes = (
        f"Dump: every document read as raw BSON into a file ({size(a.dump_bytes)} and {size(ours.dump_bytes)}), of the "
        "time-series collection its buckets, as mongodump does it. Scan: for a field without an index. Erasure: "
        f"{number(a.erased_documents)} and {number(ours.erased_documents)} documents, by an index that the review does "
        "not give Option A (without it, a collection scan comes on top); one user has as many at full scale.",
    )
    heads = ("", "Option A", "ours", f"Option A, {prices.FULL}", "ours", "ratio")
    return Table("upkeep", "what is done to a whole collection", heads, rows, notes)
