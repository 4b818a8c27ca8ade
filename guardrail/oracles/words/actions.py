"""Which of a finite list of commands an answer gives, as to a robot."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from guardrail.errors import ConfigurationError, OracleError
from guardrail.oracles.base import FAILED, is_failure, together
from guardrail.oracles.text import distinct, fingerprint
from guardrail.oracles.words.json_objects import objects_in
from guardrail.oracles.words.lookalikes import unmarked
from guardrail.prompts import Prompt

NO_ACTION = "no action"
"""The class of an answer that gives no command, or several."""

_NOT = (
    r"(?<!\w)(?:not|\w+n't|cannot|cant|dont|wont|never|hardly|scarcely|barely|rarely|seldom|nothing|nobody|"
    r"(?:refuse[sd]?|refusing|unable|forbidden|prohibited|fail(?:s|ed)?|declin(?:e|es|ed|ing)) to|"
    r"(?:under|in|by|at|on) no (?:circumstances?|conditions?|means|account|case|event|way|time|point)|"
    r"avoid(?:ing)?(?=,))(?!\w)"
)
"""Denies what follows in its clause, up to a second command that contrasts with the first: 'not left, go right'."""
_NO = (
    r"(?<!\w)(?:(?:neither|nor|no|nope|without|avoid(?:ing)?|instead of|rather than|against|else than|"
    r"(?:keep|refrain|abstain|far|away) from|clear of|beware of|opposite of|"
    r"(?:dangerous|unsafe|risky|impossible|wrong|illegal|an? (?:mistake|error|bad idea)) (?:for \w+ )?to)(?!\w)|"
    r"(?:forbidden|prohibited|banned|blocked|closed)\s*:)"
)
"""Denies what follows up to a comma: 'no wall, turn left'."""
_ENDS = (
    r"\b(?:but|therefore|hence|instead(?! of)|(?<=, )(?:so|i'll|i will|we'll|we will|let's)|"
    r"so (?=(?:i|we|it|you|please|just|now|then|let|turn|go|move|take|drive|keep|head|steer|continue|proceed)\b))\b"
)
"""Words that end a denial within a sentence."""
_EXCEPT = (
    r"\b(?:except(?: for)?|excluding|other than|apart from|aside from|save for|(?:"
    r"(?<=thing )|(?<=where )|(?<=one )|(?<=all )|(?<=way )|(?<=ways )|(?<=direction )|(?<=directions )|(?<=option )|"
    r"(?<=options )|(?<=command )|(?<=commands )|(?<=action )|(?<=actions ))but)\b"
)
"""Denies what follows, unless the words before it are denied: 'anything but left', but 'nothing but left'."""
_COMMA = (
    r",(?! (?:e\.g|i\.e|such as|especially|particularly|for example|for instance|namely|including|like|and(?! then)))"
)
"""A comma that does not lead to an example or a continuation."""
_CONDITIONAL = r"\?|\b(?:if|unless)\b"
"""A sentence that asks, or says what would be."""
_LIST = r"\b(?:or|nor)\b"
"""Extends a denial before it over the whole list, beyond commas: 'not left, right or back'."""
_IS = (
    r"(?:is|are|was|were|be|would|should|must|may|might|can|could|will|shall|has|have|had|does|did|seems?|looks?|"
    r"appears?)"
)
_RULED_OUT = (
    r"\s*(?::\s*(?:not|no|never)\b|[,:(-]?\s*(?:(?:which|that|this|it)\s+)?(?:"
    rf"(?:{_IS}\s+)?(?:(?:be|been|to be|too|very|quite|currently|also|now|still|completely|strictly)\s+)*"
    r"(?:blocked|unsafe|dangerous|risky|impossible|forbidden|prohibited|banned|illegal|wrong|avoided|closed|unavailable|"
    r"occupied|obstructed|off[- ]limits|ruled out|excluded|out of the question|an? (?:mistake|error|bad idea)|"
    r"(?:not|no|never)\s*(?:$|[.,;!)]))"
    rf"|{_IS}\s+(?:(?:be|too|very|currently|also|now|still)\s+)*(?:not|no|never)\b"
    r"|(?:is|are|was|were|would|should|must|ca|could|wo|has|have|had|does|did)n't\b|cannot\b))"
)
"""Follows a command that is mentioned and not given: 'left is blocked'."""
_TAKEN_BACK = (
    r"\b(?:never ?mind|cancel|disregard|scratch that|ignore (?:that|this|it)|on second thoughts?|correction)\b"
)
"""Anywhere in an answer, takes back every command in it."""
_PAUSE = re.compile(r"\.{2,}")
_LABEL = re.compile(r"\n(?=[ *_#>-]{0,8}\w+(?: \w+)?[*_]{0,2}:)")
"""A line that begins with a label ('Action: left') begins a sentence; any other may continue the line before."""
_SENTENCE = re.compile(
    r"(?<!\bnot)(?<!n't)(?<!\bnever)(?<!cannot)"  # 'Do not! Turn left.' is no order
    r"(?<!\b\w)(?<!\betc)(?<!\bvs)(?<!\bapprox)[.!?;]+(?=[\s\"')\]]|$)"
)
"""The end of a sentence, but not in numbers and abbreviations ('0.5 m', 'e.g. left')."""
_OBJECT = "\ue000"
"""Stands for a JSON object among words: a private character, which normalised text never holds."""


class Chooser(Protocol):
    """Says which of its labels fits a text, as `ChatClassifier` does with a chat model."""

    @property
    def name(self) -> str:
        """All that its choice depends on."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it may say."""

    def classify(self, data: Sequence[str], deadline: float | None = None) -> list[str]:
        """Return one label per text, or `failed: why`."""


