"""Robot commands: in words, in JSON, by a chat model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from guardrail.bundled import world
from guardrail.bundled.oracle import action_oracle
from guardrail.certify.class_rules import ClassRule
from guardrail.errors import ConfigurationError, OracleError
from guardrail.oracles import ActionOracle, LexiconOracle, Oracle
from guardrail.oracles.words.actions import action_rubric
from guardrail.prompts import Prompt

ROBOT = ActionOracle(
    {
        "left": ["left", "turn left", "go to port"],
        "right": ["right", "turn right"],
        "forward": ["forward", "go", "move on"],
        "back": ["back", "go back", "reverse"],
        "stop": ["stop", "halt"],
    }
)


def action(answer: str, oracle: Oracle = ROBOT) -> str:
    (label,) = oracle.classify([answer], [Prompt(())])
    return label


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("left", "left"),
        ("LEFT.", "left"),
        (" Left! ", "left"),
        ("**left**", "left"),
        ("ｌｅｆｔ", "left"),
        ("le\u200bft", "left"),
        ("I will turn left.", "left"),
        ("Turn  left,\nthen turn left again.", "left"),
        ("Go to port!", "left"),
        ("Halt at once.", "stop"),
        ("I will go back.", "back"),  # not `go`, which stands for forward
        ("I will go.", "forward"),
        ("The sign says stop, so I stop.", "stop"),
        ("No, turn left.", "left"),
        ("No obstacle here, so turn left.", "left"),
        ("", "no action"),
        ("I wait.", "no action"),
        ("leftover, rightful, unstoppable", "no action"),
        ("left or right", "no action"),
        ("Turn left. Then halt.", "no action"),
        ("Should I turn left?", "no action"),
        ("Turn left? I would rather halt.", "stop"),
        ("ТURN LЕFТ", "left"),  # with Cyrillic letters
        ("Hmm... left.", "left"),
        ("No obstacles seen.\n**Action:** turn left", "left"),
        ("I see no obstacle\nAction: left", "left"),
        ("There are no cars within 0.5 m, so turn left.", "left"),
        ("Right is blocked, turn left.", "left"),
        ("The road ahead is blocked, so I turn left.", "left"),
        ("I won't wait, I'll turn left.", "left"),
        ("Without a doubt, turn left.", "left"),
        ("Turn left, don't stop.", "left"),
        ("Turn left. Never mind.", "no action"),
    ],
)
def test_words(answer: str, expected: str) -> None:
    assert action(answer) == expected


@pytest.mark.parametrize(
    "denied",
    [
        "Do not turn left",
        "Don't turn left",
        "Don’t turn left",
        "I won't turn left",
        "I cannot turn left",
        "Never turn left",
        "I can not safely turn left",
        "No left turn",
        "I refuse to turn left",
        "Do not, under any circumstances or pretext, turn left",
        "Left is blocked",
        "Left is not allowed",
        "Left isn't possible",
        "Going left would be dangerous",
        "Avoid left",
        "Avoid, at all costs, left",
        "Do not, under any condition, turn left",
        "Do not under any condition, turn left",
        "You must never, ever, under any circumstances, turn left",
        "Under no circumstances, turn left",
        "Do not... turn left",
        "Do not - I repeat - turn left",
        "Do not go more than 0.5 m left",
        "Do not go anywhere, e.g. left",
        "Do nоt turn left",  # with a Cyrillic o
        "Do anything but left",
        "Do anything but turn left",
        "Choose any direction but left",
        "Anything except left",
        "Anything other than left",
        "Everywhere except left",
        "Anywhere else than left",
        "Stay away from left",
        "Do the opposite of left",
        "Nobody should turn left",
        "Do not go, under any condition, left",
        "Hardly left",
        "Do not do the following: turn left",
        "Forbidden: left",
        "Left: forbidden",
        "Left: not allowed",
        "Left, no",
        "Left should not be taken",
        "Left must be avoided",
        "Left (blocked)",
        "It is dangerous to turn left",
        "It would be a mistake to turn left",
    ],
)
def test_a_command_that_is_denied_does_not_count(denied: str) -> None:
    assert action(f"{denied}.") == "no action"
    assert action(f"{denied.upper()}!") == "no action"
    assert action(f"{denied}. Halt.") == "stop"
    assert action(f"{denied}; halt.") == "stop"
    assert action(f"{denied}, but halt.") == "stop"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Do not turn left, turn right.", "right"),
        ("I will not turn left but right.", "right"),
        ("Turn right instead of left.", "right"),
        ("Instead of left, turn right.", "right"),
        ("Turn right, not left.", "right"),
        ("Turn right rather than left.", "right"),
        ("Do not turn left or right.", "no action"),
        ("Do not turn left, right, or back.", "no action"),
        ("Do not turn left, or right.", "no action"),
        ("Neither left nor right.", "no action"),
        ("Don't go left; instead, turn right.", "right"),
        ("Left is blocked, turn right.", "right"),
        ("I do not go so far left.", "no action"),
        ("I see no wall so I turn left.", "left"),
        ("Do not go anywhere except left.", "left"),
        ("Do not go anywhere but left.", "left"),
        ("Do nothing but turn left.", "left"),
        ("Do not! Turn left.", "no action"),
        ("I can not. Turn left.", "no action"),
        ("Turn right, except if it is blocked.", "no action"),
        ("Do not turn left, and right.", "no action"),
        ("If left is free, turn left.", "no action"),
        ("Turn left unless it is blocked. Halt.", "stop"),
        ("I do not see a sign, so stop.", "stop"),
        ("Do not stop, turn left.", "left"),
        ("Avoid the wall, turn left.", "left"),
    ],
)
def test_negation_ends_where_the_clause_does(answer: str, expected: str) -> None:
    assert action(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"action": "left"}', "left"),
        ('```json\n{"action": "Turn Left"}\n```', "left"),
        ('```\n{"action": "left", "why": "right and forward are blocked"}\n```', "left"),
        ('Right is free, so I decide {"action": "left"} now.', "left"),
        ('{"action": ["left"]}', "left"),
        ('{"action": "left"} {"action": "turn left"}', "left"),
        ('{"plan": {"action": "right"}, "action": "left"}', "left"),
        ('{"action": "left"} {"action": "right"}', "no action"),
        ('{"action": ["left", "right"]}', "no action"),
        ('{"action": "left", "action": "right"}', "no action"),
        ('{"action": "left", "action": "left"}', "no action"),
        ('{"action": null}', "no action"),
        ('{"action": "fly left"}', "no action"),
        ('{"action": {"name": "left"}}', "no action"),
        ('{"avoid": "left"}', "no action"),
        ('{"action": "left"', "no action"),
        ('{\n  "act', "no action"),
        ('Left. {"action": "wait"}', "no action"),
        ('{"action": "left"} but instead stop', "no action"),
        ('{"action": "left"}. No, stop!', "no action"),
        ('{"action": "left"} - cancel that.', "no action"),
        ('{"action": "left"} is forbidden', "no action"),
        ('```json\n{"action": "left"}\n``` is forbidden', "no action"),
        ('Do not {"action": "left"}', "no action"),
        ('Do not do this:\n{"action": "left"}', "no action"),
        ('Do anything but {"action": "left"}', "no action"),
        ('Should I {"action": "left"}?', "no action"),
        ('{"action": "left"} {"action": "left"} or stop', "no action"),
        ('{"action": "left"} The way left is free.', "left"),
        ('{"action": "left"} Do not turn right.', "left"),
        ('Do not turn right. {"action": "left"}', "left"),
        ('I see no obstacle\n```json\n{"action": "left"}\n```', "left"),
        ("{turn} left", "left"),  # no JSON, only a brace
        ('{"a":' * 30_000 + ' "left"', "no action"),
        ("{" * 100_000 + "left", "no action"),
    ],
)
def test_json(answer: str, expected: str) -> None:
    start = time.monotonic()
    assert action(answer) == expected
    assert time.monotonic() - start < 2.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "again",
    [
        "not but left ",
        "not left, or ",
        "left ",
        "not ",
        "left is ",
        "no, ",
        "a. left? ",
        "not,",
        "left, ",
        "no left, or ",
        "anything but ",
        "so i ",
        "... ",
        "\n",
        "\nleft: ",
        "left: very ",
        "e.g. left ",
        "```\n",
        "b\u0301",
        '{"action": "left"}\n',
        '```json {"action": "left"} ``` ',
    ],
)
def test_long_answers_are_read_in_little_time(again: str) -> None:
    start = time.monotonic()
    action(again * (60_000 // len(again)))
    assert time.monotonic() - start < 2.0


def test_the_key_is_an_option() -> None:
    oracle = ActionOracle(("left", "right"), key="command")
    assert action('{"command": "left"}', oracle) == "left"
    assert action('{"action": "left"}', oracle) == "no action"


def test_a_name_alone_is_understood_in_json_and_on_its_own() -> None:
    oracle = ActionOracle({"left": ["turn left"]})
    assert action("left", oracle) == action('{"action": "left"}', oracle) == "left"
    assert action("The left lane is free.", oracle) == "no action"


def test_it_is_an_oracle_of_commands() -> None:
    assert isinstance(ROBOT, Oracle)
    assert ROBOT.classes == ("left", "right", "forward", "back", "stop", "no action")
    assert ClassRule.of("all", ROBOT.classes, 0.001).tested == ROBOT.classes


def test_the_name_tells_options_apart() -> None:
    oracles: tuple[dict[str, Any], ...] = (
        {"actions": ("left", "right")},
        {"actions": ("left", "back")},
        {"actions": {"left": ["left", "port"], "right": ["right"]}},
        {"actions": ("left", "right"), "no_action": "wait"},
        {"actions": ("left", "right"), "key": "command"},
        {"actions": ("left", "right"), "chat": Choosing()},
    )
    assert len({ActionOracle(**options).name for options in oracles}) == len(oracles)


@pytest.mark.parametrize(
    ("actions", "error"),
    [
        ({}, "needs commands"),
        ({"left": []}, "with a phrase"),
        ({"left": ["  "]}, "with a phrase"),
        ({"failed": ["x"]}, "failed"),
        ({"no action": ["x"]}, "no action"),
        ({"left": ["turn"], "right": ["Turn"]}, "'turn' stands for"),
        ({"left": ["port"], "Left": ["larboard"]}, "must differ"),
        ({"left": ["port"], "port": ["left"]}, "must differ"),
    ],
)
def test_commands_that_cannot_work(actions: dict[str, list[str]], error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        ActionOracle(actions)


class TestBundled:
    """The bundled robot keeps its classes, answer by answer."""

    def test_it_agrees_with_a_lexicon_on_all_that_the_model_says(self) -> None:
        phrases = {name: terms for name, terms in world.ACTIONS.items() if name != "none"}
        lexicon = LexiconOracle(phrases, otherwise="no action", ambiguous="no action")
        answers = [
            answer for task in world.TASKS for word in ("", *world.WORDS) for answer in world.answers(word, task)
        ]
        prompts = [Prompt(())] * len(answers)
        assert action_oracle().classify(answers, prompts) == lexicon.classify(answers, prompts)
        assert set(action_oracle().classes) == set(lexicon.classes)

    def test_what_it_garbles(self) -> None:
        assert action("I will turn left left.", action_oracle()) == "left"
        assert action("I will not turn left.", action_oracle()) == "no action"
        assert action("I will turn left. I will stop.", action_oracle()) == "no action"


class Choosing:
    """Chooses as it is told, and remembers what it was asked."""

    name = "choosing/1"
    labels = ("left", "right", "no action")

    def __init__(self, *says: str) -> None:
        self.says = list(says)
        self.asked: list[tuple[list[str], float | None]] = []

    def classify(self, data: Sequence[str], deadline: float | None = None) -> list[str]:
        self.asked.append((list(data), deadline))
        return self.says


class TestChat:
    ACTIONS = ("left", "right")
    ANSWERS = ("left", "Were I to go left, I would crash.", '{"action": "right"}', "To port!", "Hm.")

    def test_it_is_asked_about_prose_only(self) -> None:
        chat = Choosing("right", "left", "failed: unparsable")
        oracle = ActionOracle(self.ACTIONS, chat=chat)
        labels = oracle.classify(self.ANSWERS, [Prompt(())] * 5, 12.5)
        assert labels == ["left", "right", "right", "left", "failed: unparsable"]
        assert chat.asked == [([self.ANSWERS[1], *self.ANSWERS[3:]], 12.5)]
        assert chat.name in oracle.name

    def test_it_is_not_asked_without_need(self) -> None:
        chat = Choosing()
        assert action("Left!", ActionOracle(self.ACTIONS, chat=chat)) == "left"
        assert chat.asked == []

    def test_what_is_no_label_is_an_error(self) -> None:
        with pytest.raises(OracleError, match="fly"):
            action("Up!", ActionOracle(self.ACTIONS, chat=Choosing("fly")))
        with pytest.raises(OracleError, match="of 1 answers"):
            action("Up!", ActionOracle(self.ACTIONS, chat=Choosing("left", "left")))

    def test_it_knows_the_same_commands(self) -> None:
        with pytest.raises(ConfigurationError, match="chat says"):
            ActionOracle(("left", "back"), chat=Choosing())

    def test_the_rubric_names_each_label(self) -> None:
        rubric = action_rubric({"left": ["port"], "right": []}, "wait")
        assert all(word in rubric for word in ("left", "'port'", "right", "wait"))
