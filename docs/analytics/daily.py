#!/usr/bin/env python3
"""Counts replies by day, model and end from Verbatim's public events.

Each event counts once, however often it is delivered: one SQLite transaction updates the counts and the position of the
last counted event, and events up to that position are skipped. To count the whole stream again, remove the file.
"""

import argparse
import asyncio
import json
import sqlite3

import nats
from nats.errors import TimeoutError as FetchTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

SCHEMA = """
CREATE TABLE IF NOT EXISTS daily (
    day TEXT, model TEXT, ended TEXT,
    replies INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    total_ms INTEGER NOT NULL, slowest_ms INTEGER NOT NULL,
    PRIMARY KEY (day, model, ended)
);
CREATE TABLE IF NOT EXISTS checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL);
INSERT OR IGNORE INTO checkpoint VALUES (1, 0);
"""

COUNT = """
INSERT INTO daily VALUES (:day, :model, :ended, 1, :prompt_tokens, :completion_tokens, :total_ms, :total_ms)
ON CONFLICT DO UPDATE SET
    replies = replies + 1,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    total_ms = total_ms + excluded.total_ms,
    slowest_ms = max(slowest_ms, excluded.slowest_ms)
"""

ENDS = {"completed", "failed", "cancelled"}


def count(database: sqlite3.Connection, event: dict) -> None:
    """Counts one event, unless it is already counted or is not the end of a reply."""
    position = int(event["position"])
    with database:
        (checkpoint,) = database.execute("SELECT position FROM checkpoint").fetchone()
        if position <= checkpoint:
            return
        database.execute("UPDATE checkpoint SET position = ?", (position,))
        # verbatim.reply.completed.v1
        kind = event["type"].split(".")
        if kind[1] != "reply" or kind[2] not in ENDS:
            return
        data = event["data"]
        database.execute(COUNT, {
            "day": data["at"][:10],
            "model": data.get("model", ""),
            "ended": data.get("reason", kind[2]),
            "prompt_tokens": data.get("prompt_tokens", 0),
            "completion_tokens": data.get("completion_tokens", 0),
            "total_ms": data.get("total_ms", 0),
        })


async def follow(arguments: argparse.Namespace) -> None:
    database = sqlite3.connect(arguments.database)
    database.executescript(SCHEMA)
    connection = await nats.connect(arguments.nats)
    stream = f"{arguments.prefix.upper()}_EVENTS"
    subscription = await connection.jetstream().pull_subscribe(
        f"{arguments.prefix}.events.reply.*",
        durable=arguments.durable,
        stream=stream,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.EXPLICIT),
    )
    while True:
        try:
            messages = await subscription.fetch(500, timeout=arguments.idle_timeout)
        # The library raises either of these, depending on what it was doing.
        except (FetchTimeout, asyncio.TimeoutError):
            if arguments.once:
                break
            continue
        for message in messages:
            try:
                count(database, json.loads(message.data))
            except (ValueError, KeyError, IndexError, TypeError):
                # Not one of Verbatim's events: another client published it.
                await message.term()
                continue
            await message.ack_sync()
    await connection.close()
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="URL of NATS")
    parser.add_argument("--prefix", default="verbatim", help="NATS_PREFIX of Verbatim")
    parser.add_argument("--durable", default="daily-figures", help="name of the consumer in NATS")
    parser.add_argument("--database", default="daily.sqlite", help="the SQLite file")
    parser.add_argument("--once", action="store_true", help="end when the stream has no more events")
    parser.add_argument("--idle-timeout", type=float, default=5, help="seconds without an event after which --once ends")
    asyncio.run(follow(parser.parse_args()))


if __name__ == "__main__":
    main()
