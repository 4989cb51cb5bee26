"""This project: one topic that is published to, default settings, the memory broker."""

from __future__ import annotations

from multistream_asgi import MultiStreamManager, StreamEndpoint

__all__ = ["make"]


class MultiStream:
    """See above."""

    def __init__(self) -> None:
        self._manager = MultiStreamManager()
        self._manager.register_endpoint(StreamEndpoint("bench", "_bench"))
        self.asgi = self._manager
        self.path = self._manager.url("job1", "bench")

    @property
    def viewers(self) -> int:
        return len(self._manager.connection_registry.get_connections())

    async def publish(self, data: str) -> None:
        await self._manager.publish("bench", "job1", data)


make = MultiStream
