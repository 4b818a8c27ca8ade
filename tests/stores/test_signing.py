"""What is kept cannot be forged, replayed or poisoned: whatever does not verify is a counted miss."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.stores import InMemoryByteStore
from pydantic import SecretStr

from guardrail import Certificate, InputImage, SmoothedClassifier, Smoothing
from guardrail.errors import ConfigurationError
from guardrail.stores import CertificateKey, Signer
from guardrail.stores.langchain import LangChainStore
from guardrail.stores.signing import RejectedEntryError
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

IMAGE = InputImage(np.full((4, 4, 3), 200, np.uint8))
KEY, OTHER = CertificateKey("a" * 64, "b" * 64), CertificateKey("a" * 64, "c" * 64)
SIGNER = Signer("a secret of these tests")
CERTIFICATE = SmoothedClassifier(HalfSpaceVLM(0.0), ORACLE, Smoothing(samples=20)).certify(IMAGE, "?")


class OneEntry(InMemoryByteStore):
    """Answers every key with the same entry."""

    entry: bytes = b""

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.entry for _ in keys]


def entry_of(signer: Signer, key: CertificateKey = KEY, ttl: float = 3600.0) -> bytes:
    kept = InMemoryByteStore()
    LangChainStore(kept, signer=signer, ttl=ttl).put(key, CERTIFICATE)
    return kept.store[next(iter(kept.store))]


GOOD = entry_of(SIGNER)
REPLAYED = entry_of(SIGNER, OTHER)
FOREIGN = entry_of(Signer("somebody else's secret"))
OLD = b"GS\x00" + GOOD[3:]


def flipped(index: int, bit: int) -> bytes:
    changed = bytearray(GOOD)
    changed[index % len(GOOD)] ^= 1 << bit
    return bytes(changed)


POISON = st.one_of(
    st.binary(max_size=2000),
    st.binary(max_size=2000).map(lambda tail: GOOD[:43] + tail),
    st.integers(0, len(GOOD) - 1).map(lambda length: GOOD[:length]),
    st.binary(min_size=1, max_size=50).map(lambda tail: GOOD + tail),
    st.builds(flipped, st.integers(0, 10_000), st.integers(0, 7)),
    st.sampled_from([REPLAYED, FOREIGN, OLD, CERTIFICATE.to_json().encode(), b""]),
    st.integers(0, len(GOOD)).map(lambda cut: GOOD[:cut] + REPLAYED[cut:]).filter(lambda entry: entry != GOOD),
)


@pytest.mark.slow
@settings(max_examples=2500, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(poison=POISON)
def test_poison_is_a_counted_miss(poison: bytes) -> None:
    kept = OneEntry()
    kept.entry = poison
    store = LangChainStore(kept, signer=SIGNER)
    assert store.get(KEY) is None
    assert (store.stats.hits, store.stats.misses, store.stats.rejected.total()) == (0, 1, 1)


def test_the_good_entry_is_good_under_its_own_key_alone() -> None:
    kept = OneEntry()
    kept.entry = GOOD
    store = LangChainStore(kept, signer=SIGNER)
    assert store.get(KEY) == CERTIFICATE
    assert store.get(OTHER) is None
    assert store.stats.rejected == {"signature": 1}


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (b"", "malformed"),
        (GOOD[:42], "malformed"),
        (b"XX" + GOOD[2:], "malformed"),
        (OLD, "version"),
        (FOREIGN, "signature"),
        (GOOD + b"\x00" * 2**18, "too_large"),
    ],
    ids=["empty", "cut", "another_beginning", "old", "foreign", "too_long"],
)
def test_each_cause_is_named(entry: bytes, cause: str) -> None:
    with pytest.raises(RejectedEntryError) as caught:
        SIGNER.open("name", entry)
    assert caught.value.cause == cause


def test_time_to_live_is_inside_and_signed() -> None:
    entry = SIGNER.seal("name", b"content", 0.3)
    assert SIGNER.open("name", entry) == b"content"
    time.sleep(0.35)
    with pytest.raises(RejectedEntryError, match="expired"):
        SIGNER.open("name", entry)
    longer = entry[:3] + (int(time.time() * 1000) + 10**6).to_bytes(8) + entry[11:]
    with pytest.raises(RejectedEntryError, match="signature"):
        SIGNER.open("name", longer)


def test_neither_a_large_value_nor_a_bomb_is_kept_or_opened() -> None:
    with pytest.raises(RejectedEntryError, match="too_large"):
        SIGNER.seal("name", b"x" * 101, 1.0, limit=100)
    bomb = SIGNER.seal("name", b"\x00" * 10**7, 60.0, limit=10**8)
    assert len(bomb) < 20_000
    with pytest.raises(RejectedEntryError, match="too_large"):
        SIGNER.open("name", bomb)


def test_keys_are_rotated_without_a_gap() -> None:
    old, new = "the secret of last year", SecretStr("the secret of this year")
    before, between, after = Signer(old), Signer(new, old), Signer(new)
    assert between.open("n", before.seal("n", b"1", 60.0)) == b"1"
    assert after.open("n", between.seal("n", b"2", 60.0)) == b"2"
    with pytest.raises(RejectedEntryError, match="signature"):
        after.open("n", before.seal("n", b"3", 60.0))


def test_the_name_and_the_content_cannot_be_shifted_into_one_another() -> None:
    with pytest.raises(RejectedEntryError, match="signature"):
        SIGNER.open("nam", SIGNER.seal("name", b"", 60.0))
    sealed, shifted = SIGNER.seal("ab", b"c", 60.0, compress=False), SIGNER.seal("a", b"bc", 60.0, compress=False)
    assert sealed[11:43] != shifted[11:43]


def test_secrets_are_checked_and_hidden() -> None:
    with pytest.raises(ConfigurationError, match="16 bytes") as caught:
        Signer("short")
    assert "short" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="at least one"):
        Signer()
    assert "secret of these" not in repr(SIGNER) + repr(vars(SIGNER))


def test_a_certificate_of_another_schema_is_a_miss() -> None:
    kept = OneEntry()
    store = LangChainStore(kept, signer=SIGNER)
    name = str(KEY).replace(":", "/")
    for content in (b"", b"[]", b'{"verdict": "harmless"}', CERTIFICATE.to_json().encode()[:-1] + b',"extra":1}'):
        kept.entry = SIGNER.seal(name, content, 60.0)
        assert store.get(KEY) is None
    assert store.stats.rejected == {"content": 4}


def test_what_verifies_is_the_certificate_to_the_last_bit() -> None:
    kept = InMemoryByteStore()
    store = LangChainStore(kept, signer=SIGNER)
    store.put(KEY, CERTIFICATE)
    got = store.get(KEY)
    assert isinstance(got, Certificate)
    assert got.to_json() == CERTIFICATE.to_json()
