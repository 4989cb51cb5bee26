"""Every setting is checked when it is built, and the error names it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from multistream_asgi import Limits, MultiStreamManager, StreamConfig, StreamEndpoint


def made(cls: Any, name: str, value: Any) -> Any:
    return cls(**{name: value})


def test_the_defaults_are_valid_and_the_first_seven_are_positional() -> None:
    config = StreamConfig(30.0, None, False, "hello", False, "bye", True)
    assert (config.heartbeat_interval, config.initial_message, config.debug) == (
        30.0,
        "hello",
        True,
    )
    assert StreamConfig().mode == "log"
    with pytest.raises(TypeError):
        StreamConfig(30.0, None, False, "hello", False, "bye", True, "state")  # type: ignore[call-arg]
    with pytest.raises(FrozenInstanceError):
        config.mode = "state"  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["heartbeat_interval", "timeout", "max_rate", "history", "retry_ms"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_number_that_is_none_names_its_setting(name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        made(StreamConfig, name, value)


@pytest.mark.parametrize("name", ["linger", "final_ttl", "restarts"])
def test_zero_is_a_time_to_linger_but_less_is_not(name: str) -> None:
    assert getattr(made(StreamConfig, name, 0), name) == 0
    with pytest.raises(ValueError, match=name):
        made(StreamConfig, name, -1)


@pytest.mark.parametrize("name", ["heartbeat_interval", "timeout", "max_rate", "linger"])
def test_none_turns_it_off(name: str) -> None:
    assert getattr(made(StreamConfig, name, None), name) is None


@pytest.mark.parametrize("name", ["history", "retry_ms", "restarts"])
def test_counts_are_whole(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        made(StreamConfig, name, 1.5)


@pytest.mark.parametrize("name", ["initial_message", "close_message"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "\0", "\ud800", None])
def test_a_message_is_one_line(name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        made(StreamConfig, name, value)


def test_a_mode_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="mode"):
        StreamConfig(mode="queue")  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [field.name for field in fields(Limits)])
def test_every_limit_can_be_turned_off_and_none_is_zero(field: str) -> None:
    assert getattr(made(Limits, field, None), field) is None
    for value in (0, -1, "1", True):
        with pytest.raises((ValueError, TypeError), match=field):
            made(Limits, field, value)


async def source(entity_id: str) -> Any:
    yield entity_id


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": 1}, "name"),
        ({"path_suffix": ""}, "path_suffix"),
        ({"path_suffix": "/"}, "path_suffix"),
        ({"path_suffix": "_a?b"}, "path_suffix"),
        ({"path_suffix": "_a b"}, "path_suffix"),
        ({"path_suffix": None}, "path_suffix"),
        ({"data_source": 42}, "data_source"),
        ({"data_source": "x"}, "data_source"),
        ({"data_source": iter(())}, "data_source"),
        ({"transform_fn": "x"}, "transform_fn"),
        ({"config": {}}, "config"),
        ({"dom_id": "x"}, "dom_id"),
    ],
)
def test_an_endpoint_refuses_what_it_could_not_serve(options: dict[str, Any], named: str) -> None:
    given = {"name": "log", "path_suffix": "_log", "data_source": source, **options}
    with pytest.raises((ValueError, TypeError), match=named):
        StreamEndpoint(**given)


@pytest.mark.parametrize(
    ("transform", "keywords"),
    [
        (lambda data: data, set()),
        (lambda data, **kwargs: data, {"entity_id", "final"}),
        (lambda data, final: data, {"final"}),
        (lambda data, *, entity_id: data, {"entity_id"}),
        (lambda data, other=1, final=False: data, {"final"}),
        (lambda final: final, set()),
        (str.upper, set()),
        (print, set()),
        (None, set()),
    ],
)
def test_a_transform_is_passed_the_keywords_it_accepts(transform: Any, keywords: set[str]) -> None:
    assert StreamEndpoint("a", "_a", transform_fn=transform).accepts == keywords


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"base_path": "stream"}, "base_path"),
        ({"base_path": "/a b"}, "base_path"),
        ({"base_path": "/a?b"}, "base_path"),
        ({"base_path": None}, "base_path"),
        ({"connection_registry": {}}, "connection_registry"),
        ({"default_config": {}}, "default_config"),
        ({"limits": {}}, "limits"),
        ({"authorize": True}, "authorize"),
        ({"get_entity": 1}, "get_entity"),
        ({"get_entity": print, "is_active": 1}, "is_active"),
        ({"is_active": print}, "is_active"),
        ({"broker": "carrier-pigeon://"}, "broker"),
        ({"broker": 1}, "broker"),
    ],
)
def test_a_manager_refuses_what_it_could_not_use(options: dict[str, Any], named: str) -> None:
    with pytest.raises((ValueError, TypeError), match=named):
        MultiStreamManager(**options)


@pytest.mark.parametrize(
    ("name", "suffix", "named"),
    [
        ("log", "_other", "name"),
        ("other", "_log", "path_suffix"),
        ("other", "/_log", "path_suffix"),
        ("other", "_log/", "path_suffix"),
    ],
)
def test_a_duplicate_is_refused_and_changes_nothing(name: str, suffix: str, named: str) -> None:
    manager = MultiStreamManager()
    first = StreamEndpoint("log", "_log")
    assert manager.register_endpoint(first) is manager
    with pytest.raises(ValueError, match=named):
        manager.register_endpoint(StreamEndpoint(name, suffix))
    assert manager.endpoints == {"log": first}
    with pytest.raises(TypeError, match="endpoint"):
        manager.register_endpoint("log")  # type: ignore[arg-type]


def test_the_decorator_without_a_name_says_so() -> None:
    with pytest.raises(TypeError, match="name"):
        MultiStreamManager().stream(source)  # type: ignore[arg-type]


def test_the_decorator_registers_and_returns_the_function() -> None:
    manager = MultiStreamManager()
    assert manager.stream("log")(source) is source
    assert manager.stream("tail", "/tail", metadata={"a": 1})(source) is source
    assert manager.endpoints["log"].path_suffix == "_log"
    assert manager.endpoints["tail"].metadata == {"a": 1}
