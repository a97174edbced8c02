from __future__ import annotations

import pytest

from streamproc.stores.redis import scripts

WRITES_NOTHING = {"forgettable", "named", "now", "server", "stand", "survey", "unsettled"}


@pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.name)
def test_a_script_drains_a_full_server_or_promises_to_write_nothing(script: scripts.Script) -> None:
    """Without `allow-oom` a full server refuses the very scripts that would empty it."""
    flags = scripts.source(script.name).splitlines()[0]
    assert flags == f"#!lua flags={'no-writes' if script.name in WRITES_NOTHING else 'allow-oom'}"


@pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.name)
def test_a_script_says_what_it_takes_and_what_it_answers(script: scripts.Script) -> None:
    header = scripts.source(script.name).partition("\nlocal ")[0]
    assert all(f"\n-- {word}" in header for word in ("KEYS", "ARGV", "Returns"))


def test_every_script_file_is_called() -> None:
    files = {entry.name for entry in scripts._FOLDER.iterdir()}
    assert files == {f"{script.name}.lua" for script in scripts.ALL} | {"epoch.part.lua", "low_watermark.part.lua"}
