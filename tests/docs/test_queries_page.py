"""The examples of the page of questions, run in order as they stand, against a worker, and their printed answers.

Dates and times are those of the day on which the page was written: any date and time will do in their place.
"""

from __future__ import annotations

import ast
import asyncio
import io
import json
import os
import re
import shlex
import sys
import urllib.request
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import redirect_stdout
from inspect import CO_COROUTINE
from types import FunctionType
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from pages import ROOT, read
from pods import Pods, pods, until

from streamproc.demo.stage import Web
from streamproc.embedded import EmbeddedServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "docs/queries.md"
_BLOCK = re.compile(r"^```(python|sh|text|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PUBLISHED = 8


class Example(NamedTuple):
    language: str
    code: str
    printed: str


def examples() -> Iterator[Example]:
    """Each block of code with what is said to be printed: the block that follows it, if that is one of output."""
    blocks = _BLOCK.findall(read(PAGE))
    for (language, code), (following, printed) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language in {"python", "sh"}:
            yield Example(language, code, printed if following in {"text", "json"} else "")


def undated(text: str) -> str:
    """Without what differs from day to day: dates, times, offsets, and spaces at the ends of lines."""
    text = re.sub(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+\d\d:\d\d)?)?|\d\d:\d\d:\d\d", "<time>", text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


class Reader:
    """Runs what the page says, in one Python and one environment."""

    def __init__(self, variables: dict[str, str], api: str) -> None:
        self.variables = variables
        self.names: dict[str, Any] = {}
        self._api = api

    async def run(self, example: Example) -> str:
        return await (self._python(example.code) if example.language == "python" else self._shell(example.code))

    async def _python(self, code: str) -> str:
        compiled = compile(code, PAGE, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with redirect_stdout(io.StringIO()) as out:
            if compiled.co_flags & CO_COROUTINE:
                await FunctionType(compiled, self.names)()
            else:  # it may block, as a publisher of threads does
                await asyncio.to_thread(exec, compiled, self.names)
        return out.getvalue()

    async def _shell(self, code: str) -> str:
        printed = [await self._command(shlex.split(line)) for line in code.splitlines()]
        return "".join(printed)

    async def _command(self, words: list[str]) -> str:
        if words[0] == "curl":
            url = words[-1].replace("$API", self._api)
            return await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=30).read().decode())
        assert words.pop(0) == "streamproc"
        environment = {"PYTHONPATH": str(ROOT), **self.variables}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamproc", *words), env=environment, stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        return out.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(valkey: EmbeddedServer, mongod: EmbeddedServer) -> AsyncIterator[Reader]:
    """The page's first examples are through: segments are published and counted, and there is a service."""
    settings = {"PREFIX": "dubbing", "MONGODB_DATABASE": "dubbing", "WINDOW_SECONDS": "3600", "GRACE_SECONDS": "120"}
    async with pods(valkey.url, mongod.url, **settings) as system:
        system.redis.flushall()
        before = dict(os.environ)
        os.environ.update(system.variables)
        web = Web(system.variables)
        try:
            await system.start()
            await web.start()
            reader = Reader(system.variables, web.url.rstrip("/"))
            first, second, *_ = examples()
            await reader.run(first)
            await until(lambda: _counted(system))
            await reader.run(second)
            yield reader
        finally:
            await web.stop()
            for name in ("redis", "mongodb"):
                if name in reader.names:
                    await getattr(reader.names[name], "aclose", reader.names[name].close)()
            os.environ.clear()
            os.environ.update(before)
            system.redis.flushall()
            await system._mongo.drop_database("dubbing")


async def _counted(system: Pods) -> bool:
    return await system.counted() == _PUBLISHED


@pytest.mark.parametrize("number", range(2, len(list(examples()))))
async def test_an_example_prints_what_the_page_says(reader: Reader, number: int) -> None:
    example = list(examples())[number]
    printed = await reader.run(example)
    if example.printed:
        assert undated(printed) == undated(example.printed)
    else:  # an answer of the API, which docs/http-api.md shows
        for line in printed.replace("}{", "}\n{").splitlines():
            assert json.loads(line)["missing"] == []
