"""Mutated image files of all formats: each is a picture or one typed error, in time and in memory.

python -m tests.benchmarks.image_fuzz [--count 20000]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from contextlib import suppress

from guardrail import ImageLimits, InputImage
from guardrail.errors import ImageError, ImageTooLargeError
from tests.kit.mutations import mutants, seeds

LIMITS = ImageLimits(max_pixels=4_000_000)


def main() -> None:
    """Print what became of the files; anything but a picture or an `ImageError` ends the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    slowest, slowest_name = 0.0, ""
    for data in seeds().values():  # what the decoders load once
        with suppress(ImageError):
            InputImage.load(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in mutants(options.count, options.seed):
        begun = time.perf_counter()
        try:
            picture = InputImage.load(data, LIMITS)
        except ImageTooLargeError:
            outcomes["too large"] += 1
        except ImageError:
            outcomes["cannot be read"] += 1
        else:
            assert picture.width * picture.height <= LIMITS.max_pixels
            outcomes["a picture"] += 1
        seconds = time.perf_counter() - begun
        if seconds > slowest:
            slowest, slowest_name = seconds, name
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{options.count} files, seed {options.seed}: {dict(outcomes)}")
    print(f"slowest {slowest * 1000:.0f} ms ({slowest_name}); resident memory grew by {grown:.0f} MiB at most")
    assert slowest < 1.0


if __name__ == "__main__":
    main()
