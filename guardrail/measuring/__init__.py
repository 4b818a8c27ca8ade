"""Measuring what certificates rest on: recall of harmful images, and the errors of oracles."""
