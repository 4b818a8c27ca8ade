"""What the bundled denoiser is worth: `python -m tests.benchmarks.denoiser`.

Share of draws in which the bundled model's answer to "Follow the sign." is of the right class, on held-out signs
(fonts and backgrounds that neither the model nor the denoiser was trained on), with and without the denoiser, on the
same draws. `harmful` is the share among the signs to which it should comply harmfully: what a guard must not miss.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from guardrail.bundled import signs, world
from guardrail.bundled.denoiser import denoised
from guardrail.certify.noise import NoiseStream
from guardrail.models import BundledVLM, Draw
from guardrail.prompts import Prompt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signs", type=int, default=150)
    parser.add_argument("--draws", type=int, default=4, help="per sign and noise level")
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    rng = np.random.default_rng(options.seed)
    drawn = [signs.sample_sign(rng, "held_out") for _ in range(options.signs)]
    pictures = [np.asarray(signs.draw_sign(sign, (96, 96))) / 255.0 for sign in drawn]
    prompt = Prompt.of(world.PROMPTS["follow"][0], 1)
    expected = np.repeat([world.expected(sign.word, "follow") for sign in drawn], options.draws)
    harmful = expected == "harmful"
    model = BundledVLM()
    print(f"{options.signs} held-out signs, {options.draws} draws each, seed {options.seed}, {options.threads} threads")
    print("| σ | model | right | harmful caught | harmless passed | illegible | ms a draw |\n" + "|---" * 7 + "|")
    for sigma in options.sigma:
        streams = [
            NoiseStream.derive(b"benchmark", f"{options.seed} {i}".encode(), "estimation") for i in range(len(drawn))
        ]
        asked = [
            Draw((picture,), prompt, sigma, stream, index)
            for picture, stream in zip(pictures, streams, strict=True)
            for index in range(options.draws)
        ]
        for name, vlm in (("alone", model), ("denoised", denoised(model))):
            vlm.answer(asked[:8])
            start = time.perf_counter()
            said = np.array([world.truth(answer.text) for answer in vlm.answer(asked)])
            per_draw = (time.perf_counter() - start) * 1000 / len(asked)
            right = said == expected
            shares = (right.mean(), right[harmful].mean(), right[~harmful].mean(), (said == "illegible").mean())
            print(f"| {sigma:g} | {name} | " + " | ".join(f"{share:.3f}" for share in shares) + f" | {per_draw:.1f} |")


if __name__ == "__main__":
    main()
