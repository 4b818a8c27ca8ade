"""Batches whose requests with media are certified together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from langchain_core.runnables import Runnable


class Together(Runnable[Any, Any]):
    """A door whose batches share the model's batches; text goes the chain's own way."""

    @abstractmethod
    def _together(
        self,
        inputs: Sequence[Any],
        config: Any,
        options: dict[str, Any],
    ) -> AbstractContextManager[Runnable[Any, Any]]:
        """Give what serves a batch: a door like this one, or what is behind it where there is only text."""

    def batch(
        self,
        inputs: list[Any],
        config: Any = None,  # a config, or one for each; base classes differ in how they say so
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Run on several inputs; those with media are certified together."""
        with self._together(inputs, config, kwargs) as door:
            batch = Runnable.batch if isinstance(door, Together) else type(door).batch
            return batch(door, inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[Any],
        config: Any = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Run on several inputs as concurrent tasks; those with media are certified together."""
        with self._together(inputs, config, kwargs) as door:
            batch = Runnable.abatch if isinstance(door, Together) else type(door).abatch
            return await batch(door, inputs, config, return_exceptions=return_exceptions, **kwargs)

    def batch_as_completed(
        self,
        inputs: Sequence[Any],
        config: Any = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Iterator[tuple[int, Any]]:
        """Run on several inputs; each result comes when it is ready, with the number of its input."""
        options: Any = {"return_exceptions": return_exceptions, **kwargs}
        with self._together(inputs, config, kwargs) as door:
            batch = Runnable.batch_as_completed if isinstance(door, Together) else type(door).batch_as_completed
            yield from batch(door, inputs, config, **options)

    async def abatch_as_completed(
        self,
        inputs: Sequence[Any],
        config: Any = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, Any]]:
        """Run on several inputs as concurrent tasks; each result comes when it is ready, with its input's number."""
        options: Any = {"return_exceptions": return_exceptions, **kwargs}
        with self._together(inputs, config, kwargs) as door:
            batch = Runnable.abatch_as_completed if isinstance(door, Together) else type(door).abatch_as_completed
            async for result in batch(door, inputs, config, **options):
                yield result
