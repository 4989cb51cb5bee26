"""Several live streams per entity over Server-Sent Events, for any ASGI app."""

from .app import MultiStreamManager, MultiStreamMiddleware
from .brokers.base import Broker
from .brokers.memory import MemoryBroker
from .config import Limits, StreamConfig, StreamEndpoint
from .connections import ConnectionRegistry, SSEConnection
from .errors import MultiStreamError, Refused, TopicEnded
from .events import Cursor, Event, Topic

__all__ = [
    "Broker",
    "ConnectionRegistry",
    "Cursor",
    "Event",
    "Limits",
    "MemoryBroker",
    "MultiStreamError",
    "MultiStreamManager",
    "MultiStreamMiddleware",
    "Refused",
    "SSEConnection",
    "StreamConfig",
    "StreamEndpoint",
    "Topic",
    "TopicEnded",
]
