"""The registry: true numbers, and no type taken for another."""

from __future__ import annotations

import logging

import pytest

from multistream_asgi import ConnectionRegistry, Topic


def test_the_numbers_are_live() -> None:
    registry = ConnectionRegistry()
    one = registry.add("log:a", (Topic("log", "a"),))
    many = registry.add("many", (Topic("log", "a"), Topic("status", "b")))
    one.message_count += 3
    assert registry.get_stats() == {
        "total": 2,
        "active": 2,
        "by_type": {"log:a": 1, "many": 1},
        "message_count": 3,
    }
    registry.remove(one.connection_id)
    registry.remove(one.connection_id)
    assert not one.is_active()
    assert many.is_active()
    assert registry.get_stats()["total"] == 1
    assert registry.get_connection(one.connection_id) is None
    assert registry.get_connection(many.connection_id) is many
    assert registry.get_active_connections() == [many]


def test_connections_are_found_by_type_stream_and_entity() -> None:
    registry = ConnectionRegistry()
    one = registry.add("log:a", (Topic("log", "a"),))
    two = registry.add("many", (Topic("log", "b"), Topic("status", "a")))
    assert registry.get_connections("log:a") == [one]
    assert registry.get_connections(stream="log") == [one, two]
    assert registry.get_connections(entity_id="a") == [one, two]
    assert registry.get_connections(stream="log", entity_id="b") == [two]
    assert registry.get_connections(stream="status", entity_id="b") == []
    assert registry.get_connections("many", entity_id="a") == [two]


def test_topics_that_read_alike_are_not_taken_for_one_another() -> None:
    assert str(Topic("a_b", "c")) != str(Topic("a", "b_c"))
    assert str(Topic("a", "b:c")) != str(Topic("a", "b%3Ac"))


def test_metadata_tells_what_is_watched() -> None:
    registry = ConnectionRegistry()
    assert registry.add("t", (Topic("log", "a"),)).metadata == {"entity_id": "a", "stream": "log"}
    many = registry.add("many", (Topic("log", "a"), Topic("log", "b")))
    assert many.metadata == {"topics": ["log:a", "log:b"]}
    assert "0 messages" in repr(many)


async def test_the_earlier_names_work() -> None:
    registry = ConnectionRegistry(debug=True)
    connection = await registry.add_connection(conn_type="global", metadata={"a": 1})
    named = await registry.add_connection("mine")
    assert connection.metadata == {"a": 1}
    assert connection.connection_id != named.connection_id == "mine"
    with pytest.raises(ValueError, match="connection_id"):
        await registry.add_connection("mine")
    await registry.remove_connection(connection.connection_id)
    assert registry.get_connections() == [named]


def test_with_debug_coming_and_going_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "multistream_asgi")
    quiet = ConnectionRegistry()
    quiet.remove(quiet.add("log:a").connection_id)
    assert not caplog.messages
    registry = ConnectionRegistry(debug=True)
    registry.remove(registry.add("log:a").connection_id)
    assert caplog.messages == ["connection log:a#1 is open", "connection log:a#1 is closed"]
