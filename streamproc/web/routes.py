"""Every route of the API, declared once: the application serves this table, the OpenAPI document describes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from streamproc.answers import results
from streamproc.web import openapi
from streamproc.web.backend import Backend
from streamproc.web.erasures import ErasureStarted, Receipt
from streamproc.web.parameters import (
    ActivityParameters,
    HourlyParameters,
    LatestParameters,
    Parameters,
    RecentParameters,
    Tabular,
    TrendParameters,
)
from streamproc.web.sampler import WatchedOverview

Ids = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One thing that can be asked.

    Attributes:
        path: with the names of ids in braces.
        answer: what `ask` returns: a Struct, or a dict that is sent as it is.
        parameters: the query.
        rows: the name of the answer's rows, if it has such; with Tabular parameters they can be had as CSV.
        layers: where the rows come from.
        erasure: whether it is about erasing people, which is off without a token.
    """

    path: str
    about: str
    answer: type
    ask: Callable[[Backend, Ids, Any], Awaitable[Any]]
    method: str = "GET"
    parameters: type[Parameters] = Parameters
    rows: str = ""
    layers: tuple[str, ...] = ()
    status: HTTPStatus = HTTPStatus.OK
    erasure: bool = False


async def _overview(backend: Backend, _ids: Ids, _query: Parameters) -> WatchedOverview:
    return await backend.sampler.latest()


async def _channels(backend: Backend, _ids: Ids, _query: Parameters) -> results.Channels:
    return await backend.service.get_channels()


async def _segments(backend: Backend, ids: Ids, query: RecentParameters) -> results.RecentSegments:
    return await backend.service.get_recent_segments(ids["channel_id"], query.minutes)


async def _hourly(backend: Backend, ids: Ids, query: HourlyParameters) -> results.HourlyMetrics:
    return await backend.service.get_hourly_metrics(ids["channel_id"], query.hours)


async def _trends(backend: Backend, ids: Ids, query: TrendParameters) -> results.DailyTrends:
    return await backend.service.get_daily_trends(ids["channel_id"], query.days, query.tz)


async def _session_hours(backend: Backend, ids: Ids, _query: Tabular) -> results.SessionHours:
    return await backend.service.get_session_hours(ids["session_id"])


async def _activity(backend: Backend, ids: Ids, query: ActivityParameters) -> results.UserActivity:
    return await backend.service.get_user_activity(ids["user_id"], query.days, query.tz)


async def _last_hours(backend: Backend, _ids: Ids, query: LatestParameters) -> results.LastHours:
    return await backend.service.get_last_hours(query.limit)


async def _erase(backend: Backend, ids: Ids, _query: Parameters) -> ErasureStarted:
    return await backend.erasures.start(ids["user_id"])


async def _receipt(backend: Backend, ids: Ids, _query: Parameters) -> Receipt:
    return await backend.erasures.receipt(ids["erasure_id"])


async def _openapi(backend: Backend, _ids: Ids, _query: Parameters) -> dict[str, Any]:
    return openapi.document(ROUTES, wants_token=bool(backend.settings.api_token))


ROUTES: Final = (
    Route(
        path="/api/overview",
        about="The whole system at one look: servers, workers, shards, live figures, what flowed in ten minutes",
        answer=WatchedOverview,
        ask=_overview,
    ),
    Route(
        path="/api/channels",
        about="Channels that had segments in the last 24 hours",
        answer=results.Channels,
        ask=_channels,
        rows="channels",
        layers=("redis", "mongodb"),
    ),
    Route(
        path="/api/channels/{channel_id}/segments",
        about="The newest segments of a channel, one by one",
        answer=results.RecentSegments,
        ask=_segments,
        parameters=RecentParameters,
        rows="segments",
        layers=("redis",),
    ),
    Route(
        path="/api/channels/{channel_id}/hourly",
        about="The hours of a channel",
        answer=results.HourlyMetrics,
        ask=_hourly,
        parameters=HourlyParameters,
        rows="hours",
        layers=("redis", "mongodb"),
    ),
    Route(
        path="/api/channels/{channel_id}/trends",
        about="The days of a channel, in a time zone",
        answer=results.DailyTrends,
        ask=_trends,
        parameters=TrendParameters,
        rows="days",
        layers=("redis", "mongodb"),
    ),
    Route(
        path="/api/sessions/{session_id}/hours",
        about="The hours of a session",
        answer=results.SessionHours,
        ask=_session_hours,
        parameters=Tabular,
        rows="hours",
        layers=("redis", "mongodb"),
    ),
    Route(
        path="/api/users/{user_id}/activity",
        about="The days of a user, in a time zone, and what they come to",
        answer=results.UserActivity,
        ask=_activity,
        parameters=ActivityParameters,
        rows="days",
        layers=("redis", "mongodb"),
    ),
    Route(
        path="/api/hours",
        about="The last hours of all channels together, as they are stored",
        answer=results.LastHours,
        ask=_last_hours,
        parameters=LatestParameters,
        rows="hours",
        layers=("mongodb",),
    ),
    Route(
        path="/api/users/{user_id}",
        method="DELETE",
        about="Erase a person everywhere: starts it, and names the receipt",
        answer=ErasureStarted,
        ask=_erase,
        status=HTTPStatus.ACCEPTED,
        erasure=True,
    ),
    Route(
        path="/api/erasures/{erasure_id}",
        about="The receipt of an erasure: how far it has come, what was found and erased",
        answer=Receipt,
        ask=_receipt,
        erasure=True,
    ),
    Route(
        path="/api/openapi.json",
        about="This document",
        answer=dict[str, Any],
        ask=_openapi,
    ),
)
