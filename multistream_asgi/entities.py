"""The user's own knowledge of entities: whether one exists, and whether it is still active."""

from __future__ import annotations

import inspect
from typing import Any

from .types import GetEntity, IsActive

__all__ = ["Entities"]


class Entities:
    """`get_entity(id)` and `is_active(entity)`, either of which may be missing or async."""

    def __init__(self, get_entity: GetEntity | None, is_active: IsActive | None) -> None:
        for name, fn in (("get_entity", get_entity), ("is_active", is_active)):
            if fn is not None and not callable(fn):
                raise TypeError(f"{name} must be callable or None, not {type(fn).__name__}")
        if is_active is not None and get_entity is None:
            raise ValueError("is_active needs get_entity")
        self._get_entity = get_entity
        self._is_active = is_active

    async def look_up(self, entity_id: str) -> tuple[Any, bool]:
        """The entity and whether it is active. Without `get_entity` every id is."""
        if self._get_entity is None:
            return None, True
        entity = self._get_entity(entity_id)
        if inspect.isawaitable(entity):
            entity = await entity
        if not entity:
            return entity, False
        if self._is_active is None:
            return entity, True
        active = self._is_active(entity)
        return entity, bool(await active if inspect.isawaitable(active) else active)
