"""A cache of keys and values with room for the answer: a new token is written in place, and nothing is copied."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer in buffers with spare room; the library's layer copies all of them at each step.

    Args:
        room: number of tokens that fit after the first update before anything is copied.
    """

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room = room
        self._buffers: tuple[Tensor, Tensor] | None = None
        self._written: Tensor | None = None
        """The keys of the last update; where `keys` is another tensor (rows repeated or dropped), buffers are stale."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401, ARG002
        """Add the keys and values of new tokens, [rows, heads, new, size]; return those of all tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        old = self.get_seq_length()
        length = old + key_states.shape[-2]
        if self._buffers is None or self.keys is not self._written or length > self._buffers[0].shape[-2]:
            before = (cast("Tensor", self.keys), cast("Tensor", self.values))
            self._buffers = (self._roomy(before[0], key_states, old), self._roomy(before[1], value_states, old))
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., old:length, :] = new
        self.keys, self.values = (buffer[..., :length, :] for buffer in self._buffers)
        self._written = self.keys
        return self.keys, self.values

    def _roomy(self, before: Tensor, new: Tensor, old: int) -> Tensor:
        """Return a buffer with the values before, and room for more."""
        rows, heads, more, size = new.shape
        buffer = new.new_empty(rows, heads, old + more + self._room, size)
        if old:
            buffer[..., :old, :] = before
        return buffer


def roomy_cache(config: Any, room: int) -> DynamicCache:  # noqa: ANN401
    """Return the library's cache for a model, with room in the layers that keep every token."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
