"""``streamproc init``: make what is stored in, ahead of the first worker."""

from __future__ import annotations

import asyncio

import click
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from streamproc.app.pod import Pod
from streamproc.app.settings import Settings
from streamproc.cli.session import load_settings, set_up_log
from streamproc.stores.mongo.collection import CollectionMismatch
from streamproc.stores.mongo.collection import ServerTooOld as MongoTooOld
from streamproc.stores.redis.connect import ServerTooOld as RedisTooOld
from streamproc.stores.redis.shard import LayoutMismatch


@click.command(epilog="Example: STREAMPROC_MONGODB_URL=mongodb://10.0.0.6 streamproc init")
def init() -> None:
    """Create the stream, its group, the time-series collection and its indexes.

    Safe to repeat. Workers do the same when they start; an operator may want it done, and refused, beforehand.
    """
    settings = load_settings()
    set_up_log(settings)
    asyncio.run(_init(settings))
    click.echo("ready: stream, group, collection and indexes exist")


async def _init(settings: Settings) -> None:
    pod = Pod(settings)
    try:
        await pod.prepare_redis()
        await pod.prepare_mongodb()
    except (RedisTooOld, MongoTooOld, LayoutMismatch, CollectionMismatch) as error:
        raise click.ClickException(str(error)) from None
    except RedisError as error:
        raise click.ClickException(f"redis does not answer: {error}. Check STREAMPROC_REDIS_URL") from None
    except PyMongoError as error:
        raise click.ClickException(f"mongodb does not answer: {error}. Check STREAMPROC_MONGODB_URL") from None
    finally:
        await pod.close()