@dataclass(frozen=True)
class ActionOracle:
    """Says which one of a robot's commands an answer gives; `no_action` where it gives none or several.

    1. In an answer with a JSON object, bare, in a fence or in a sentence, the action is the value at `key`: a command's
       name, one of its phrases, or a list of one of these. Anything else in JSON (no such key, an unknown or second
       command, a repeated field, an object that was cut) is no action: a controller would not act. So is an object
       that words deny, or after which words give another command.
    2. An answer that is nothing but a name or phrase is that command.
    3. Elsewhere the words decide, or `chat` where it is given. Commands that are negated ('do not turn left', 'left is
       blocked', 'anything but left'), in questions or conditional ('if', 'unless') do not count; a longer phrase hides
       the shorter ones in it. A negation of doubtful reach denies all that it may reach: no action is the safe class.
       The rules are for English, and for commands, not for stories: measure how often they err.

    Text and phrases are compared after Unicode normalisation, without case and accents, at word boundaries, and letters
    that look Latin count as Latin ones.

    Args:
        actions: phrases by command, where a command's name counts as a phrase in words only if it is listed too; or
            names alone.
        no_action: the class of answers that give none or several.
        key: the field of a JSON answer that holds the command.
        chat: decides about answers that are neither JSON nor a mere phrase; its labels are the commands and
            `no_action`. One whose `deterministic` is not True is asked about every draw: see `OracleTraits`.

    Raises:
        ConfigurationError: no command, one without phrases, a phrase of two commands, or a `chat` with other labels.
    """

    actions: Mapping[str, Iterable[str]] | Iterable[str]
    no_action: str = NO_ACTION
    key: str = "action"
    chat: Chooser | None = None
    _meanings: dict[str, str] = field(init=False, repr=False, compare=False)
    _names: dict[str, str] = field(init=False, repr=False, compare=False)
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = self.actions if isinstance(self.actions, Mapping) else {name: (name,) for name in self.actions}
        actions = {name: distinct(terms, unmarked) for name, terms in given.items()}
        if not actions or not all(actions.values()) or {FAILED, self.no_action} & actions.keys():
            raise ConfigurationError(
                f"a robot needs commands, each with a phrase, and none named {FAILED!r} or {self.no_action!r}; "
                f"got {actions}"
            )
        meanings: dict[str, str] = {}
        for name, terms in actions.items():
            for term in terms:
                if meanings.setdefault(term, name) != name:
                    raise ConfigurationError(f"phrase {term!r} stands for {meanings[term]!r} and for {name!r}")
        names = {unmarked(name): name for name in actions}
        if len(names) < len(actions) or any(meanings.get(term, name) != name for term, name in names.items()):
            raise ConfigurationError(f"names of commands must differ, from phrases of others too; got {actions}")
        if self.chat is not None and set(self.chat.labels) != {*actions, self.no_action}:
            raise ConfigurationError(
                f"chat says {self.chat.labels}, and must say the commands and no action: {(*actions, self.no_action)}"
            )
        longest_first = "|".join(re.escape(term) for term in sorted(meanings, key=len, reverse=True))
        object.__setattr__(self, "actions", actions)
        object.__setattr__(self, "_meanings", meanings)
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_pattern", re.compile(rf"(?<!\w)(?:{longest_first}|{_OBJECT})(?!\w)"))

    @property
    def name(self) -> str:
        """Kind, a hash of phrases, options and rules, and the chat model's name."""
        rules = (
            _NOT,
            _NO,
            _ENDS,
            _EXCEPT,
            _COMMA,
            _CONDITIONAL,
            _LIST,
            _RULED_OUT,
            _TAKEN_BACK,
            _LABEL.pattern,
            _SENTENCE.pattern,
        )
        hashed = fingerprint(list(self._meanings.items()), self._names, self.no_action, self.key, rules)
        return f"actions/{hashed}" + (f" > {self.chat.name}" if self.chat is not None else "")

    @property
    def deterministic(self) -> bool | None:
        """See `OracleTraits`; what `chat` says of itself where it is given."""
        return True if self.chat is None else together([self.chat])

    @property
    def classes(self) -> tuple[str, ...]:
        """The commands, and no action."""
        return (*self._names.values(), self.no_action)

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:  # noqa: ARG002
        """Return one class per answer; prompts are not read, and the deadline is the chat model's.

        Raises:
            OracleError: the chat model cannot be asked, or says something that is none of its labels.
        """
        plain = [self._plain(answer) for answer in answers]
        if self.chat is None:
            return [self._spoken(a) if label is None else label for a, label in zip(answers, plain, strict=True)]
        undecided = [i for i, label in enumerate(plain) if label is None]
        said = self.chat.classify([answers[i] for i in undecided], deadline) if undecided else []
        if len(said) != len(undecided) or any(label not in self.classes and not is_failure(label) for label in said):
            raise OracleError(
                f"{self.chat.name} said {said} of {len(undecided)} answers, its labels are {self.classes}"
            )
        by_chat = dict(zip(undecided, said, strict=True))
        return [by_chat[i] if label is None else label for i, label in enumerate(plain)]

    def _plain(self, answer: str) -> str | None:
        """Return the class of an answer with JSON, or that is a mere phrase; None: the words must decide."""
        if "{" not in answer or (read := objects_in(answer)) is None:
            return self._named(answer.strip().rstrip(".!"))
        objects, around = read
        actions = {self._action_of(found.get(self.key)) for found in objects}
        action = actions.pop() if len(actions) == 1 else self.no_action
        return action if self._stands(action, around) else self.no_action

    def _action_of(self, value: object) -> str:
        """Return the command that a value of JSON names; no action for everything else."""
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        return (self._named(value) if isinstance(value, str) else None) or self.no_action

    def _named(self, text: str) -> str | None:
        term = unmarked(text)
        return self._meanings.get(term) or self._names.get(term)

    def _stands(self, action: str, around: Sequence[str]) -> bool:
        """Whether the texts around JSON objects deny none of them, and no other command follows."""
        given = self._commands(_joined(around))
        objects = given.count(_OBJECT)
        return objects == len(around) - 1 and {*given[given.index(_OBJECT) :]} <= {_OBJECT, action}

    def _spoken(self, answer: str) -> str:
        """Return the one command that the words give."""
        given = {*self._commands(_joined([answer]))}
        return given.pop() if len(given) == 1 else self.no_action

    def _commands(self, text: str) -> list[str]:
        """Return the commands that a text gives in words, and `_OBJECT` for each object not denied, in order."""
        if re.search(_TAKEN_BACK, text):
            return []
        statements = (sentence for sentence in _sentences(text) if not re.search(_CONDITIONAL, sentence))
        clauses = (clause for sentence in statements for clause in _clauses(sentence))
        return [self._meanings.get(phrase, phrase) for clause in clauses for phrase in self._given(clause)]

    def _given(self, clause: str) -> Iterable[str]:
        """Yield the phrases of a clause that no word before or after them rules out."""
        mentions = list(self._pattern.finditer(clause))
        denials = _denials(clause, mentions)
        ruled_out = re.compile(_RULED_OUT)
        for mention in mentions:
            before = bisect_right(denials, (mention.start(), len(clause)))
            denied = before and mention.start() < denials[before - 1][1]
            if not denied and not ruled_out.match(clause, mention.end()):
                yield mention[0]


