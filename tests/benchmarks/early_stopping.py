"""What early stopping saves, and what it costs in power: exact, on the empirical p of a real model.

    python tests/benchmarks/early_stopping.py --cohen DIRECTORY

`DIRECTORY` holds the certification results of Cohen et al. (2019) on ImageNet, one tab-separated file per noise level,
`sigma_0.25.tsv`, `sigma_0.50.tsv`, `sigma_1.00.tsv`, as in `data/certify/imagenet/resnet50` of the public repository
`locuslab/smoothing`. `Φ(radius/σ)` is each image's lower bound on the probability of its class; an abstention is 1/2.

The design is the default one, which tests all classes at once; beside Wald's bound stands one class at full α.

Exits with 1 if the default design misses its limits.
"""

import argparse
import csv
import math
import sys
from pathlib import Path

from scipy.special import ndtr

from guardrail.statistics.scaling import EmpiricalDistribution, operation
from guardrail.statistics.sequential import FUTILITY_THRESHOLD, ConfidenceSequence, FixedSample, default_looks

ALPHA, BUDGET = 0.001, 100
MOST_DRAWS, MOST_POWER_LOST, MOST_OVER_WALD = 26.5, 0.012, 1.15


def cohen(path: Path, sigma: float) -> EmpiricalDistribution:
    """The empirical distribution of p in one file."""
    with path.open() as file:
        return EmpiricalDistribution(
            [ndtr(float(row["radius"]) / sigma) for row in csv.DictReader(file, delimiter="\t")]
        )


def cohen_table(folder: Path) -> bool:
    """Mean draws and power beside the fixed test. True if all cases keep the limits."""
    bound = ConfidenceSequence(default_looks(BUDGET), ALPHA, partition=True)
    fixed = FixedSample(BUDGET, ALPHA, partition=True)
    print(f"{bound.name}\nfutility threshold {FUTILITY_THRESHOLD}, uniform prior; fixed test: {fixed.name}\n")
    print(f"{'sigma':>6} {'R/sigma':>8} {'mean draws':>11} {'fixed':>6} {'power':>8} {'fixed':>8} {'lost':>8}")
    kept = True
    for sigma in (0.25, 0.5, 1.0):
        distribution = cohen(folder / f"sigma_{sigma:.2f}.tsv", sigma)
        for ratio in (0.2, 0.5):
            early = operation(bound, float(ndtr(ratio)), distribution)
            full = operation(fixed, float(ndtr(ratio)), distribution)
            lost = full.power - early.power
            kept &= early.mean_draws <= MOST_DRAWS and lost <= MOST_POWER_LOST
            print(
                f"{sigma:6.2f} {ratio:8.1f} {early.mean_draws:11.2f} {full.mean_draws:6.0f} "
                f"{early.power:8.4f} {full.power:8.4f} {lost:8.4f}"
            )
    return kept


def batch_table(folder: Path) -> None:
    """The same for looks that fill batches: the worst of the six cases."""
    print(f"\n{'batch':>6} {'looks':>6} {'most mean draws':>16} {'most power lost':>16}")
    fixed = FixedSample(BUDGET, ALPHA, partition=True)
    for batch in (1, 4, 8, 16, 32, 50):
        bound = ConfidenceSequence(default_looks(BUDGET, batch), ALPHA, partition=True)
        draws, lost = [], []
        for sigma in (0.25, 0.5, 1.0):
            distribution = cohen(folder / f"sigma_{sigma:.2f}.tsv", sigma)
            for ratio in (0.2, 0.5):
                early = operation(bound, float(ndtr(ratio)), distribution)
                draws.append(early.mean_draws)
                lost.append(operation(fixed, float(ndtr(ratio)), distribution).power - early.power)
        print(f"{batch:6} {len(bound.looks):6} {max(draws):16.2f} {max(lost):16.4f}")


def wald_table() -> bool:
    """Mean draws over Wald's bound when every draw may be a look. True if all cases keep the limit."""
    bound, target = ConfidenceSequence(range(1, BUDGET + 1), ALPHA), float(ndtr(0.5))
    print(f"\nevery draw a look, R/sigma = 0.5\n{'p':>6} {'mean draws':>11} {'Wald':>6} {'ratio':>6} {'power':>8}")
    kept = True
    for p in (1.0, 0.99, 0.97, 0.95):
        divergence = p * math.log(p / target) + ((1 - p) * math.log((1 - p) / (1 - target)) if p < 1 else 0.0)
        wald = math.log(1 / ALPHA) / divergence
        early = operation(bound, target, EmpiricalDistribution([p]), futility=0.0)  # giving up may beat the bound
        kept &= early.mean_draws <= MOST_OVER_WALD * wald
        print(f"{p:6.2f} {early.mean_draws:11.2f} {wald:6.2f} {early.mean_draws / wald:6.3f} {early.power:8.4f}")
    return kept


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohen", type=Path, required=True, metavar="DIRECTORY")
    folder: Path = parser.parse_args().cohen
    kept = cohen_table(folder)
    batch_table(folder)
    kept &= wald_table()
    print(f"\nlimits (draws ≤ {MOST_DRAWS}, power lost ≤ {MOST_POWER_LOST}, {MOST_OVER_WALD} of Wald): ", end="")
    print("kept" if kept else "MISSED")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
