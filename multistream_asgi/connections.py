"""The open connections of a process, with live numbers."""

from __future__ import annotations

import datetime
import logging
from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import Any

from .events import Topic

__all__ = ["ConnectionRegistry", "SSEConnection"]


logger = logging.getLogger("multistream_asgi")


class SSEConnection:
    """One open connection. `message_count` counts the events written to it so far."""

    __slots__ = (
        "_metadata", "connection_id", "connection_type", "created_at", "message_count", "open",
        "topics",
    )  # fmt: skip

    def __init__(
        self,
        connection_id: str,
        connection_type: str,
        topics: tuple[Topic, ...] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.connection_id = connection_id
        self.connection_type = connection_type
        self.topics = topics
        self.created_at = datetime.datetime.now(datetime.UTC)
        self.message_count = 0
        self.open = True
        self._metadata = metadata

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was given, or the entity and stream, or the topics where there are many."""
        if self._metadata is not None:
            return self._metadata
        if len(self.topics) == 1:
            return {"entity_id": self.topics[0].entity_id, "stream": self.topics[0].stream}
        return {"topics": [str(topic) for topic in self.topics]}

    def is_active(self) -> bool:
        """Whether the connection is still open."""
        return self.open

    def __repr__(self) -> str:
        state = "open" if self.open else "closed"
        return f"<SSEConnection {self.connection_id} {state}, {self.message_count} messages>"


class ConnectionRegistry:
    """Every open connection of the managers that share it.

    A connection's type is the text of its topic, `progress:job1`, or `many` where it carries
    several topics. With `debug` their coming and going is logged at INFO.
    """

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug
        self.connections: dict[str, SSEConnection] = {}
        self._ids = count(1)

    def add(
        self,
        connection_type: str,
        topics: tuple[Topic, ...] = (),
        *,
        connection_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> SSEConnection:
        """Enter a connection. An id that is in use is a `ValueError`."""
        if connection_id is None:
            names = (f"{connection_type}#{number}" for number in self._ids)
            connection_id = next(name for name in names if name not in self.connections)
        elif connection_id in self.connections:
            raise ValueError(f"connection_id: {connection_id!r} is in use")
        connection = SSEConnection(connection_id, connection_type, topics, metadata)
        self.connections[connection_id] = connection
        if self.debug:
            logger.info("connection %s is open", connection_id)
        return connection

    def remove(self, connection_id: str) -> None:
        """Take a connection out; one that is not there is no error."""
        connection = self.connections.pop(connection_id, None)
        if connection is not None:
            connection.open = False
            if self.debug:
                logger.info("connection %s is closed", connection_id)

    async def add_connection(
        self,
        conn_id: str | None = None,
        conn_type: str = "global",
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> SSEConnection:
        """`add`, under the name and arguments that earlier code knows."""
        return self.add(conn_type, connection_id=conn_id, metadata=metadata)

    async def remove_connection(self, conn_id: str) -> None:
        """`remove`, under the name that earlier code knows."""
        self.remove(conn_id)

    def get_connection(self, conn_id: str) -> SSEConnection | None:
        """The open connection of that id."""
        return self.connections.get(conn_id)

    def get_connections(
        self,
        conn_type: str | None = None,
        *,
        stream: str | None = None,
        entity_id: str | None = None,
    ) -> list[SSEConnection]:
        """The open connections, of one type, or those that carry a stream or an entity."""
        return [
            connection
            for connection in self.connections.values()
            if (conn_type is None or connection.connection_type == conn_type)
            and (
                (stream is None and entity_id is None)
                or any(
                    stream in (None, topic.stream) and entity_id in (None, topic.entity_id)
                    for topic in connection.topics
                )
            )
        ]

    def get_active_connections(self, conn_type: str | None = None) -> list[SSEConnection]:
        """The open connections; those that have ended are not kept."""
        return self.get_connections(conn_type)

    def get_stats(self) -> dict[str, Any]:
        """`total`, `active`, `by_type` and `message_count`, as they are now."""
        connections = self.connections.values()
        return {
            "total": len(connections),
            "active": sum(connection.open for connection in connections),
            "by_type": dict(Counter(c.connection_type for c in connections)),
            "message_count": sum(c.message_count for c in connections),
        }
