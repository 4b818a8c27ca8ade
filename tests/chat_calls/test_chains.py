"""What is repeated, seeded, counted and refused within a chain; over a real HTTP server."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableBranch, RunnableLambda, RunnablePassthrough
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, SecretBytes, SecretStr

from guardrail import Prompt, SmoothedClassifier, Smoothing
from guardrail.callers import asking
from guardrail.certify.noise import NoiseStream
from guardrail.chat_calls.identity import identity
from guardrail.errors import ConfigurationError, ModelError
from guardrail.models import ChatModelVLM, DenoisedVLM
from guardrail.models.base import Answer, Draw
from guardrail.models.scheduling import Scheduler
from tests.kit.openai_server import Asked, Manners, serve
from tests.kit.synthetic import ORACLE

PIXELS = np.full((4, 4, 3), 128, np.uint8)


def draws(count: int) -> list[Draw]:
    stream = NoiseStream.derive(b"the key of these tests", b"request", "estimation")
    return [Draw((PIXELS / 255.0,), Prompt.of("?", 1), 0.5, stream, i) for i in range(count)]


def echo(asked: Asked) -> str:
    """Say good, and how many words were read."""
    return f"good {len(asked.prompt.text.split())}"


@pytest.fixture
def manners() -> Manners:
    return Manners()


@pytest.fixture
def url(manners: Manners) -> Iterator[str]:
    with serve(echo, manners) as address:
        yield address


@pytest.fixture
def chat(url: str) -> ChatOpenAI:
    return chat_openai(url)


def chat_openai(url: str, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="tiny", base_url=url, api_key=SecretStr("sk-none"), **options)


@pytest.fixture
def make() -> Iterator[Callable[..., ChatModelVLM]]:
    made: list[ChatModelVLM] = []

    def vlm(chat: Any, **options: Any) -> ChatModelVLM:
        made.append(ChatModelVLM(chat, **{"backoff": 0.01, "name": "chain", **options}))
        return made[-1]

    yield vlm
    for model in made:
        model.close()


class TestRepeating:
    @pytest.mark.slow
    def test_nothing_that_was_said_is_asked_for_again(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        """The second model of a chain meets a rate limit: only its call is repeated, not the first model's answer."""
        manners.first = lambda number: (429, {}) if number in {2, 3} else None
        vlm = make(chat | StrOutputParser() | chat_openai(chat.openai_api_base or "", temperature=0.5))
        assert vlm.answer(draws(1)) == [Answer("good 2", tokens=4)]
        first, *second = [asked.body for asked in manners.asked]
        assert "temperature" not in first
        assert len(second) == 3
        assert all(body == second[0] for body in second)
        assert second[0]["messages"] == [{"role": "user", "content": "good 1"}]

    @pytest.mark.slow
    def test_a_failure_within_a_function_is_final(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        """A rate limit that a function met may have come after content that only the function saw."""
        calls = []

        def limited(messages: Any) -> Any:
            calls.append(messages)
            raise LimitedError

        class LimitedError(Exception):
            status_code = 429

        assert make(RunnableLambda(limited) | chat).answer(draws(1)) == [Answer.failure("http 429")]
        assert len(calls) == 1

    def test_models_beside_each_other_are_seeded_and_do_not_retry(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        manners.first = lambda number: (500, {}) if number == 2 else None
        joined = RunnableLambda(lambda said: f"{said['a'].text} {said['b'].text}")
        vlm = make({"a": chat, "b": chat} | joined)
        (draw,) = draws(1)
        assert vlm.answer([draw])[0].failed == "http 500"
        assert len(manners.asked) == 2
        assert vlm.answer([draw]) == [Answer("good 1 good 1", tokens=4)]
        assert {asked.sampling_seed for asked in manners.asked} == {draw.sampling_seed}

    def test_models_in_branches_and_assignments_are_found(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        manners.first = lambda number: (500, {})
        branch: Any = RunnableBranch((lambda messages: False, FakeListChatModel(responses=["no"])), chat)
        assign = {"messages": RunnablePassthrough()} | RunnablePassthrough.assign(
            said=RunnableLambda(lambda known: known["messages"]) | chat
        )
        for number, chain in enumerate((branch, assign | RunnableLambda(lambda known: known["said"])), start=1):
            assert make(chain, seed=False).answer(draws(1)) == [Answer.failure("http 500")]
            assert len(manners.asked) == number

    def test_a_model_within_a_function_is_refused(self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM]) -> None:
        for model in (chat, chat.bind(stop=["x"])):
            with pytest.raises(ConfigurationError, match="within a function"):
                make(RunnableLambda(_closure(model)))

    def test_the_time_limit_is_each_calls(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        manners.harmful, manners.slow = lambda text: True, 0.3
        chain = chat | StrOutputParser() | chat
        assert make(chain, timeout=0.5).answer(draws(1))[0].failed is None
        assert make(chain, timeout=0.2).answer(draws(1)) == [Answer.failure("timeout")]
        assert make(RunnableLambda(_sleep), timeout=0.1).answer(draws(1)) == [Answer.failure("timeout")]

    def test_tokens_behind_a_parser_are_counted(self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM]) -> None:
        assert make(chat | StrOutputParser()).answer(draws(1)) == [Answer("good 1", tokens=2)]


def _closure(model: Any) -> Callable[[Any], Any]:
    def ask(messages: Any) -> Any:
        return model.invoke(messages)

    return ask


async def _sleep(messages: Any) -> Any:
    await asyncio.sleep(5)


class TestCallingOff:
    def test_closing_tells_those_who_wait(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        manners.harmful, manners.slow = lambda text: True, 2.0
        vlm = make(chat)
        threading.Timer(0.2, vlm.close).start()
        with pytest.raises(ModelError, match="closed"):
            vlm.answer(draws(1))

    async def test_closing_is_no_cancellation_of_the_task_that_waits(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        manners.harmful, manners.slow = lambda text: True, 2.0
        vlm = make(chat)
        asked = asyncio.create_task(vlm.aanswer(draws(1)))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(vlm.close)
        with pytest.raises(ModelError, match="closed"):
            await asked

    async def test_a_caller_who_gives_up_pays_for_no_more(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        """As `Guard.acheck` is cancelled: its thread goes on, its draws do not."""
        manners.harmful, manners.slow = lambda text: True, 0.2
        vlm = make(chat, max_concurrency=2)

        async def check() -> None:
            with asking("client"):
                await asyncio.to_thread(vlm.answer, draws(40))

        task = asyncio.create_task(check())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen = len(manners.asked)
        assert 0 < seen <= 4
        await asyncio.sleep(0.5)
        assert len(manners.asked) <= seen + 2, "no more than the two that were on their way"


class TestCost:
    @pytest.mark.slow
    def test_a_certificate_takes_no_more_than_the_model_pays_for(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        vlm = make(chat, max_draws=25)
        selecting = Smoothing(samples=20, selection_samples=6, class_rule="selection", key=SecretBytes(b"k" * 16))
        models = (vlm, DenoisedVLM(vlm, lambda noisy, sigma: noisy, "same", device="cpu"), Scheduler(vlm))
        for model in models:
            with pytest.raises(ConfigurationError, match="pays for 25 draws"):
                SmoothedClassifier(model, ORACLE, selecting)
            with pytest.raises(ConfigurationError, match="pays for 25 draws"):
                SmoothedClassifier(model, ORACLE, Smoothing(samples=26))
            SmoothedClassifier(model, ORACLE, selecting.model_copy(update={"selection_samples": 5}))
        classifier = SmoothedClassifier(vlm, ORACLE, Smoothing(samples=25, selection_samples=2000))
        certificate = classifier.certify(PIXELS, "?")
        assert certificate.draws == len(manners.asked) == 25, "selection draws that nobody needs are not counted"
        assert certificate.tokens == 25 * 2

    def test_a_batch_that_failed_is_not_paid_for_twice(
        self, chat: ChatOpenAI, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        manners.first = lambda number: (401, {}) if number == 8 else None
        with (
            Scheduler(make(chat, max_concurrency=1), max_wait=0.5, batch_size=8) as shared,
            ThreadPoolExecutor() as pool,
        ):
            calls = [pool.submit(shared.answer, draws(4)) for _ in range(2)]
            for call in calls:
                with pytest.raises(ModelError, match="API key"):
                    call.result()
        assert len(manners.asked) == 8

    def test_draws_that_came_too_late_to_count_are_paid_for_and_told(self) -> None:
        class Late:
            name, resolution = "late", (4, 4)

            def check(self, prompt: Prompt, sizes: Any) -> None:
                """Take anything."""

            def answer(self, asked: Any, deadline: float | None = None) -> list[Answer]:
                late = asked[0].index > 0
                return [Answer("good", tokens=3) for _ in asked[:-1]] + [
                    Answer.failure("deadline") if late else Answer("good", tokens=3)
                ]

        smoothing = Smoothing(samples=40, looks=(20, 40), target_radius=0.45)
        certificate = SmoothedClassifier(Late(), ORACLE, smoothing).certify(
            PIXELS, "?", deadline=time.monotonic() + 60.0
        )
        assert (certificate.draws, certificate.stop_reason) == (20, "deadline")
        assert certificate.tokens == 39 * 3


class TestConnections:
    def test_a_proxy_is_kept(self, url: str, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        """The test server serves as proxy: it is asked for the whole address, which it does not know."""
        proxied = chat_openai("http://model.invalid/v1", openai_proxy=url.removesuffix("/v1"))
        with pytest.raises(ModelError, match="HTTP 404"):
            make(proxied).answer(draws(1))

    def test_threads_and_connections_end_with_the_model(self, chat: ChatOpenAI, manners: Manners) -> None:
        vlm = ChatModelVLM(chat)
        vlm.answer(draws(4))
        thread = vlm._calls._background._thread
        assert thread is not None
        files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None  # noqa: PTH112, PTH208
        del vlm
        assert not thread.is_alive(), "also of one that nobody closed"
        if files is not None:
            assert len(os.listdir("/proc/self/fd")) < files  # noqa: PTH208


class TestIdentity:
    def test_a_secret_in_plain_text_is_no_part(self) -> None:
        class Plain(FakeListChatModel):
            api_key: str = ""
            hub_token: str = ""
            options: dict[str, Any] = Field(default_factory=dict)

        one = Plain(responses=["a"], api_key="one", hub_token="one", options={"password": "one", "k": 1})
        two = Plain(responses=["a"], api_key="two", hub_token="two", options={"password": "two", "k": 1})
        assert identity(one) == identity(two)
        assert identity(one) != identity(two.model_copy(update={"options": {"password": "two", "k": 2}}))

    def test_headers_choose_models_unless_they_are_secret(self, url: str) -> None:
        plain, routed = chat_openai(url), chat_openai(url, default_headers={"x-route": "small"})
        secret = chat_openai(url, default_headers={"X-Gateway-Auth": "one", "x-api-key": "two", "Cookie": "three"})
        assert identity(plain) == identity(secret)
        assert (
            len({identity(plain), identity(routed), identity(chat_openai(url, default_headers={"x-route": "b"}))}) == 3
        )

    def test_parameters_that_are_objects_tell_models_apart(self) -> None:
        class Thinking(BaseModel):
            budget: int

        class Thoughtful(FakeListChatModel):
            thinking: Thinking
            words: set[str] = Field(default_factory=set)

        names = {
            identity(Thoughtful(responses=["a"], thinking=Thinking(budget=budget), words=words))
            for budget, words in ((1, set()), (2, set()), (1, {"a", "b"}))
        }
        assert len(names) == 3
        first, again = ({"a", "b", "c"}, {"c", "b", "a"})
        model = Thoughtful(responses=["a"], thinking=Thinking(budget=1), words=first)
        assert identity(model) == identity(model.model_copy(update={"words": again}))
