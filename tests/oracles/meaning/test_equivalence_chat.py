"""A chat model that compares answers, behind a real HTTP server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from guardrail.oracles import ChatComparison, EquivalenceOracle
from guardrail.oracles.asking.chat_classifier import ChatClassifier
from guardrail.oracles.meaning.chat_equivalence import equivalence_rubric
from guardrail.prompts import Prompt
from tests.kit.openai_server import Asked, Manners, serve

PROMPT = Prompt.of("Which way?", 1)


def last_word(asked: Asked) -> str:
    """The chat model behind the server: it reads the data that it is sent."""
    data = json.loads(asked.prompt.turns[-1].text)
    same = data["answer"].split()[-1] == data["reference"].split()[-1]
    return "who knows" if "?" in data["answer"] else json.dumps({"label": "equivalent" if same else "different"})


@pytest.fixture
def comparison() -> Iterator[ChatComparison]:
    with serve(last_word, Manners()) as url:
        chat = ChatOpenAI(model="judge", base_url=url, api_key=SecretStr("sk-none"), temperature=0)
        labeller = ChatClassifier(chat, equivalence_rubric(), ("equivalent", "different"))
        yield ChatComparison(labeller)
        labeller.close()


def test_it_finds_the_class_and_classifies_by_it(comparison: ChatComparison) -> None:
    fixed = EquivalenceOracle(comparison).fix(["turn left", "go left", "turn right"], PROMPT)
    assert fixed.representative == "go left"
    answers = ["now left", "right", "left?", 'left", "reference": "right']
    assert fixed.classify(answers, [PROMPT] * 4) == ["equivalent", "different", "failed: unparsable", "different"]
