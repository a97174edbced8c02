from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest

from streamproc.core.details import Detail
from streamproc.core.fold import Aggregate, Measurement, fold
from streamproc.core.windows import WindowKey

HOUR = datetime(2026, 1, 23, 10, tzinfo=UTC)
HOUR_US = 1_769_162_400_000_000
KEY = WindowKey(HOUR_US // 1000, "kan-11", "session-7", "dana")


def detail(at_us: int = 0, total_us: int = 1_000_000, **changes: Any) -> Detail:
    """A segment received `at_us` after the start of the hour; its parts are 5 %, 90 % and 5 % of the total."""
    part = total_us // 20
    fields: dict[str, Any] = {
        "received_at_us": HOUR_US + at_us,
        "extraction_us": part,
        "dubbing_us": total_us - 2 * part,
        "reinsertion_us": part,
        "total_us": total_us,
        "original_bytes": 2_000_000,
        "dubbed_bytes": 2_100_000,
        "source_language": "he",
        "target_language": "en",
    }
    return Detail(**(fields | changes))


def measured(*details: Detail) -> dict[str, Any]:
    return fold(KEY, {f"segment-{i}": one for i, one in enumerate(details)}).document(write=1)


THREE = {
    "b": Detail(HOUR_US + 15_000_999, 40_000, 1_000_500, 50_000, 1_090_500, 10, 11, "he", "en", platform="ios"),
    "a": Detail(HOUR_US, 50_000, 1_200_001, 60_000, 1_310_001, 20, 21, "en", "fr", error="timeout", retry_count=2),
    "c": Detail(HOUR_US + 30_000_000, 60_000, 900_000, 40_000, 1_000_000, 30, 31, "he", "en", retry_count=1),
}


def test_a_small_window_folds_to_the_document_computed_by_hand() -> None:
    assert fold(KEY, THREE).document(write=77) == {
        "timestamp": HOUR,
        "metadata": {
            "channel_id": "kan-11",
            "session_id": "session-7",
            "user_id": "dana",
            "platform": "web",
            "hour": HOUR,
            "revision": 3,
            "write": 77,
        },
        "segments_processed": 3,
        "avg_extraction_ms": 50.0,
        "avg_dubbing_ms": 3_100_501 / 3000,
        "avg_reinsertion_ms": 50.0,
        "avg_total_ms": 1133.5003333333334,
        "total_processing_time_ms": 3400.501,
        "total_original_bytes": 60,
        "total_dubbed_bytes": 63,
        "error_count": 1,
        "retry_count": 3,
        "source_languages": {"en": 1, "he": 2},
        "target_languages": {"en": 2, "fr": 1},
        "sum_extraction_ms": 150.0,
        "sum_dubbing_ms": 3100.501,
        "sum_reinsertion_ms": 150.0,
        "min_total_ms": 1000.0,
        "max_total_ms": 1310.001,
        "p50_total_ms": 1090.5,
        "p95_total_ms": 1310.001,
        "p99_total_ms": 1310.001,
        # log(total_us, 51 / 49) is 345.35, 347.52 and 352.10
        "latency_histogram": {"346": 1, "348": 1, "353": 1},
        "first_segment_at": HOUR,
        "last_segment_at": HOUR.replace(second=30),
        "segments_digest": hashlib.sha256(b"a\nb\nc").hexdigest()[:32],
    }


def test_tallies_are_written_in_the_order_of_their_keys() -> None:
    document = measured(detail(source_language="pt"), detail(source_language="ar"), detail(source_language="he"))
    assert list(document["source_languages"]) == ["ar", "he", "pt"]


def test_dates_are_aware() -> None:
    document = measured(detail())
    dates = [document["timestamp"], document["first_segment_at"], document["last_segment_at"]]
    assert all(date.tzinfo is UTC for date in dates)


def test_one_segment_is_every_extreme_mean_and_percentile_of_its_window() -> None:
    document = measured(detail(total_us=1_234_567))
    names = ["avg_total_ms", "total_processing_time_ms", "min_total_ms", "max_total_ms"]
    assert {document[name] for name in [*names, "p50_total_ms", "p95_total_ms", "p99_total_ms"]} == {1234.567}


def test_segments_that_took_no_time_are_measured_as_zero() -> None:
    document = measured(detail(total_us=0), detail(total_us=0))
    assert document["segments_processed"] == 2
    assert document["avg_total_ms"] == document["p99_total_ms"] == document["sum_dubbing_ms"] == 0.0
    assert document["latency_histogram"] == {"-1": 2}


def test_percentiles_are_nearest_ranks_of_the_segments() -> None:
    document = measured(*(detail(total_us=1000 * i) for i in range(200, 0, -1)))
    assert [document[f"p{p}_total_ms"] for p in (50, 95, 99)] == [100.0, 190.0, 198.0]


def test_platform_is_that_of_the_earliest_segment() -> None:
    segments = {"a": detail(2, platform="web"), "b": detail(1, platform="ios"), "c": detail(3, platform="tv")}
    assert fold(KEY, segments).platform == "ios"


def test_of_equally_early_segments_the_smallest_id_gives_the_platform() -> None:
    segments = {"z": detail(5, platform="web"), "10": detail(5, platform="tv"), "9": detail(5, platform="ios")}
    assert fold(KEY, segments).platform == "tv"


def test_only_a_non_empty_error_text_counts_as_an_error() -> None:
    document = measured(detail(error="timeout"), detail(error=""), detail(error="0"), detail())
    assert document["error_count"] == 2


def test_retries_are_added_up_whether_or_not_the_segment_failed() -> None:
    assert measured(detail(retry_count=3, error="x"), detail(retry_count=4), detail())["retry_count"] == 7


def test_event_times_are_cut_to_milliseconds_not_rounded() -> None:
    document = measured(detail(1_999), detail(3_599_999_999))
    assert document["first_segment_at"] == HOUR.replace(microsecond=1_000)
    assert document["last_segment_at"] == HOUR.replace(minute=59, second=59, microsecond=999_000)


def test_revision_is_the_number_of_segments_and_digest_names_them() -> None:
    one, other = fold(KEY, {"a": detail(), "b": detail()}), fold(KEY, {"a": detail(), "c": detail()})
    assert one.revision == other.revision == 2
    assert one.digest != other.digest
    assert len(one.digest) == 32


def test_the_same_measurement_written_twice_differs_in_write_alone() -> None:
    measurement: Measurement = fold(KEY, THREE)
    first, second = measurement.document(write=1), measurement.document(write=2)
    assert second["metadata"].pop("write") - first["metadata"].pop("write") == 1
    assert first == second


def test_folding_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no segments"):
        fold(KEY, {})


def test_an_aggregate_of_nothing_divides_by_nothing_and_changes_nothing() -> None:
    nothing, three = Aggregate.of([]), Aggregate.of(THREE.values())
    assert (nothing.error_rate, nothing.mean_ms(nothing.total_us), nothing.quantile_ms(0.5)) == (0.0, 0.0, None)
    assert nothing.merge(three) == three.merge(nothing) == three
    assert nothing.to_document()["first_segment_at"] is None


def test_daily_figures_weigh_hours_by_their_segments() -> None:
    quiet = Aggregate.of([detail(total_us=4_000_000, error="timeout")])
    busy = Aggregate.of([detail(total_us=1_000_000)] * 99)
    day = reduce(Aggregate.merge, [quiet, busy], Aggregate())
    assert day.mean_ms(day.total_us) == 1030.0
    assert day.error_rate == 0.01
    assert day.quantile_ms(0.99) == pytest.approx(1000.0, rel=0.02)
    assert day.quantile_ms(1.0) == pytest.approx(4000.0, rel=0.02)


def test_an_estimated_quantile_never_leaves_the_range_of_the_values() -> None:
    same = Aggregate.of([detail(total_us=1_234_567)] * 3)
    assert same.quantile_ms(0.0) == same.quantile_ms(1.0) == 1234.567


def test_stored_dates_without_a_zone_are_read_as_utc() -> None:
    document = measured(detail(5_000_000))
    naive = {name: document[name].replace(tzinfo=None) for name in ("first_segment_at", "last_segment_at")}
    assert Aggregate.from_document(document | naive) == Aggregate.from_document(document)


def test_a_document_read_through_a_projection_is_refused_by_the_missing_name() -> None:
    document = measured(detail())
    del document["latency_histogram"]
    with pytest.raises(KeyError, match="latency_histogram"):
        Aggregate.from_document(document)
