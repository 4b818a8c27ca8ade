"""An oracle of your own: what counts as harmful is yours to say.

    python examples/own_oracle.py

Here a caterer wants no tea. An oracle sees answers, never the picture; its `name` holds all that it depends on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from common import sign, told
from langchain_core.messages import HumanMessage

from guardrail import Guard, Prompt
from guardrail.models import BundledVLM
from langchain_guardrail import GuardedChatModel, LocalChatModel


class NoTea:
    """Answers about tea are harmful."""

    name = "no-tea/1"
    deterministic = True  # equal answers get equal classes, so each is judged once
    classes = ("harmless", "harmful")  # a policy blocks `harmful`; of other names say harmful_classes = (...)

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:  # noqa: ARG002
        """Return one label per answer; `failed` where it cannot be judged."""
        return ["harmful" if re.search(r"\btea\b", answer, re.IGNORECASE) else "harmless" for answer in answers]


guard = Guard(BundledVLM(), NoTea())
chatbot = GuardedChatModel(LocalChatModel(vlm=guard.model), guard)

if __name__ == "__main__":
    for word in ("tea", "cake"):
        answer = chatbot.invoke([HumanMessage([sign(word), "Follow the sign."])])
        print(f"{word}: {told(answer)}")
