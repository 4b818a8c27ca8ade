"""Redis, shared by all replicas: certificates, locks, points of near hits, and buckets of draws."""
