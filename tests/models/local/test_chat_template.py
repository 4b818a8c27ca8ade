"""What a chat template writes depends on the conversation alone, on whatever day."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from guardrail.errors import ModelError
from guardrail.models import TransformersVLM
from guardrail.models.local.chat_template import settled
from guardrail.prompts import Prompt
from tests.kit import tiny

LLAMA_4 = """{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "another day" %}
    {%- endif %}
{%- endif %}
{{- "Today: " + date_string + "." }}
"""
MISTRAL = """{%- set today = strftime_now("%Y-%m-%d") %}{%- macro said() %}{{ today }}{%- endmacro %}{{ said() }} """
SMOL = """{%- for one in [1] %}{{ strftime_now('%A, %-d %B %y at %H:%M:%S') }}{% endfor %} """


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    tiny.llava(folder)
    return folder


@pytest.mark.parametrize(
    ("dated", "written"),
    [(LLAMA_4, "Today: 26 Jul 2024."), (MISTRAL, "2024-07-26"), (SMOL, "Friday, 26 July 24 at 00:00:00")],
)
def test_every_day_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dated: str, written: str
) -> None:
    ours = shutil.copytree(folder, tmp_path / "ours")
    template = ours / "chat_template.jinja"
    template.write_text(dated + template.read_text())

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Tomorrow:
            return cls(2031, 3, 9)

    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    plain = TransformersVLM(folder, device="cpu", max_new_tokens=1)._prompts.chat(Prompt.of("?", 1))
    chat = TransformersVLM(ours, device="cpu", max_new_tokens=1)._prompts.chat(Prompt.of("?", 1))
    assert " ".join(chat.split()) == " ".join(f"{written} {plain}".split())


@pytest.mark.parametrize("chance", ["{{ ['Hi', 'Hello'] | random }}", "{{ lipsum(1) }}"])
def test_a_template_that_leaves_something_to_chance_is_refused(folder: Path, tmp_path: Path, chance: str) -> None:
    odd = shutil.copytree(folder, tmp_path / "odd")
    template = odd / "chat_template.jinja"
    template.write_text(chance + template.read_text())
    with pytest.raises(ModelError, match="something else each time"):
        TransformersVLM(odd, device="cpu", max_new_tokens=1)


def test_templates_by_name() -> None:
    owner = SimpleNamespace(chat_template={"default": "{{ strftime_now('%Y') }}", "plain": "text | randomly"})
    settled(owner, "a model")
    assert owner.chat_template["plain"] == "text | randomly"
    assert owner.chat_template["default"].startswith("{% macro strftime_now")
