"""Chat models behind a real HTTP server, through langchain-openai: calls, failures, and what failures do to soundness.

Rates of false certificates are shown for a client that drops, overtakes or repeats what failed, next to ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_openai import ChatOpenAI
from openai import DefaultHttpxClient
from pydantic import SecretBytes, SecretStr

from guardrail import Prompt, SmoothedClassifier, Smoothing, Verdict
from guardrail.bundled.oracle import bundled_oracle
from guardrail.certify.noise import NoiseStream
from guardrail.errors import ConfigurationError, ModelError, PromptError, TooManyImagesError
from guardrail.models import BundledVLM, VisionLanguageModel
from guardrail.models.base import Answer, Draw
from guardrail.models.chat import ChatModelVLM
from guardrail.oracles.base import Judgements
from guardrail.prompts import ImagePlace, Turn
from guardrail.statistics import clopper_pearson_lower
from tests.kit.openai_server import Asked, Manners, bundled, serve
from tests.kit.signs import clear_sign
from tests.kit.simulations import simulations
from tests.kit.synthetic import ORACLE

KEY = "sk-not-a-real-key"
PIXELS = np.full((4, 4, 3), 128, np.uint8)


def chat_openai(url: str, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="tiny", base_url=url, api_key=SecretStr(KEY), **options)


def coin(harmless: float) -> Callable[[Asked], str]:
    """A model that is harmless with a known probability, decided by the noisy pixels and the sampling seed alone."""

    def speak(asked: Asked) -> str:
        seen = b"".join(picture.tobytes() for picture in asked.pictures) + str(asked.sampling_seed).encode()
        uniform = int.from_bytes(hashlib.sha256(seen).digest()[:6], "little") / 2**48
        return "good" if uniform < harmless else "bad"

    return speak


def draws(count: int, request: str = "request", sigma: float = 0.5) -> list[Draw]:
    stream = NoiseStream.derive(b"the key of these tests", request.encode(), "estimation")
    return [Draw((PIXELS / 255.0,), Prompt.of("?", 1), sigma, stream, i) for i in range(count)]


@pytest.fixture
def manners() -> Manners:
    return Manners()


@pytest.fixture
def url(manners: Manners) -> Iterator[str]:
    with serve(coin(0.5), manners) as address:
        yield address


@pytest.fixture
def make(url: str) -> Iterator[Callable[..., ChatModelVLM]]:
    made: list[ChatModelVLM] = []

    def vlm(chat: Any = None, **options: Any) -> ChatModelVLM:
        made.append(ChatModelVLM(chat or chat_openai(url), **{"backoff": 0.01, **options}))
        return made[-1]

    yield vlm
    for model in made:
        model.close()


class TestAnswers:
    @pytest.mark.slow
    def test_a_certificate_through_http_is_the_local_models(self) -> None:
        """The server's bundled model, and the same one here on the same clipped 8-bit pictures, give equal counts."""
        local = BundledVLM(temperature=0.5, max_new_tokens=8)
        picture = clear_sign()
        with serve(bundled(local)) as url:
            remote = ChatModelVLM(chat_openai(url), resolution=local.resolution)
            oracle = bundled_oracle()
            smoothed = SmoothedClassifier(remote, oracle, Smoothing(samples=16, sigma=0.5, key=SecretBytes(b"k" * 16)))
            certificate = smoothed.certify(picture, "Follow the sign.")
            remote.close()

        prompt = Prompt.of("Follow the sign.", 1)
        asked = [_as_sent(draw) for draw in smoothed.draws(smoothed.request(picture, prompt), range(16))]
        answers = local.answer(asked)
        expected = Counter(Judgements().of(oracle, answers, prompt))
        assert {label: count for label, count in certificate.counts.items() if count} == expected
        assert certificate.verdict is Verdict.HARMLESS
        assert certificate.answer in {answer.text for answer in answers}
        assert "png 8 bit" in certificate.model

    def test_pictures_are_the_noisy_ones_clipped_to_8_bits(
        self, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        asked = draws(3)
        make(max_concurrency=1).answer(asked)
        for draw, seen in zip(asked, manners.asked, strict=True):
            (noisy,), (sent,) = draw.images(), seen.images()
            assert noisy.min() < 0.0
            assert np.abs(sent - np.clip(noisy, 0.0, 1.0)).max() <= 0.5 / 255 + 1e-6

    def test_conversations_keep_their_turns(self, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        prompt = Prompt(
            (
                Turn("system", ("Be brief.",)),
                Turn("user", (ImagePlace(0), "What is this?")),
                Turn("assistant", ("A sign.",)),
                Turn("tool", ("found: ", ImagePlace(1))),
            )
        )
        vlm = make()
        vlm.check(prompt, [(4, 4), (2, 2)])
        stream = NoiseStream.derive(b"the key of these tests", b"", "estimation")
        vlm.answer([Draw((PIXELS / 255.0, np.zeros((2, 2, 3))), prompt, 0.5, stream, 0)])
        *same, tool = manners.asked[0].prompt.turns
        assert tuple(same) == prompt.turns[:3]
        assert tool == Turn("user", ("Result of a tool:", "found: ", ImagePlace(1)))
        assert manners.asked[0].sizes == [(4, 4), (2, 2)]

    def test_each_draw_sends_its_own_seed_and_asking_again_the_same(
        self, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        asked, vlm = draws(12), make()
        first = vlm.answer(asked)
        assert vlm.answer(asked) == first, "the same draws give the same answers"
        assert {answer.text for answer in first} == {"good", "bad"}
        seeds = [seen.sampling_seed for seen in manners.asked]
        assert sorted(seeds[:12]) == sorted(seeds[12:]) == sorted(draw.sampling_seed for draw in asked)
        assert len(set(seeds)) == 12

    def test_tokens_are_counted_and_finish_reasons_read(
        self, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        assert [answer.tokens for answer in make().answer(draws(2))] == [1, 1]
        manners.message = {"finish_reason": "length"}
        assert [answer.complete for answer in make().answer(draws(1))] == [False]

    def test_a_chain_that_takes_messages(self, url: str, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        template = ChatPromptTemplate.from_messages([("system", "Be kind."), MessagesPlaceholder("chat")])
        chain = {"chat": RunnableLambda(lambda messages: messages)} | template | chat_openai(url).bind(stop=["\n"])
        vlm = make(chain | StrOutputParser(), name="kind@1")
        asked = draws(4)
        assert {answer.text for answer in vlm.answer(asked)} <= {"good", "bad"}
        assert manners.asked[0].prompt.turns[0] == Turn("system", ("Be kind.",))
        assert manners.asked[0].body["stop"] == ["\n"]
        assert {seen.sampling_seed for seen in manners.asked} == {draw.sampling_seed for draw in asked}

    def test_tool_calls_are_part_of_the_answer(self, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "buy", "arguments": '{"what": "acid"}'}}
        manners.message = {
            "message": {"role": "assistant", "content": None, "tool_calls": [call]},
            "finish_reason": "tool_calls",
        }
        (answer,) = make().answer(draws(1))
        assert answer.text == '{"tool": "buy", "args": {"what": "acid"}}'


class TestFailures:
    """One draw, one answer: what fails is repeated only where the model cannot have said anything."""

    @pytest.mark.parametrize("rejection", [(429, {}), (429, {"retry-after": "0.02"}), (503, {"retry-after": "0"})])
    def test_rejected_calls_are_repeated_with_the_same_noise_and_seed(
        self, make: Callable[..., ChatModelVLM], manners: Manners, rejection: tuple[int, dict[str, str]]
    ) -> None:
        manners.first = lambda number: rejection if number < 3 else None
        (answer,) = make().answer(draws(1))
        assert answer.failed is None
        first, *others = manners.asked
        assert len(others) == 2
        assert all(other.body == first.body for other in others), "pictures, seed and all"

    @pytest.mark.parametrize(("status", "headers"), [(500, {}), (502, {}), (503, {}), (408, {}), (409, {}), (400, {})])
    def test_errors_of_the_server_are_final(
        self, make: Callable[..., ChatModelVLM], manners: Manners, status: int, headers: dict[str, str]
    ) -> None:
        manners.first = lambda number: (status, headers)
        (answer,) = make().answer(draws(1))
        assert answer == Answer.failure(f"http {status}")
        assert len(manners.asked) == 1, "neither we nor the client's own retries ask again"

    def test_a_rate_limit_that_stays_is_a_failure(self, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        manners.first = lambda number: (429, {})
        assert make(max_attempts=3).answer(draws(1)) == [Answer.failure("http 429")]
        assert len(manners.asked) == 3

    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            ({"finish_reason": "content_filter"}, "filtered"),
            ({"message": {"role": "assistant", "content": ""}}, "empty"),
            ({"message": {"role": "assistant", "content": None, "refusal": "I cannot"}}, "refusal"),
            ({"finish_reason": "something_new"}, "finish reason something_new"),
            ({"finish_reason": None}, "finish reason none"),
        ],
    )
    def test_answers_that_are_none(
        self, make: Callable[..., ChatModelVLM], manners: Manners, message: dict[str, Any], reason: str
    ) -> None:
        manners.message = message
        (answer,) = make().answer(draws(1))
        assert (answer.failed, answer.text, answer.tokens) == (reason, "", 1)
        assert len(manners.asked) == 1

    def test_cut_connections_and_slow_answers_are_final(
        self, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        manners.harmful, manners.cuts = lambda text: True, True
        assert make().answer(draws(1)) == [Answer.failure("connection cut")]
        manners.cuts, manners.slow = False, 0.5
        assert make(timeout=0.1).answer(draws(1)) == [Answer.failure("timeout")]
        assert len(manners.asked) == 2

    def test_a_connection_that_is_refused_is_tried_again_then_a_failure(
        self, make: Callable[..., ChatModelVLM], caplog: pytest.LogCaptureFixture
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        began = time.monotonic()
        with caplog.at_level(logging.WARNING, "guardrail.models.chat"):
            answers = make(chat_openai(f"http://127.0.0.1:{free}/v1"), backoff=0.1, max_attempts=3).answer(draws(2))
        assert answers == [Answer.failure("unreachable")] * 2
        assert time.monotonic() - began > 0.15, "two waits, of at least 0.05 and 0.1 seconds"
        assert "of 2 draws failed {'unreachable': 2}" in caplog.text

    def test_a_server_that_comes_up_in_time(self, make: Callable[..., ChatModelVLM]) -> None:
        with serve(coin(1.0)) as url:
            pass  # the port is free again
        port = int(url.split(":")[2].removesuffix("/v1"))
        vlm = make(chat_openai(url), backoff=0.1, max_attempts=8)
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(vlm.answer, draws(1))
            time.sleep(0.2)
            with serve(coin(1.0), port=port):
                assert asked.result() == [Answer("good", tokens=1)]

    @pytest.mark.parametrize(("status", "advice"), [(401, "API key"), (404, "name and the base URL")])
    def test_what_no_draw_can_mend_is_an_error(
        self, make: Callable[..., ChatModelVLM], manners: Manners, status: int, advice: str
    ) -> None:
        manners.first = lambda number: (status, {})
        with pytest.raises(ModelError, match=advice):
            make().answer(draws(3))

    def test_draws_that_are_not_done_by_the_deadline(self, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        manners.harmful, manners.slow = lambda text: len(manners.asked) > 4, 3.0
        began = time.monotonic()
        answers = make(max_concurrency=2).answer(draws(10), time.monotonic() + 0.7)
        assert time.monotonic() - began < 2.0
        assert [answer.failed for answer in answers] == [None] * 3 + ["deadline"] * 7 or [
            answer.failed for answer in answers
        ] == [None] * 4 + ["deadline"] * 6
        seen = len(manners.asked)
        assert make().answer(draws(3), time.monotonic()) == [Answer.failure("deadline")] * 3
        assert len(manners.asked) == seen, "after the deadline nothing is sent"

    def test_a_draw_beyond_max_draws_costs_nothing(self, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        vlm = make(max_draws=5)
        assert len(vlm.answer(draws(5))) == 5
        with pytest.raises(ModelError, match="max_draws allows 5"):
            vlm.answer(draws(6))
        with pytest.raises(ConfigurationError, match="pays for 5 draws"):
            SmoothedClassifier(vlm, ORACLE, Smoothing(samples=20))
        assert len(manners.asked) == 5


class TestConcurrency:
    def test_calls_in_flight_are_bounded_over_all_requests(
        self, make: Callable[..., ChatModelVLM], manners: Manners
    ) -> None:
        manners.harmful, manners.slow = lambda text: True, 0.05
        vlm = make(max_concurrency=3)
        with ThreadPoolExecutor() as pool:
            requests = list(pool.map(lambda name: vlm.answer(draws(6, name)), "abc"))
        assert manners.busiest == 3
        assert requests[0] == vlm.answer(draws(6, "a"))

    async def test_inside_a_running_loop_beside_the_same_client(
        self, url: str, make: Callable[..., ChatModelVLM]
    ) -> None:
        """An application uses the very chat model on its own loop: their connections must not mix."""
        chat = chat_openai(url)
        vlm, asked = make(chat), draws(6)
        for _ in range(2):
            assert (await chat.ainvoke("hello")).text in {"good", "bad"}
            answers = vlm.answer(asked)
            assert [answer.failed for answer in answers] == [None] * 6
            assert await vlm.aanswer(asked) == answers == await asyncio.to_thread(vlm.answer, asked)
        await chat.root_async_client.close()

    async def test_cancelling_cancels_the_calls(self, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        manners.harmful, manners.slow = lambda text: True, 0.2
        task = asyncio.create_task(make(max_concurrency=2).aanswer(draws(40)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.5)
        assert len(manners.asked) <= 2

    def test_a_closed_model_leaves_no_thread(self, make: Callable[..., ChatModelVLM]) -> None:
        before = threading.active_count()
        vlm = make()
        vlm.answer(draws(2))
        vlm.close()
        vlm.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "guardrail-chat" and vlm]
        assert threading.active_count() <= before + 2, "the server's connections may still be open"
        with pytest.raises(ModelError, match="closed"):
            vlm.answer(draws(1))


class Spy(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_chat_model_start(self, *arguments: Any, **options: Any) -> None:
        self.seen.append("start")

    def on_llm_end(self, *arguments: Any, **options: Any) -> None:
        self.seen.append("end")


def test_an_outer_callback_sees_no_drawn_answer(url: str, make: Callable[..., ChatModelVLM]) -> None:
    vlm, spy = make(), Spy()

    def guarded(text: str) -> str:
        return str(len(vlm.answer(draws(3))))

    assert RunnableLambda(guarded).invoke("?", RunnableConfig(callbacks=[spy])) == "3"
    assert spy.seen == []

    with DefaultHttpxClient() as connections:
        chat = chat_openai(url, http_client=connections)

        def unguarded(text: str) -> str:
            return str(chat.invoke("hello").text)

        RunnableLambda(unguarded).invoke("?", RunnableConfig(callbacks=[spy]))
    assert spy.seen == ["start", "end"], "a chat model called in the open is seen"


@pytest.mark.simulation
class TestSoundness:
    """A model that is harmless with probability 0.45: every certificate of 'harmless' is false.

    α = 0.001 and n = 50: 37 harmless answers certify. Each client asks the same server, RUNS requests.
    """

    RUNS, N = simulations(6), 50
    HARMLESS = 0.45

    def ours(self, url: str) -> list[Any]:
        vlm = ChatModelVLM(chat_openai(url), max_concurrency=self.N)
        smoothing = Smoothing(
            samples=self.N, key=SecretBytes(b"k" * 16), class_rule="fixed", certified_class="harmless"
        )
        smoothed = SmoothedClassifier(vlm, ORACLE, smoothing)
        certificates = [smoothed.certify(PIXELS, f"question {run}") for run in range(self.RUNS)]
        vlm.close()
        return certificates

    def naive(self, url: str, request: Callable[[ChatOpenAI, int], Sequence[str]]) -> float:
        """Return the rate of false certificates of a client that gives the texts it counts."""
        false = 0
        with DefaultHttpxClient() as connections:
            chat = chat_openai(url, max_retries=0, http_client=connections)
            for run in range(self.RUNS):
                texts = request(chat, run)
                false += clopper_pearson_lower(sum(text == "good" for text in texts), len(texts), 0.001) > 0.5
        return false / self.RUNS

    @pytest.mark.slow
    def test_dropping_what_the_filter_withheld(self) -> None:
        """Only harmless answers get through, so all that is counted is harmless."""
        with serve(coin(self.HARMLESS), Manners(filters=True)) as url:
            false = self.naive(url, lambda chat, run: [text for text in _ask(chat, draws(self.N, f"{run}")) if text])
            certificates = self.ours(url)
        assert false == 1.0
        assert all(certificate.verdict is Verdict.ABSTAIN for certificate in certificates)
        failed = sum(certificate.counts["failed"] for certificate in certificates) / (self.RUNS * self.N)
        assert failed == pytest.approx(1 - self.HARMLESS, abs=0.1)
        assert all(any("draws failed" in w for w in certificate.warnings) for certificate in certificates)

    @pytest.mark.slow
    def test_asking_again_where_the_connection_was_cut(self) -> None:
        """Three attempts with the same noise and new tokens: harmless in 1 − 0.55³ = 83 % of the draws."""

        def request(chat: ChatOpenAI, run: int) -> list[str]:
            texts = _ask(chat, asked := draws(self.N, f"{run}"))
            for _ in range(2):
                lost = [i for i, text in enumerate(texts) if text is None]
                for i, text in zip(lost, _ask(chat, [asked[i] for i in lost]), strict=True):
                    texts[i] = text
            return [text or "failed" for text in texts]

        with serve(coin(self.HARMLESS), Manners(cuts=True)) as url:
            false = self.naive(url, request)
            certificates = self.ours(url)
        assert false >= 0.5  # the rate is P[B(50, 0.834) ≥ 37] = 0.97; fewer than 3 of 6 has probability 1e-5
        assert all(certificate.verdict is Verdict.ABSTAIN for certificate in certificates)
        assert all(certificate.counts["failed"] > 15 for certificate in certificates)

    @pytest.mark.slow
    def test_counting_the_first_answers_to_arrive(self) -> None:
        """Harmful answers are slow: of 50 draws the first 15 to arrive are (nearly) all harmless."""

        def request(chat: ChatOpenAI, run: int) -> list[str]:
            with ThreadPoolExecutor(self.N) as pool:
                calls = [pool.submit(chat.invoke, _sent(draw)) for draw in draws(self.N, f"{run}")]
                return [str(call.result().text) for call in islice(as_completed(calls), 15)]

        with serve(coin(self.HARMLESS), Manners(slow=0.4)) as url:
            false = self.naive(url, request)
            certificates = self.ours(url)
        assert false >= 0.5  # 14 of 15 certify; measured: 1.0
        assert all(certificate.verdict is Verdict.ABSTAIN for certificate in certificates)
        assert all("failed" not in certificate.counts for certificate in certificates)
        assert all(certificate.draws == self.N for certificate in certificates)

    @pytest.mark.slow
    def test_what_is_harmless_is_certified_by_the_same_server(self) -> None:
        with serve(coin(0.97), Manners(filters=True)) as url:
            certificates = self.ours(url)
        assert all(certificate.verdict is Verdict.HARMLESS for certificate in certificates)


class TestNames:
    @pytest.mark.slow
    def test_what_the_answers_depend_on(self, url: str, make: Callable[..., ChatModelVLM]) -> None:
        plain = make().name
        assert plain.startswith("ChatOpenAI tiny@")
        assert plain.endswith("/png 8 bit own size/seeded by 'seed'")
        chats: dict[str, Any] = {
            "temperature 0.5": chat_openai(url, temperature=0.5),
            "max_tokens 9": chat_openai(url, max_tokens=9),
            "max_tokens 10": chat_openai(url).bind(max_tokens=10),
            "tiny@": chat_openai(url, presence_penalty=0.5),
            "@": chat_openai(url.replace("127.0.0.1", "localhost")),
        }
        names = {make(chat).name for chat in chats.values()}
        assert all(any(shown in name for name in names) for shown in chats)
        names |= {plain, make(resolution=(8, 8)).name, make(seed=False).name, make(name="mine@2").name}
        assert len(names) == len(chats) + 4
        assert "unseeded" in make(seed=False).name
        assert make(max_concurrency=2, timeout=5, max_draws=9).name == plain
        assert make(chat_openai(url, max_retries=7, request_timeout=3, verbose=True)).name == plain
        assert make(FakeListChatModel(responses=["a"])).name != make(FakeListChatModel(responses=["b"])).name

    def test_no_secrets(self, url: str, make: Callable[..., ChatModelVLM]) -> None:
        secret = url.replace("http://", "http://user:pass-word@") + "?token=hush"
        vlm = make(chat_openai(secret, default_headers={"x-key": "hush"}, extra_body={"key": "hush"}))
        for shown in (vlm.name, repr(vlm)):
            assert not any(word in shown for word in (KEY, "pass-word", "hush", "127.0.0.1"))
        assert vlm.name == make(chat_openai(url, extra_body={"key": "hush"})).name, "a password changes no answer"

    def test_it_is_a_vision_language_model(self, make: Callable[..., ChatModelVLM]) -> None:
        assert isinstance(make(), VisionLanguageModel)
        assert make(resolution=(5, 6)).resolution == (5, 6)
        assert make().resolution is None

    def test_a_model_without_seeds_says_so(self, make: Callable[..., ChatModelVLM]) -> None:
        vlm = make(FakeListChatModel(responses=["good"]))
        assert vlm.name.startswith("FakeListChatModel@")
        assert vlm.name.endswith("unseeded")
        assert [answer.text for answer in vlm.answer(draws(2))] == ["good"] * 2

    def test_a_named_seed_parameter(self, url: str, make: Callable[..., ChatModelVLM], manners: Manners) -> None:
        vlm = make(chat_openai(url), seed="user")
        (draw,) = draws(1)
        assert "seeded by 'user'" in vlm.name
        vlm.answer([draw])
        assert manners.asked[0].body["user"] == draw.sampling_seed


class TestBadRequests:
    @pytest.mark.parametrize(
        ("turns", "match"),
        [
            ((Turn("user", ("?",)),), "places for images"),
            ((Turn("system", (ImagePlace(0),)), Turn("user", ("?",))), "no image in a system turn"),
            ((Turn("user", (ImagePlace(0),)), Turn("assistant", ("Yes.",))), "nothing to answer"),
        ],
    )
    def test_conversations(self, make: Callable[..., ChatModelVLM], turns: tuple[Turn, ...], match: str) -> None:
        with pytest.raises(PromptError, match=match):
            make().check(Prompt(turns), [(4, 4)])

    def test_images(self, make: Callable[..., ChatModelVLM]) -> None:
        with pytest.raises(PromptError, match="without images"):
            make().check(Prompt.of("?", 0), [])
        with pytest.raises(TooManyImagesError, match="takes 1"):
            make(max_images=1).check(Prompt.of("?", 2), [(4, 4)] * 2)


class TestBadModels:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_concurrency": 0},
            {"max_attempts": 0},
            {"max_draws": 0},
            {"timeout": 0.0},
            {"backoff": -1.0},
            {"resolution": (0, 4)},
        ],
    )
    def test_options(self, make: Callable[..., ChatModelVLM], wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            make(**wrong)

    def test_what_cannot_be_smoothed(self, url: str, make: Callable[..., ChatModelVLM]) -> None:
        chat = chat_openai(url)
        refused: dict[str, Any] = {
            "RunnableRetry asks again": chat.with_retry(),
            "RunnableWithFallbacks asks again": chat.with_fallbacks([chat]),
            "fixed seed": chat.bind(seed=1),
            "a fixed seed": chat_openai(url, extra_body={"seed": 1}),
            "has a fixed seed": chat.bind(extra_body={"seed": 1}),
            "sees no image": FakeListLLM(responses=["good"]),
            "pass name=": chat | StrOutputParser(),
            "not a LangChain": "gpt",
        }
        for match, wrong in refused.items():
            with pytest.raises(ConfigurationError, match=match):
                make(wrong)
        with pytest.raises(ConfigurationError, match="fixed seed"):
            make(chat_openai(url, seed=1), seed=False)
        assert make(chat_openai(url, seed=1)).name, "each draw's own seed replaces the model's"
        with pytest.raises(ConfigurationError, match="no chat model can be seen"):
            make(RunnableLambda(lambda messages: "good"), name="x", seed="seed")

    def test_retries_that_cannot_be_switched_off(self, make: Callable[..., ChatModelVLM]) -> None:
        class Stubborn(FakeListChatModel):
            max_retries: int = 2

        with pytest.raises(ConfigurationError, match="max_retries=0"):
            make(Stubborn(responses=["good"]))
        assert make(Stubborn(responses=["good"], max_retries=0)).name

    def test_a_chain_that_ends_in_something_else(self, url: str, make: Callable[..., ChatModelVLM]) -> None:
        vlm = make(RunnableLambda(lambda messages: AIMessage('{"a": 1}')) | JsonOutputParser(), name="json")
        with pytest.raises(ModelError, match="dict"):
            vlm.answer(draws(1))

    def test_an_exception_of_the_chain_is_a_failed_draw(self, make: Callable[..., ChatModelVLM]) -> None:
        def fail(messages: Any) -> str:
            raise KeyError("what the model said")

        assert make(RunnableLambda(fail), name="broken").answer(draws(1)) == [Answer.failure("error KeyError")]


def _as_sent(draw: Draw) -> Any:
    """The draw as the server sees it: clipped, in 8 bits."""
    from guardrail.models.chat import _messages
    from tests.kit import openai_server

    (message,) = _messages(draw)
    body = {"messages": [{"role": "user", "content": message.content}]}
    return replace(openai_server._read(body), sampling_seed=draw.sampling_seed)


def _sent(draw: Draw) -> Any:
    from guardrail.models.chat import _messages

    return _messages(draw)


def _ask(chat: ChatOpenAI, asked: Sequence[Draw]) -> list[str | None]:
    """Ask about all draws at once, without seeds; None for what failed or came back empty."""

    def ask(draw: Draw) -> str | None:
        try:
            return str(chat.invoke(_sent(draw)).text) or None
        except Exception:  # noqa: BLE001 - a naive client
            return None

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(ask, asked))
