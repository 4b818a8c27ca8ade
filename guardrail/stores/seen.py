"""Files seen before: which picture their bytes make is known, so that a hit need not decode them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from guardrail.digests import digest_of
from guardrail.errors import StoreError
from guardrail.images.pictures import ImageLimits, InputImage, Taken
from guardrail.stores.base import Aliases

logger = logging.getLogger(__name__)


class SeenFiles:
    """Knows files by the hash of their bytes, as they were decoded under the same limits by the same decoder.

    Args:
        aliases: where they are kept; None: nowhere, and no file is known.
        limits: on images; a file that was accepted under others is unknown.
    """

    def __init__(self, aliases: Aliases | None, limits: ImageLimits) -> None:
        from PIL import __version__ as pillow

        from guardrail.version import __version__

        self._aliases = aliases
        self._decoder = digest_of(part.encode() for part in (repr(limits), __version__, pillow))

    def hashes(self, sources: Sequence[Taken]) -> tuple[str, ...] | None:
        """Return the hash of each source's canonical pixels; None unless all of them are files that were seen."""
        found = []
        for source in sources:
            name = self._name(source)
            image = None if name is None or self._aliases is None else self._get(self._aliases, name)
            if image is None:
                return None
            found.append(image)
        return tuple(found)

    def learn(self, sources: Sequence[Taken], pictures: Sequence[InputImage]) -> None:
        """Keep what files have been decoded to."""
        for source, picture in zip(sources, pictures, strict=True):
            name = self._name(source)
            if name is not None and self._aliases is not None:
                try:
                    self._aliases.put_alias(name, picture.sha256)
                except StoreError as error:
                    logger.warning("a file will have to be decoded again: %s", error)

    def _get(self, aliases: Aliases, name: str) -> str | None:
        try:
            return aliases.get_alias(name)
        except StoreError as error:
            logger.warning("files are decoded, seen or not: %s", error)
            return None

    def _name(self, source: Taken) -> str | None:
        if not isinstance(source, bytes):
            return None
        digest = hashlib.sha256(self._decoder)
        digest.update(source)
        return digest.hexdigest()
