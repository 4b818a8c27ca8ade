"""Set-up that all tests share: no test may look for a model beyond this machine; lanes; what a missing wheel skips."""

import importlib.util
import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several processes, one thread each; before anything imports torch
os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)  # no authorities; else each client of httpx reads all, in 40 ms

pytest_plugins = ("tests.kit.databases", "tests.kit.missing_wheels", "tests.kit.redis_server", "tests.kit.signs")


def pytest_configure(config: pytest.Config) -> None:
    """The fast lane takes one thread: in tiny models, threads mostly wait for each other."""
    if "not slow" in config.option.markexpr:
        import torch

        torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is long is slow too, so that `-m "not slow"`, which takes the place of `-m "not long"`, leaves out both."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")


def _let_torchvision_import() -> None:
    """Define the two operators that a wheel of torchvision for CUDA wants to find beside torch for the CPU.

    Only their schemas: no image processor calls them, but torchvision describes them when it is imported.
    """
    import torch

    for schema in ("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor", "qnms(Tensor a) -> Tensor"):
        try:
            torch.library.define(f"torchvision::{schema.split('(')[0]}", schema[schema.index("(") :])
        except RuntimeError:  # a torchvision that fits has defined them
            return


if importlib.util.find_spec("torchvision") is not None:
    try:
        import torchvision  # noqa: F401
    except Exception:  # noqa: BLE001
        _let_torchvision_import()

import transformers  # noqa: E402, F401 - its log goes for ever to what is stderr when it is imported: no test's own
