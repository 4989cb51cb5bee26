"""The user's check, and the user's knowledge of entities."""

from __future__ import annotations

from typing import Any

import pytest

from multistream_asgi import Refused, Topic
from multistream_asgi.authorize import authorize
from multistream_asgi.entities import Entities

TOPICS = [Topic("log", "a"), Topic("log", "b")]


async def test_every_topic_is_asked_for_with_the_scope() -> None:
    asked = []
    scope: Any = {"user": "ann"}

    async def check(scope: Any, topic: Topic) -> bool:
        asked.append((scope["user"], topic))
        return True

    await authorize(check, scope, TOPICS)
    assert asked == [("ann", topic) for topic in TOPICS]
    await authorize(None, scope, TOPICS)


@pytest.mark.parametrize("answer", [False, None, 0, ""])
async def test_what_is_not_true_is_a_403(answer: Any) -> None:
    """Also the None of a check that forgot to return."""
    with pytest.raises(Refused) as refused:
        await authorize(lambda scope, topic: topic.entity_id == "a" or answer, {}, TOPICS)
    assert refused.value.status == 403


async def test_a_check_may_refuse_with_a_status_of_its_own() -> None:
    def check(scope: Any, topic: Topic) -> bool:
        raise Refused(401, "who are you?", headers={"www-authenticate": "Basic"})

    with pytest.raises(Refused) as refused:
        await authorize(check, {}, TOPICS)
    assert refused.value.status == 401


@pytest.mark.parametrize("status", [200, 302, 399, 600])
def test_a_refusal_is_an_error_status(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        Refused(status, "x")


async def asynchronously(value: Any) -> Any:
    return value


@pytest.mark.parametrize("wrap", [lambda value: value, asynchronously])
async def test_entities_may_be_looked_up_either_way(wrap: Any) -> None:
    known = {"a": {"on": True}, "b": {"on": False}}
    entities = Entities(lambda id: wrap(known.get(id)), lambda entity: wrap(entity["on"]))
    assert await entities.look_up("a") == ({"on": True}, True)
    assert await entities.look_up("b") == ({"on": False}, False)
    assert await entities.look_up("c") == (None, False)


async def test_without_the_functions_every_entity_is_active() -> None:
    assert await Entities(None, None).look_up("a") == (None, True)
    assert await Entities(lambda id: id, None).look_up("a") == ("a", True)
    assert await Entities(lambda id: None, None).look_up("a") == (None, False)
