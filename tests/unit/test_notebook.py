"""The cells of the notebook this grew from, their assertions switched on, the import changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fasthtml.common import Td, Tr

from multistream_asgi.fasthtml import (
    ConnectionRegistry,
    MultiStreamManager,
    OOBStreamBuilder,
    StreamConfig,
    StreamEndpoint,
    create_multi_stream_row,
)


def test_manager_initialization() -> None:
    manager = MultiStreamManager(base_path="/api/stream", debug=False)

    assert manager.base_path == "/api/stream"
    assert manager.debug is False
    assert len(manager.endpoints) == 0
    assert manager.connection_registry is not None
    assert manager.default_config is not None


def test_endpoint_registration() -> None:
    manager = MultiStreamManager()

    async def progress_source(entity_id: str) -> AsyncIterator[dict[str, int]]:
        for i in range(3):
            yield {"progress": i * 33}

    def progress_transform(data: dict[str, int], **kwargs: Any) -> str:
        return f"Progress: {data.get('progress', 0)}%"

    progress_endpoint = StreamEndpoint(
        name="progress",
        path_suffix="_progress",
        data_source=progress_source,
        transform_fn=progress_transform,
    )
    status_endpoint = StreamEndpoint(
        name="status", path_suffix="_status", data_source=lambda id: (yield {"status": "running"})
    )

    manager.register_endpoint(progress_endpoint)
    manager.register_endpoint(status_endpoint)

    assert "progress" in manager.endpoints
    assert "status" in manager.endpoints
    assert manager.endpoints["progress"].path_suffix == "_progress"
    assert manager.endpoints["status"].path_suffix == "_status"


def test_element_creation() -> None:
    manager = MultiStreamManager(base_path="/sse")
    endpoint = StreamEndpoint(name="test", path_suffix="_test", data_source=lambda id: None)
    manager.register_endpoint(endpoint)

    element = manager.create_element(
        entity_id="entity123", stream_name="test", element_id="test-element"
    )

    assert element.attrs.get("id") == "test-element"
    assert element.attrs.get("hx-ext") == "sse"
    assert element.attrs.get("sse-connect") == "/sse_test?id=entity123"
    assert element.attrs.get("sse-swap") == "message"
    assert element.attrs.get("sse-close") == "close"

    with pytest.raises(ValueError, match="Unknown stream"):
        manager.create_element("entity123", "unknown")


def test_row() -> None:
    manager = MultiStreamManager()
    manager.register_endpoint(
        StreamEndpoint(name="progress", path_suffix="_progress", data_source=lambda id: None)
    )
    manager.register_endpoint(
        StreamEndpoint(name="status", path_suffix="_status", data_source=lambda id: None)
    )

    def test_row_builder(entity_id: str, elements: dict[str, Any]) -> Any:
        return Tr(
            Td(entity_id),
            Td(elements.get("progress", "N/A")),
            Td(elements.get("status", "N/A")),
            id=f"row-{entity_id}",
        )

    row = create_multi_stream_row(
        manager=manager,
        entity_id="job123",
        streams=[
            {"name": "progress", "initial_content": "Starting..."},
            {"name": "status", "initial_content": "Pending"},
        ],
        row_builder=test_row_builder,
        active=True,
    )
    assert row.attrs.get("id") == "row-job123"
    assert len(row.children) == 3

    static_row = create_multi_stream_row(
        manager=manager,
        entity_id="job456",
        streams=[
            {"name": "progress", "initial_content": "100%"},
            {"name": "status", "initial_content": "Complete"},
        ],
        row_builder=test_row_builder,
        active=False,
    )
    assert static_row.attrs.get("id") == "row-job456"


def test_the_names_the_notebook_imports_are_there() -> None:
    assert ConnectionRegistry().get_stats()["total"] == 0
    assert StreamConfig().heartbeat_interval == 15.0
    assert not OOBStreamBuilder().elements
