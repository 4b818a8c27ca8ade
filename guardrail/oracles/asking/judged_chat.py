"""Writes a conversation and its answer for a safety model, by that model's chat template."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, cast, get_args

from guardrail.errors import ConfigurationError, ModelError, PromptError
from guardrail.prompts import Prompt, Turn

Shown = Literal["conversation", "exchange", "answer"]
_TAG = re.compile(r"<[^<>\n]{1,60}>")
_QUESTION, _ANSWER = "Where does the ferry leave?", "It leaves at the old lighthouse."
_LONGER = Prompt(
    (Turn("user", ("Is there a ferry?",)), Turn("assistant", ("There is one a day.",)), Turn("user", (_QUESTION,)))
)


class JudgedChat:
    """The conversation as the text that a safety model judges.

    Safety templates take turns of user and assistant that alternate, beginning with the user. So system and tool turns
    become the user's, successive turns of one speaker become one, and images become a mark. No text can end its turn:
    control tokens in it are removed, and so are the tags that the template writes (`<END CONVERSATION>`, in any case),
    so that no answer can write the verdict on itself.

    Args:
        tokenizer: the model's, with a chat template.
        shows: `conversation`: all of it; `exchange`: the last user turn and what follows; `answer`: the answer alone,
            as a user's text.
        answer_role: the template's name for whoever gave the answer.
        image_mark: stands for each image; empty: images are left out.
        options: further variables of the template, such as categories or a guideline.
        opening: text with which the model begins its verdict; it is written here in the model's place.

    Raises:
        ConfigurationError: `shows` is none of the three.
        ModelError: the template does not show the answer, or refuses a conversation.
    """

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401
        *,
        shows: Shown = "conversation",
        answer_role: str = "assistant",
        image_mark: str = "[image]",
        options: Mapping[str, Any] | None = None,
        opening: str = "",
    ) -> None:
        if shows not in get_args(Shown):
            raise ConfigurationError(f"shows must be one of {get_args(Shown)}, got {shows!r}")
        self._tokenizer = tokenizer
        self._shows = shows
        self._answer_role = answer_role
        self._image_mark = image_mark
        self._options = dict(options or {})
        self._opening = opening
        self._control: re.Pattern[str] | None = None
        self._in_parts = self._takes_parts()
        self._control = _pattern({*_control_tokens(tokenizer), *_TAG.findall(self.probe)})

    @property
    def probe(self) -> str:
        """A harmless exchange as the model would get it."""
        return self.text(_ANSWER, Prompt.of(_QUESTION, 0))

    def text(self, answer: str, prompt: Prompt) -> str:
        """Return the text that the model judges, up to where its verdict begins.

        Raises:
            PromptError: the chat template refuses this conversation.
        """
        try:
            return self._written(answer, prompt, in_parts=self._in_parts)
        except Exception as error:  # a template is a program that came with the model: it may raise anything
            raise PromptError(f"the chat template refuses this conversation: {error}") from error

    def _written(self, answer: str, prompt: Prompt, *, in_parts: bool) -> str:
        messages = [
            {"role": role, "content": [{"type": "text", "text": text}] if in_parts else text}
            for role, text in self._turns(answer, prompt)
        ]
        chat = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, **self._options
        )
        return cast("str", chat) + self._opening

    def _turns(self, answer: str, prompt: Prompt) -> list[tuple[str, str]]:
        """Return alternating speakers and their texts, the user first and the answer last."""
        if self._shows == "answer":
            return [("user", self._plain(answer))]
        turns = prompt.turns
        if self._shows == "exchange":
            users = [i for i, turn in enumerate(turns) if turn.role == "user"]
            turns = turns[users[-1] :] if users else ()
        spoken: list[tuple[str, list[str]]] = [("user", [])]
        for role, text in (*((turn.role, self._text_of(turn)) for turn in turns), ("assistant", answer)):
            speaker = self._answer_role if role == "assistant" else "user"
            if speaker != spoken[-1][0]:
                spoken.append((speaker, []))
            spoken[-1][1].append(text)
        return [(speaker, self._plain("\n".join(filter(None, texts)))) for speaker, texts in spoken]

    def _text_of(self, turn: Turn) -> str:
        parts = (part if isinstance(part, str) else self._image_mark for part in turn.parts)
        return "\n".join(filter(None, parts))

    def _plain(self, text: str) -> str:
        """Replace control tokens and the template's tags by new lines.

        No tag holds a new line, so a removal cannot join its two sides into another tag.
        """
        while self._control is not None and self._control.search(text):
            text = self._control.sub("\n", text)
        return text.encode("utf-8", "replace").decode()  # tokenizers refuse a lone surrogate

    def _takes_parts(self) -> bool:
        """Whether the template takes a turn's content as a list of parts, rather than as a text.

        Raises:
            ModelError: it shows question and answer with neither.
        """
        short, refusal = Prompt.of(_QUESTION, 0), "they do not occur in what it writes"
        for in_parts in (False, True):
            try:
                written = self._written(_ANSWER, short, in_parts=in_parts)
                if _ANSWER in written and (self._shows == "answer" or _QUESTION in written):
                    if _ANSWER not in self._written(_ANSWER, _LONGER, in_parts=in_parts):
                        raise ModelError("of a longer conversation the answer is not shown: set shows='exchange'")
                    return in_parts
            except Exception as error:  # noqa: BLE001 - as in `text`
                refusal = str(error)
        raise ModelError(
            f"the chat template does not show a question and its answer: {refusal}; it may need `template_options`, "
            "or another `chat_template` or `shows`"
        )


def _pattern(texts: Collection[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if texts else None


def _control_tokens(tokenizer: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the tokenizer's added tokens that are special or that the template writes, as text."""
    tokens = tokenizer.added_tokens_decoder.values()
    return tuple(
        token.content
        for token in tokens
        if len(token.content) > 1
        and not token.content.isspace()
        and (token.special or token.content in tokenizer.chat_template)
    )
