"""Remembers judgements across requests."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import OrderedDict
from collections.abc import Sequence

from pydantic import SecretBytes

from guardrail.digests import digest_of
from guardrail.errors import ConfigurationError
from guardrail.oracles.base import Oracle, OracleTraits, OracleWrapper, classify, is_failure
from guardrail.prompts import Prompt


class RememberingOracle(OracleWrapper):
    """Asks another oracle once per prompt and answer, and remembers what it said for later requests.

    For oracles that cost something: a chat model, a safety model. Within one request the core asks a function about
    equal answers once anyway. A failed judgement is never remembered. The table holds hashes, no texts, and forgets
    what was not asked for longest; it is this object's own, so restarts and replicas begin anew. It may be asked from
    many threads: where two judge the same answer at once, both are told the word that was there first.

    That is sound for a function (`OracleTraits.deterministic`). A judge that samples, remembered in a table that is
    forgotten, decides a whole request by one call, so it is refused; unless it takes seeds (`classify_draws`) and there
    is a `key`. Then the seed of each judgement is a function of key, prompt and answer: a table drawn once for good,
    the same after restarts and on all replicas with this key. Certificates are exact about that table
    (`judgements = "kept table"`). Its errors are fixed per answer, as those of any function, so of the error models
    only the worst case may be claimed, and that by transfer only.

    Args:
        oracle: judges what is not remembered.
        capacity: judgements that are kept, at some 200 bytes each.
        key: secret of a table that is kept of a judge that samples, at least 16 bytes; it never changes.

    Raises:
        ConfigurationError: a capacity below 1, an oracle whose classes are found per request, one that is not known to
            be a function and cannot be kept, or a short key.
    """

    deterministic = True

    def __init__(self, oracle: Oracle, capacity: int = 100_000, *, key: bytes | SecretBytes | None = None) -> None:
        if not isinstance(oracle, Oracle):
            raise ConfigurationError(f"only an oracle with classes can be remembered, got {type(oracle).__name__}")
        if capacity < 1:
            raise ConfigurationError(f"capacity must be at least 1, got {capacity}")
        self.oracle = oracle
        self.capacity = capacity
        self._key: bytes | None = None
        traits = OracleTraits.of(oracle)
        if traits.deterministic is not True:
            if not (traits.repeats_judgements and hasattr(oracle, "classify_draws")) or key is None:
                raise ConfigurationError(
                    f"oracle {oracle.name} is not known to be a function, and a judge that samples may not be "
                    "remembered: use it as it is; or say deterministic=True, where `guardrail doctor --oracle` finds "
                    "it so; or keep one table of it for good, by a key and by seeds (`classify_draws`)"
                )
            self._key = key.get_secret_value() if isinstance(key, SecretBytes) else key
            if len(self._key) < 16:
                raise ConfigurationError("the key of a kept table needs at least 16 bytes: `openssl rand -hex 32`")
        self._labels: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RememberingOracle({self.oracle.name!r}, {len(self)} of {self.capacity})"

    def __len__(self) -> int:
        """Number of judgements that are remembered."""
        return len(self._labels)

    @property
    def kept_table(self) -> bool:
        """See `OracleTraits`."""
        return self._key is not None or super().kept_table

    @property
    def name(self) -> str:
        """The other oracle's name, as a table changes no class of a function; of a kept table, which one it is."""
        if self._key is None:
            return self.oracle.name
        return f"table {hmac.digest(self._key, b'name', hashlib.sha256).hex()[:12]} of {self.oracle.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The other oracle's classes."""
        return self.oracle.classes

    @property
    def _others(self) -> tuple[Oracle, ...]:
        return (self.oracle,)

    def _classify(
        self,
        answers: Sequence[str],
        prompts: Sequence[Prompt],
        deadline: float | None,
        seeds: Sequence[int] | None,  # noqa: ARG002 - a table has those of its own
    ) -> list[str]:
        """Ask the other oracle once about each answer that is not remembered."""
        keys = [_key(self.oracle.name, answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)]
        labels = self._remembered(keys)
        new = {key: i for i, key in enumerate(keys) if key not in labels}
        asked = [answers[i] for i in new.values()], [prompts[i] for i in new.values()]
        own = None if self._key is None else [_seed(self._key, key) for key in new]
        labels |= self._remember(dict(zip(new, classify(self.oracle, *asked, deadline, own), strict=True)))
        return [labels[key] for key in keys]

    def _remembered(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        with self._lock:
            known = {key: self._labels[key] for key in keys if key in self._labels}
            for key in known:
                self._labels.move_to_end(key)
        return known

    def _remember(self, judged: dict[bytes, str]) -> dict[bytes, str]:
        """Keep new judgements, and return what is now the word on each."""
        with self._lock:
            told = {
                key: label if is_failure(label) else self._labels.setdefault(key, label)
                for key, label in judged.items()
            }
            while len(self._labels) > self.capacity:
                self._labels.popitem(last=False)
        return told


def _key(name: str, answer: str, prompt: Prompt) -> bytes:
    """Hash oracle, prompt and answer: none can reach into another."""
    return digest_of((name.encode(), prompt.digest.encode(), answer.encode("utf-8", "surrogatepass")))


def _seed(secret: bytes, judgement: bytes) -> int:
    """Return the seed, in [0, 2⁶³), of one judgement of a kept table."""
    return int.from_bytes(hmac.digest(secret, b"seed" + judgement, hashlib.sha256)[:8], "little") >> 1
