from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamproc.core import details
from streamproc.core.details import Detail

LEAST = Detail(1_714_557_600_000_000, 1, 2, 3, 6, 10, 20, "he", "en")
FULL = Detail(1_714_557_600_000_000, 1, 2, 3, 7, 10, 20, "he", "en", 5, -6, "ios", 'no "key"\n', 2)


def encode(detail: Detail) -> bytes:
    (stored,) = details.encode_all([detail])
    return stored.encode()


def test_the_stored_form_is_an_array_whose_first_element_is_the_layout() -> None:
    assert encode(LEAST) == b'[1,1714557600000000,1,2,3,6,10,20,"he","en",null,null]'
    assert encode(FULL) == b'[1,1714557600000000,1,2,3,7,10,20,"he","en",5,-6,"ios","no \\"key\\"\\n",2]'


@pytest.mark.parametrize(
    "changes",
    [
        {"platform": "ios"},
        {"error": "timeout"},
        {"retry_count": 1},
        {"error": '","web","",0]\n'},
        {"platform": ',"web","",0]', "error": ',"web","",0]'},
        {"source_language": 'a,"web","",0]\n', "target_language": '"web","",0]'},
    ],
)
def test_only_what_is_usual_is_left_out(changes: dict[str, Any]) -> None:
    details_ = [LEAST, msgspec.structs.replace(LEAST, **changes), msgspec.structs.replace(FULL, **changes), LEAST]
    assert details.decode_all(stored.encode() for stored in details.encode_all(details_)) == details_


def test_times_of_processing_are_counted_from_the_segments_own() -> None:
    assert (FULL.processing_started_at_us, FULL.processing_ended_at_us) == (
        1_714_557_600_000_005,
        1_714_557_599_999_994,
    )
    assert (LEAST.processing_started_at_us, LEAST.processing_ended_at_us) == (None, None)


def test_line_separators_within_a_text_separate_no_details() -> None:
    odd = Detail(1, 2, 3, 4, 9, 0, 0, "he", "en", error="a\u2028b\x85c\x0bd\re\nf")
    assert len(details.encode_all([odd, LEAST])) == 2
    assert details.decode_all(stored.encode() for stored in details.encode_all([odd, LEAST])) == [odd, LEAST]
    assert details.encode_all([]) == []


def test_details_are_decoded_in_order() -> None:
    assert details.decode_all([encode(FULL), encode(LEAST)]) == [FULL, LEAST]
    assert details.decode_all([]) == []


def test_a_detail_written_before_fields_were_appended_has_their_defaults() -> None:
    assert details.decode_all([b'[1,1714557600000000,1,2,3,6,10,20,"he","en"]']) == [LEAST]


def test_a_detail_with_fields_appended_later_is_still_read() -> None:
    assert details.decode_all([encode(FULL)[:-1] + b',"later"]']) == [FULL]


@pytest.mark.parametrize("raw", [b"", b"x", b"{}", b"[]", b"[1]", b"null", encode(LEAST).replace(b"[1,", b"[2,")])
def test_what_is_no_detail_of_this_layout_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        details.decode_all([encode(LEAST), raw])
