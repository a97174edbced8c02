"""The words and sums of docs/cost.md follow from the figures."""

from __future__ import annotations

import msgspec
import pytest
from bench.mission import page, prices, report
from bench.mission.results import Results, Storage
from bench.mission.tables import Table, duration, number, size
from bench.mission.verdicts import answers, verdict_on_figure, verdict_on_span


@pytest.mark.parametrize(
    ("says", "measured", "verdict"),
    [
        (100, 100, "holds"),
        (100, 95, "holds"),
        (1000, 250, "4x too high"),
        (30, 960, "32x too low"),
    ],
)
def test_a_claimed_figure_holds_or_is_off_by_so_much(says: float, measured: float, verdict: str) -> None:
    assert verdict_on_figure(says, measured) == verdict


@pytest.mark.parametrize(
    ("least", "most", "verdict"),
    [
        (50, 600, "holds"),
        (46, 650, "holds"),
        (60, 70, "holds"),
        (10, 49, "no, less"),
        (10, 300, "in part"),
        (300, 900, "in part"),
        (601, 900, "more than that"),
    ],
)
def test_a_claimed_span_holds_or_does_not(least: float, most: float, verdict: str) -> None:
    assert verdict_on_span(50, 600, least, most) == verdict


def test_the_review_s_own_figures_come_to_the_review_s_own_bill() -> None:
    """If its storage and memory had been measured, its 480x and 37-50x would hold, and the prices are its own."""
    results = _as_the_review_has_it()
    option_a, ours = prices.bill_of_option_a(results), prices.bill_of_ours(results)
    assert [round(dollars, 2) for dollars in (option_a.storage, option_a.backups)] == [43.2, 86.4]
    assert [round(dollars, 2) for dollars in (ours.storage, ours.backups)] == [0.09, 0.18]
    by_claim = {row[0]: row[1:] for row in answers(results).rows}
    assert by_claim["less storage, on the disk"] == ("480x", "480x", "holds")
    assert round(ours.redis, 2) == 3.0
    assert round(option_a.total / ours.total) == 40
    assert by_claim["cheaper, Redis and archive included"][2] == "holds"


def test_two_sides_that_disagree_anywhere_are_wrong() -> None:
    results = page.recorded()
    assert results.wrong == 0
    question = msgspec.structs.replace(results.questions[-1], agree=False)
    assert msgspec.structs.replace(results, questions=[*results.questions[:-1], question]).wrong == 1
    small = msgspec.structs.replace(results.small, disagreeing_windows=3)
    assert msgspec.structs.replace(results, small=small).wrong == 3
    of_redis = msgspec.structs.replace(results.redis, disagreeing_windows=2)
    assert msgspec.structs.replace(results, redis=of_redis).wrong == 2


def test_times_taken_beside_others_are_shown_with_a_warning() -> None:
    def warned(*load_averages: float) -> set[str]:
        measured = msgspec.structs.replace(page.recorded(), load_averages=list(load_averages))
        return {table.name for table in report.tables(measured) if any("quiet machine" in note for note in table.notes)}

    assert warned(0.2, 2.1, 2.4) == set()
    assert warned(0.2, 17.0, 2.4) == {"questions", "upkeep", "jobs", "redis-erasure", "claims"}


def test_a_page_whose_blocks_are_not_the_tables_is_refused() -> None:
    table = Table("known", "", ("a",), [("1",)])
    assert page.filled("<!-- measured: known -->\nold\n<!-- end -->", [table]) == (
        "<!-- measured: known -->\n\n| a |\n| --- |\n| 1 |\n\n<!-- end -->"
    )
    with pytest.raises(ValueError, match="other"):
        page.filled("<!-- measured: other -->\n<!-- end -->", [table])


def test_figures_are_written_with_their_unit() -> None:
    written = [number(one) for one in (0.0123, 1.25, 20, 21.26, 172_800_000)]
    assert written == ["0.012", "1.2", "20", "21.3", "172,800,000"]
    assert [size(one) for one in (12, 1500, 2e6, 15.2e9)] == ["12 B", "1.5 kB", "2 MB", "15.2 GB"]
    assert [duration(one) for one in (0.5, 60, 630)] == ["0.5 s", "60 s", "10.5 min"]


def _as_the_review_has_it() -> Results:
    """What the review takes for granted, in the place of what was measured."""
    results = page.recorded()
    option_a = Storage(172_800_000, 1000, 172_800_000_000, {"_id_": 0})
    ours = Storage(720_000, 500, 360_000_000, {"_id_": 0})
    large = msgspec.structs.replace(results.large, users=1000, days=30, option_a=option_a, ours=ours)
    redis_bytes = 500e6 / (prices.DETAIL_HOURS * 240_000)
    of_redis = msgspec.structs.replace(results.redis, our_segment_bytes=redis_bytes, stream_entry_bytes=0)
    return msgspec.structs.replace(results, large=large, redis=of_redis, segments_an_hour=240)
