"""A remote model behind the guard: images are certified here, and only what was certified goes over the wire.

    python examples/remote_model.py

Set OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL for a model of your own; without them, a small server on this
machine stands for it, with the bundled model behind it. `ChatModelVLM` smooths a remote model itself: docs/models.md.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any

import uvicorn
from common import sign, told
from fastapi import FastAPI
from langchain_core.messages import HumanMessage, convert_to_messages
from langchain_openai import ChatOpenAI

from guardrail import Guard
from langchain_guardrail import GuardedChatModel, LocalChatModel

guard = Guard.bundled()


def stand_in() -> str:
    """Serve the bundled model in OpenAI's protocol on this machine; return its base URL."""
    app, local = FastAPI(), LocalChatModel(vlm=guard.model)

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> dict[str, Any]:
        text = local.invoke(convert_to_messages(body["messages"])).text
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return {"id": "1", "object": "chat.completion", "created": 0, "model": "bundled", "choices": [choice]}

    port = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    threading.Thread(target=server.run, kwargs={"sockets": [port]}, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return f"http://127.0.0.1:{port.getsockname()[1]}/v1"


if __name__ == "__main__":
    remote = ChatOpenAI(
        model=os.environ.get("OPENAI_MODEL", "bundled"),
        base_url=os.environ.get("OPENAI_BASE_URL") or stand_in(),
        api_key=os.environ.get("OPENAI_API_KEY", "EMPTY"),  # type: ignore[arg-type]
    )
    chat = GuardedChatModel(remote, guard)
    for word in ("tea", "bomb"):
        answer = chat.invoke([HumanMessage([sign(word), "Follow the sign."])])
        print(told(answer))
