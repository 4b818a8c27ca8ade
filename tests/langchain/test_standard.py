"""LangChain's own standard tests, on a simple model and on the same one guarded.

Guarded, blocks are raised, so that none can be mistaken for an answer. What must fail then is listed with its reason.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.integration_tests import chat_models as integration
from langchain_tests.unit_tests import ChatModelUnitTests

from guardrail import Guard, Smoothing
from guardrail.oracles import LexiconOracle
from langchain_guardrail import GuardedChatModel, GuardrailBlocked
from tests.kit.chains import Brightness, b64, file, picture
from tests.kit.clerk import Clerk

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
GUARD = Guard(Brightness(), LexiconOracle({"harmful": ("bomb",)}), smoothing=Smoothing(samples=60, sigma=0.25))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the tests that fetch a file from the web one of ours."""

    def get(url: str, **options: Any) -> httpx.Response:
        return httpx.Response(200, content=file(picture("green")))

    monkeypatch.setattr(integration.httpx, "get", get)
    monkeypatch.setattr(integration, "_get_base64_from_url", lambda url: b64())


class Bare:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return Clerk

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "clerk-1"}


class Guarded:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return GuardedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": Clerk(), "guard": GUARD, "on_block": "raise"}


class Supported:
    """What the simple model does: everything."""

    supports_json_mode = supports_image_inputs = supports_image_urls = supports_pdf_inputs = True
    supports_audio_inputs = supports_image_tool_message = supports_pdf_tool_message = True
    supports_anthropic_inputs = supports_model_override = True
    model_override_value = "clerk-2"


class TestBareUnit(Bare, ChatModelUnitTests):
    pass


class TestGuardedUnit(Guarded, ChatModelUnitTests):
    pass


class TestBareIntegration(Bare, Supported, ChatModelIntegrationTests):
    pass


class TestGuardedIntegration(Guarded, Supported, ChatModelIntegrationTests):
    supports_image_urls = False  # of `test_image_inputs`, the last request: see below

    @pytest.mark.xfail(raises=GuardrailBlocked, strict=True, reason="a PDF could show what no one checked")
    def test_pdf_inputs(self, model: BaseChatModel) -> None:
        super().test_pdf_inputs(model)

    @pytest.mark.xfail(raises=GuardrailBlocked, strict=True, reason="a tool's PDF is no more checked than the user's")
    def test_pdf_tool_message(self, model: BaseChatModel) -> None:
        super().test_pdf_tool_message(model)

    @pytest.mark.xfail(raises=GuardrailBlocked, strict=True, reason="audio is not checked")
    def test_audio_inputs(self, model: BaseChatModel) -> None:
        super().test_audio_inputs(model)

    def test_remote_images_are_refused(self, model: BaseChatModel) -> None:
        """The rest of `test_image_inputs`: an address that the model's provider would fetch."""
        with pytest.raises(GuardrailBlocked, match="unchecked_media"):
            model.invoke([HumanMessage([{"type": "image", "url": "https://example.com/cat.png"}])])
