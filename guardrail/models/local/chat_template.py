"""A chat template's text must depend on nothing but the conversation: not on the day, and not on chance."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from guardrail.errors import ModelError

_DAY = (
    {"%Y": "2024", "%y": "24", "%B": "July", "%b": "Jul", "%m": "07", "%-m": "7", "%d": "26", "%-d": "26", "%j": "208"}
    | {"%A": "Friday", "%a": "Fri", "%F": "2024-07-26", "%D": "07/26/24", "%x": "07/26/24"}
    | {"%H": "00", "%I": "12", "%p": "AM", "%M": "00", "%S": "00", "%T": "00:00:00", "%X": "00:00:00", "%R": "00:00"}
)
"""The day that templates get for today: the one that Llama's write where nobody tells them."""
_CHANCE = re.compile(r"\|\s*random\b|\blipsum\b")


def settled(owner: Any, source: str | Path) -> None:  # noqa: ANN401
    """Settle what the chat template of a processor or tokenizer makes of a conversation, for good.

    A date in the prompt changes answers, and neither the model's name nor a certificate's key tells the day: templates
    get the same one always.

    Raises:
        ModelError: there is no chat template, or one that leaves something to chance.
    """
    template = getattr(owner, "chat_template", None)
    if not template:
        raise ModelError(f"{source!s} has no chat template: add chat_template.jinja to its folder")
    if isinstance(template, dict):
        owner.chat_template = {name: _settled(text, source) for name, text in template.items()}
    else:
        owner.chat_template = _settled(template, source)


def _settled(template: str, source: str | Path) -> str:
    if chance := _CHANCE.search(template):
        raise ModelError(
            f"the chat template of {source!s} writes something else each time, by {chance[0]!r}: remove that from it"
        )
    if "strftime_now" not in template:
        return template
    written = "".join(f" | replace({code!r}, {value!r})" for code, value in _DAY.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{written} }}}}{{% endmacro %}}\n{template}"
