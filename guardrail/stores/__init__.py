"""Stores of certificates."""

from guardrail.stores.base import CertificateKey, CertificateStore
from guardrail.stores.memory import MemoryStore
from guardrail.stores.redis import RedisStore

__all__ = ["CertificateKey", "CertificateStore", "MemoryStore", "RedisStore"]
