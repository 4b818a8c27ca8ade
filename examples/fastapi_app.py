"""A web service that streams a guarded model's answers.

    uvicorn --app-dir examples fastapi_app:app

    curl -N localhost:8000/chat -H 'content-type: application/json' -d '{"text": "Hello."}'

Text streams word by word; with an image, the judged answer comes as one piece. The certificate is computed in a
thread, so that the event loop stays free, and a client that goes away stops the draws.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Header
from fastapi.responses import StreamingResponse
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from guardrail import Guard
from guardrail.stores import MemoryStore
from langchain_guardrail import GuardedChatModel, LocalChatModel

guard = Guard.bundled(store=MemoryStore())
model = GuardedChatModel(LocalChatModel(vlm=guard.model), guard)
app = FastAPI()


class Message(BaseModel):
    """What a user says."""

    text: str
    image: str | None = None
    """A data URL."""


@app.post("/chat")
async def chat(message: Message, user: str | None = Header(default=None)) -> StreamingResponse:
    """Stream the answer as plain text."""
    content: list[Any] = [{"type": "text", "text": message.text}]
    if message.image is not None:
        content.insert(0, {"type": "image_url", "image_url": {"url": message.image}})

    async def words() -> AsyncIterator[str]:
        async for chunk in model.astream([HumanMessage(content)], {"metadata": {"user_id": user}}):
            yield chunk.text

    return StreamingResponse(words(), media_type="text/plain")
