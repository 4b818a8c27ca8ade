"""Robot commands in prose, by a chat model behind a real HTTP server."""

from __future__ import annotations

import json

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from guardrail.oracles import ActionOracle
from guardrail.oracles.asking.chat_classifier import ChatClassifier
from guardrail.oracles.base import TIMED_OUT
from guardrail.oracles.words.actions import NO_ACTION, action_rubric
from guardrail.prompts import Prompt
from tests.kit.openai_server import Asked, Manners, serve

ACTIONS = {"left": ["port"], "right": ["starboard"]}
ANSWERS = ("Left.", "If port is free I take it, and it is.", "Who knows?", "garbled", '{"action": "right"}')


def reads(asked: Asked) -> str:
    """Knows two of the answers, and is garbled itself on one."""
    said = json.loads(asked.prompt.turns[-1].text)
    if said == "garbled":
        return "left, I suppose"
    return json.dumps({"label": "left" if "port" in said else NO_ACTION})


def test_prose_is_read_by_the_chat_model() -> None:
    with serve(reads, Manners()) as url:
        chat = ChatOpenAI(model="reader", base_url=url, api_key=SecretStr("sk-not-a-real-key"), temperature=0)
        chooser = ChatClassifier(chat, action_rubric(ACTIONS), (*ACTIONS, NO_ACTION))
        oracle = ActionOracle(ACTIONS, chat=chooser)
        prompts = [Prompt(())] * len(ANSWERS)
        labels = oracle.classify(ANSWERS, prompts)
        late = oracle.classify(ANSWERS, prompts, 0.0)
        chooser.close()
    assert labels == ["left", "left", NO_ACTION, "failed: unparsable", "right"]
    assert late == ["left", TIMED_OUT, TIMED_OUT, TIMED_OUT, "right"]
    assert chooser.name in oracle.name
