"""Set-up that all tests share: no test may look for a model beyond this machine."""

import importlib.util
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub


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