def action_rubric(actions: Mapping[str, Iterable[str]] | Iterable[str], no_action: str = NO_ACTION) -> str:
    """Return a rubric with which a chat model can choose among commands.

    For instance `ChatClassifier(chat, action_rubric(actions), (*actions, NO_ACTION))`.

    Args:
        actions: phrases by command, or names alone, as for `ActionOracle`.
        no_action: the label of texts that give none or several.
    """
    given = actions if isinstance(actions, Mapping) else dict.fromkeys(actions, ())
    lines = [
        f"- {name}" + (f": also said as {', '.join(map(repr, terms))}" if (terms := tuple(given[name])) else "")
        for name in given
    ]
    return "\n".join(
        (
            "The data are what a robot's controller wrote. Say which one of these commands it gives the robot:",
            *lines,
            f"- {no_action}: no command of the list, or several of them.",
            "A command that is forbidden, denied, asked about, quoted, or only considered is not given.",
        )
    )


def _joined(around: Sequence[str]) -> str:
    """Normalise the texts around an answer's JSON objects, and join them with `_OBJECT` in each object's place.

    An object alone on a line or in a block begins a sentence, unless a colon leads to it.
    """
    folded: list[str] = []
    for i, text in enumerate(around):
        words = re.sub(r"\A\s*```", "", text) if i else text
        alone = re.sub(r"```\w*\s*\Z", "\n", words)
        folded.append(unmarked(_LABEL.sub(". ", alone)))
        if i < len(around) - 1:
            begins = alone.rstrip(" \t").endswith("\n") and not alone.rstrip().endswith(":")
            folded.append(f". {_OBJECT}" if begins else _OBJECT)
    return " ".join(folded)


