"""Stores of certificates."""

from guardrail.request import CertificateKey
from guardrail.stores.base import CertificateStore, StoreStats
from guardrail.stores.memory import MemoryStore
from guardrail.stores.redis.store import RedisStore
from guardrail.stores.signing import Signer

__all__ = ["CertificateKey", "CertificateStore", "MemoryStore", "RedisStore", "Signer", "StoreStats"]
