"""Entities as a user has them: jobs in a store, asked for in a sync or an async way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio

from multistream_asgi import MultiStreamManager
from tests.asgi.feed import Feed, manager_of
from tests.event_stream import Parsed

__all__ = ["ONE", "Job", "Jobs", "said", "served", "show"]

ONE = "/stream_progress?id=a"


@dataclass
class Job:
    name: str
    state: str = "running"


class Jobs:
    """The user's own store, asked in a sync or an async way."""

    def __init__(self, *, asynchronous: bool = False) -> None:
        self.jobs: dict[str, Job] = {}
        self.asked: list[str] = []
        self.asynchronous = asynchronous

    def options(self) -> dict[str, Any]:
        if not self.asynchronous:
            return {"get_entity": self.get, "is_active": self.active}

        async def get(entity_id: str) -> Job | None:
            await anyio.lowlevel.checkpoint()
            return self.get(entity_id)

        async def active(job: Job) -> bool:
            await anyio.lowlevel.checkpoint()
            return self.active(job)

        return {"get_entity": get, "is_active": active}

    def get(self, entity_id: str) -> Job | None:
        self.asked.append(entity_id)
        return self.jobs.get(entity_id)

    def active(self, job: Job) -> bool:
        return job.state == "running"


def show(data: Any, *, final: bool = False) -> Any:
    if final:
        return "gone" if data is None else f"{data.name} is {data.state}"
    return data


def served(jobs: Jobs, feed: Feed, **options: Any) -> MultiStreamManager:
    return manager_of(feed.endpoint(transform_fn=show), **jobs.options(), **options)


def said(events: list[Parsed]) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in events]
