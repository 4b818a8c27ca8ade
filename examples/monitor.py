"""Monitor first: everything passes, and the log says what enforcing would have done.

python examples/monitor.py
"""

from __future__ import annotations

import json
from collections import Counter

from common import sign
from langchain_core.messages import HumanMessage

from guardrail import Decision, Guard, Policy
from langchain_guardrail import GuardedChatModel, LocalChatModel

would_have: Counter[str] = Counter()


def log(decision: Decision) -> None:
    """Write one line for each request with media; `decision.blocked` is False in monitor mode."""
    would_have[str(decision.action)] += 1
    radius = decision.certificate.radius if decision.certificate else None
    print(json.dumps({"id": decision.id, "action": decision.action, "reasons": decision.reasons, "radius": radius}))


guard = Guard.bundled(policy=Policy(mode="monitor"))
chatbot = GuardedChatModel(LocalChatModel(vlm=guard.model), guard, on_decision=log)

if __name__ == "__main__":
    for word in ("tea", "bomb", "cake"):
        answer = chatbot.invoke([HumanMessage([sign(word), "Follow the sign."])])
        print(f"{word}: {answer.text}")
    print(f"enforcing would have: {dict(would_have)}")
