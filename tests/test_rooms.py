"""What may import what: no file reaches itself by its imports, lazy ones included."""

from __future__ import annotations

import grimp
import pytest

LAZY_FACE = ("guardrail.models", "guardrail.bundled.model")
"""`from guardrail.models import BundledVLM`: made when it is asked for, because the bundled model stands on models."""


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Which file imports which, in functions too."""
    graph = grimp.build_graph("guardrail", "langchain_guardrail", cache_dir=None)
    found = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    found[LAZY_FACE[0]].remove(LAZY_FACE[1])
    return found


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Sets of files of which each reaches all."""
    reached: dict[str, set[str]] = {}
    for start in imports:
        seen, stack = set[str](), [start]
        while stack:
            new = imports[stack.pop()] - seen
            seen |= new
            stack += new
        reached[start] = seen
    tied = {frozenset({b for b in reached[a] if a in reached[b]} | {a}) for a in imports if a in reached[a]}
    return sorted(map(set, tied), key=sorted)


def test_no_file_reaches_itself(imports: dict[str, set[str]]) -> None:
    assert circles(imports) == []


def test_a_circle_would_be_found(imports: dict[str, set[str]]) -> None:
    closed = {**imports, "guardrail.errors": {"guardrail.guard"}}
    assert any({"guardrail.errors", "guardrail.guard"} <= circle for circle in circles(closed))
