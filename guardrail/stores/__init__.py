"""Stores of certificates."""

from guardrail.stores.base import CertificateKey, CertificateStore, StoreStats
from guardrail.stores.memory import MemoryStore
from guardrail.stores.redis.store import RedisStore
from guardrail.stores.signing import Signer

__all__ = ["CertificateKey", "CertificateStore", "MemoryStore", "RedisStore", "Signer", "StoreStats"]
