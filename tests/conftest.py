"""Set-up that all tests share: no test may look for a model beyond this machine."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
