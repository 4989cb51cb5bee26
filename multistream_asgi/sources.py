"""One running source per topic: started, run again where it may be, ended, closed."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

import anyio

from .config import StreamEndpoint
from .entities import Entities
from .errors import TopicEnded
from .events import Topic
from .source_kinds import run_source
from .tasks import Task, spawn
from .types import DataSource, Ends

__all__ = ["RunningSource", "transform"]

logger = logging.getLogger("multistream_asgi")


class Publish(Protocol):
    """Transform, render and store a datum of a topic."""

    def __call__(
        self, endpoint: StreamEndpoint, topic: Topic, data: Any, *, ends: Ends | None = None
    ) -> Coroutine[Any, Any, int | None]: ...


async def transform(endpoint: StreamEndpoint, data: Any, *, entity_id: str, final: bool) -> Any:
    """What the endpoint's `transform_fn` makes of `data`; `data` itself where there is none."""
    fn = endpoint.transform_fn
    if fn is None:
        return data
    given = {"entity_id": entity_id, "final": final}
    result = fn(data, **{name: given[name] for name in endpoint.accepts})
    return await result if inspect.isawaitable(result) else result


class RunningSource:
    """The source of one topic, in a task of its own from its start to its close.

    It waits for the tasks in `before`, the earlier runs of the same topic, to have closed. When it
    ends by itself the topic is ended; when it fails, after `restarts` further tries, the topic is
    ended as failed. When it is stopped it is closed, and the topic is left alone.
    """

    def __init__(
        self,
        source: DataSource,
        endpoint: StreamEndpoint,
        topic: Topic,
        *,
        publish: Publish,
        entities: Entities,
        restarts: int,
        close_timeout: float | None,
        before: Iterable[Task],
        on_done: Callable[[], None],
    ) -> None:
        self._source = source
        self._endpoint = endpoint
        self._topic = topic
        self._publish = publish
        self._entities = entities
        self._restarts = restarts
        self._close_timeout = close_timeout
        self._before = tuple(before)
        self._stopping = False
        self.ending = False
        """Whether it has run to its end, and its topic's last event is on the way."""
        self.task = spawn(f"source of {topic}", self._run, on_done=on_done)

    def stop(self) -> None:
        """Close the source, unless it is closing, or on its last words, already."""
        if not self._stopping and not self.ending:
            self._stopping = True
            self.task.cancel()

    async def _run(self) -> None:
        for task in self._before:  # one source per topic: the last run closes first
            with anyio.move_on_after(self._close_timeout) as scope:
                await task.wait()
            if scope.cancelled_caught:
                logger.warning("%s did not close within %s s", task.name, self._close_timeout)
        try:
            ran = await self._attempts()
            if self._stopping:
                return
            self.ending = True
            if ran:
                final, ends = await self._final()
                await self._publish(self._endpoint, self._topic, final, ends=ends)
        except TopicEnded:
            return
        except Exception:
            logger.exception("the last event of %s failed", self._topic)
            ran = False
        if not ran:
            with contextlib.suppress(TopicEnded):
                await self._publish(self._endpoint, self._topic, None, ends="failed")

    async def _attempts(self) -> bool:
        """Run the source until it ends; False when it failed once too often."""
        for attempt in range(self._restarts + 1):
            if attempt > 0:
                await anyio.sleep(min(30.0, 0.05 * 2.0 ** min(attempt, 10)))
            try:
                await run_source(
                    self._source, self._topic.entity_id, self._emit, self._close_timeout
                )
                return True
            except TopicEnded:
                raise
            except (asyncio.CancelledError, SystemExit):
                if self._stopping:
                    raise
                # Not ours: what the source waited for was cancelled, or it tried to end us.
                logger.exception("the source of %s was cancelled", self._topic)
                break
            except Exception:
                logger.exception("the source of %s failed", self._topic)
                if self._stopping:
                    break
        return False

    async def _emit(self, data: Any) -> bool:
        if not self._stopping:
            await self._publish(self._endpoint, self._topic, data)
        return not self._stopping

    async def _final(self) -> tuple[Any, Ends]:
        """The entity, where the source's end is its end too and `transform_fn` can show it."""
        entity, active = await self._entities.look_up(self._topic.entity_id)
        if active:
            return None, "done"
        return (entity if "final" in self._endpoint.accepts else None), "inactive"
