"""What the review claims, and whether it holds. The words follow from the figures: nobody writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from . import prices
from .option_a import CHANNEL_INDEX
from .results import Question, Results
from .tables import Table, dollars, duration, number, quantile, size, times

Row = tuple[str, str, str, str]
Form = Callable[[float], str]

_HEADS: Final = ("claim", "the review says", "measured", "verdict")
#: What is nearer than this counts as the same.
_NEAR: Final = 1.1

#: Of each question: milliseconds of Option A, of ours at most, how many times faster, and how many documents of ours.
_QUESTIONS: Final = (
    ((50, 100), 1, (50, 100), 1),
    ((500, 1000), 5, (100, 200), 24),
    ((2000, 5000), 10, (200, 500), 168),
    ((5000, 10_000), 15, (300, 600), 720),
)
#: Seconds of Option A, and of ours at most.
_UPKEEP: Final = (
    ("index build", "index_build_s", (300, 600), 30),
    ("dump", "dump_s", (1800, 3600), 60),
    ("collection scan", "scan_s", (600, 1800), 60),
)


def answers(results: Results) -> Table:
    """The three figures that the review ends with."""
    a, ours = results.large.option_a, results.large.ours
    bill_a, bill_ours = prices.bill_of_option_a(results), prices.bill_of_ours(results)
    rows = [
        _factor("less storage, documents as BSON", 480, 480, a.bson_bytes / ours.bson_bytes),
        _factor("less storage, on the disk", 480, 480, a.data_bytes / ours.data_bytes),
        _factor("less storage, on the disk with indexes", 480, 480, a.disk_bytes / ours.disk_bytes),
        _factor("faster questions, as MongoDB sums up", 50, 600, *(_faster(one) for one in results.questions)),
        _factor("faster questions, as the product answers", 50, 600, *map(_product_faster, results.questions)),
        _factor("cheaper, MongoDB alone", 50, 150, bill_a.mongodb / bill_ours.mongodb),
        _factor("cheaper, Redis and archive included", 37, 50, bill_a.total / bill_ours.total),
    ]
    return Table("answers", "480x, 50-600x, 37-50x", _HEADS, rows)


def claims(results: Results) -> Table:
    """Every other figure of the review that can be measured."""
    rows = [*_storage(results), *_questions(results), *_upkeep(results), *_redis(results), *_money(results)]
    return Table("claims", "the review, figure by figure: 1000 users, 30 days", _HEADS, rows)


def _storage(results: Results) -> Iterator[Row]:
    a, ours = results.large.option_a, results.large.ours
    factor = prices.factor(results)
    documents = a.documents * factor / prices.DAYS
    yield _figure("segments a day, in its summary", 21.6e6, documents, number)
    yield _figure("segments a day, in its tables", 5.76e6, documents, number)
    yield _figure("document of a segment", 1000, results.large.written_document_bytes, size)
    yield _figure("document of an hour, the review's", 500, results.redis.review_document_bytes, size)
    yield _figure("document of an hour, ours", 500, ours.document_bytes, size)
    yield _figure("segments of a month, as BSON", 172.8e9, a.bson_bytes * factor, size)
    yield _figure("segments of a month, on the disk", 172.8e9, a.data_bytes * factor, size)
    yield _figure("compression of segments", 1, a.data_bytes / a.bson_bytes, "{:.0%}".format)
    yield _figure("compression of hours", 0.5, ours.data_bytes / ours.bson_bytes, "{:.0%}".format)
    yield _figure("index of their channels", 1.5e9, a.indexes[CHANNEL_INDEX] * factor, size)
    yield _figure("hours of a month, on the disk", 360e6, ours.data_bytes * factor, size)
    yield _figure("indexes on them", 50e6, ours.index_bytes * factor, size)
    yield _figure("hours of 90 days, on the disk", 30e6, 3 * ours.data_bytes * factor, size)
    yield _factor("fewer documents", 240, 240, a.documents / ours.documents)
    yield _factor("less index", 30, 30, a.index_bytes / ours.index_bytes)


def _questions(results: Results) -> Iterator[Row]:
    scanned = results.questions[0].option_a.documents_examined
    yield _figure(f"{results.questions[0].name}: documents of Option A", 240_000, scanned, number)
    for one, (of_a, of_ours, faster, documents) in zip(results.questions, _QUESTIONS, strict=True):
        yield _figure(f"{one.name}: documents of ours", documents, one.ours.documents_examined, number)
        yield _span(f"{one.name}: Option A", *of_a, quantile(one.option_a.ms, 0.5), _ms)
        yield _at_most(f"{one.name}: ours, as MongoDB sums up", of_ours, quantile(one.ours.ms, 0.5), _ms)
        yield _at_most(f"{one.name}: ours, as the product answers", of_ours, quantile(one.product_ms, 0.5), _ms)
        yield _factor(f"{one.name}: faster", *faster, _faster(one))


def _upkeep(results: Results) -> Iterator[Row]:
    factor = prices.factor(results)
    a, ours = results.large.option_a_upkeep, results.large.ours_upkeep
    for what, name, of_a, of_ours in _UPKEEP:
        yield _span(f"{what}: Option A", *of_a, getattr(a, name) * factor, duration)
        yield _at_most(f"{what}: ours", of_ours, getattr(ours, name) * factor, duration)
    yield _span("erasure of one user: Option A, by its index", 300, 600, a.erase_s + a.scan_s * factor, duration)
    yield _span("erasure of one user: Option A, an index of users added", 300, 600, a.erase_s, duration)
    review_s, ours_s = prices.redis_erasure_s(results)
    yield _at_most("erasure of one user: its design, Redis alone", 60, review_s, duration)
    yield _at_most("erasure of one user: ours, Redis and MongoDB", 60, ours_s + ours.erase_s, duration)


def _redis(results: Results) -> Iterator[Row]:
    yield _figure("24 hours of detail, in its layout", 500e6, prices.review_redis_bytes(results), size)
    yield _figure("24 hours of detail, in ours, and the stream", 500e6, prices.our_redis_bytes(results), size)


def _money(results: Results) -> Iterator[Row]:
    bill_a, bill_ours = prices.bill_of_option_a(results), prices.bill_of_ours(results)
    low, high = (bill_a.total + guess for guess in prices.READS_OPTION_A)
    measured = f"{dollars(bill_a.total)}; {dollars(low)} to {dollars(high)} with its guess for reads"
    yield ("Option A, a month", "$150 to $200", measured, verdict_on_span(150, 200, low, high))
    yield _figure("what it designs, a month", 4, prices.bill_of_review(results).total, dollars)
    yield _figure("ours, a month", 4, bill_ours.total, dollars)
    yield _figure("of that, Redis", 3, bill_ours.redis, dollars)
    yield _figure("of that, MongoDB without its guess for reads", 0.27, bill_ours.mongodb, dollars)


def _figure(what: str, says: float, measured: float, form: Form) -> Row:
    return what, form(says), form(measured), verdict_on_figure(says, measured)


def _span(what: str, low: float, high: float, measured: float, form: Form) -> Row:
    says = measured if low <= measured <= high else low if measured < low else high
    return what, f"{form(low)} to {form(high)}", form(measured), verdict_on_figure(says, measured)


def _at_most(what: str, bound: float, measured: float, form: Form) -> Row:
    verdict = "holds" if measured <= bound else verdict_on_figure(bound, measured)
    return what, f"at most {form(bound)}", form(measured), verdict


def _factor(what: str, low: float, high: float, *measured: float) -> Row:
    found = sorted({times(one, 1): one for one in measured}.items(), key=lambda item: item[1])
    says = _to(times(low, 1), times(high, 1))
    return what, says, _to(found[0][0], found[-1][0]), verdict_on_span(low, high, min(measured), max(measured))


def verdict_on_span(low: float, high: float, least: float, most: float) -> str:
    """Of a claimed span and a measured one."""
    if low / _NEAR <= least and most <= high * _NEAR:
        return "holds"
    if most < low:
        return "no, less"
    return "more than that" if least > high else "in part"


def verdict_on_figure(says: float, measured: float) -> str:
    """Of a claimed figure and the measured one."""
    if 1 / _NEAR <= says / measured <= _NEAR:
        return "holds"
    return f"{times(says, measured)} too high" if says > measured else f"{times(measured, says)} too low"


def _faster(one: Question) -> float:
    return quantile(one.option_a.ms, 0.5) / quantile(one.ours.ms, 0.5)


def _product_faster(one: Question) -> float:
    return quantile(one.option_a.ms, 0.5) / quantile(one.product_ms, 0.5)


def _to(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _ms(value: float) -> str:
    return f"{number(value)} ms"
