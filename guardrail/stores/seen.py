"""Files seen before: which picture their bytes make is known, so that a hit need not decode them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from guardrail.digests import digest_of
from guardrail.images.limits import ImageLimits
from guardrail.images.pictures import InputImage, Taken
from guardrail.stores.base import Aliases
from guardrail.stores.outages import Outages


class SeenFiles:
    """Knows files by the hash of their bytes, as they were decoded under the same limits by the same decoder.

    Args:
        aliases: where they are kept; None: nowhere, and no file is known.
        limits: on images; a file that was accepted under others is unknown.
        outages: of the store behind `aliases`.
    """

    def __init__(self, aliases: Aliases | None, limits: ImageLimits, outages: Outages | None = None) -> None:
        from PIL import __version__ as pillow

        from guardrail.version import __version__

        self._aliases = aliases
        self._outages = outages or Outages("the store", "files are decoded, seen or not")
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
                except Exception as error:  # noqa: BLE001 - whatever a store raises, files can be decoded again
                    self._outages.failed("told files", error)
                else:
                    self._outages.worked("told files")

    def _get(self, aliases: Aliases, name: str) -> str | None:
        try:
            found = aliases.get_alias(name)
            if found is not None and not re.fullmatch("[0-9a-f]{64}", found):
                raise ValueError(f"a file's image has a hash of 64 hexadecimal digits, got {found[:80]!r}")
        except Exception as error:  # noqa: BLE001 - as in learn
            self._outages.failed("asked for files", error)
            return None
        self._outages.worked("asked for files")
        return found

    def _name(self, source: Taken) -> str | None:
        if not isinstance(source, bytes):
            return None
        digest = hashlib.sha256(self._decoder)
        digest.update(source)
        return digest.hexdigest()