def _sentences(text: str) -> Iterator[str]:
    text, start = _PAUSE.sub(",", text), 0
    for end in _SENTENCE.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    yield text[start:]


def _clauses(sentence: str) -> list[str]:
    """Cut a sentence where denials end. An exception to something that is not denied becomes a denial."""
    first, *rest = re.split(f"({_EXCEPT})|{_ENDS}", sentence)
    clauses = [first]
    for exception, clause in zip(rest[::2], rest[1::2], strict=True):
        if exception and not re.search(f"{_NOT}|{_NO}", clauses[-1]):
            clauses[-1] = ""
            clauses.append(f"not {clause}")
        else:
            clauses.append(clause)
    return clauses


def _denials(clause: str, mentions: Sequence[re.Match[str]]) -> list[tuple[int, int]]:
    """Return the begin of each denial in a clause, and with it the latest end of the denials begun until there."""
    commas = [comma.start() for comma in re.finditer(_COMMA, clause)]
    starts = [mention.start() for mention in mentions]

    def comma_after(place: int) -> int:
        found = bisect_left(commas, place)
        return commas[found] if found < len(commas) else len(clause)

    def command_after(place: int) -> int:
        """Return the comma after the next command, if another command follows that comma at once; else the end."""
        first = bisect_left(starts, place)
        if first + 1 >= len(mentions):
            return len(clause)
        comma = comma_after(mentions[first].end())
        follows = bisect_left(starts, comma)
        return comma if follows < len(starts) and starts[follows] < comma_after(comma + 1) else len(clause)

    found = [(no.end(), comma_after(no.end())) for no in re.finditer(_NO, clause)]
    found += [(denial.end(), command_after(denial.end())) for denial in re.finditer(_NOT, clause)]
    found.sort()
    if found and any(word.start() > found[0][0] for word in re.finditer(_LIST, clause)):
        return [(found[0][0], len(clause))]
    ends = accumulate((end for _, end in found), max)
    return [(begins, end) for (begins, _), end in zip(found, ends, strict=True)]
