"""`guardrail plan` prints a table, draws curves, and says clearly what cannot be planned."""

from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from guardrail.commands import plan as planning
from guardrail.errors import ConfigurationError
from guardrail.statistics.scaling import BetaDistribution, EmpiricalDistribution, UniformDistribution
from tests.kit.command_line import guardrail


@pytest.mark.slow
def test_the_table_and_the_curves(tmp_path: Path) -> None:
    done = guardrail("plan", "--target-radius", "0.1", "--beta", "9", "1", "--out", tmp_path / "plan.png")
    assert done.returncode == 0, done.stderr
    assert "with early stopping" in done.stdout
    assert any(line.split()[:1] == ["1000"] for line in done.stdout.splitlines())
    with Image.open(tmp_path / "plan.png") as curves:
        assert curves.width > 800


def test_distributions(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("0.9\n0.6\n1.0\n")
    sampled = planning.distribution(sample=tmp_path / "p.txt")
    assert isinstance(sampled, EmpiricalDistribution)
    assert sampled.cap == planning.CAP
    assert planning.distribution() == UniformDistribution(0.5, 1.0)
    assert planning.distribution(beta=(2.0, 1.0)) == BetaDistribution(2.0, 1.0)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"uniform": (0.5, 1.0), "beta": (1.0, 1.0)}, "not several"),
        ({"uniform": (0.9, 0.1)}, "low < high"),
        ({"sample": Path("nowhere.txt")}, "nowhere"),
    ],
)
def test_impossible_distributions(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        planning.distribution(**options)  # type: ignore[arg-type]


def test_a_target_that_nobody_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no request has"):
        planning.show_plan(
            Console(quiet=True), 0.5, 0.5, 0.001, UniformDistribution(0.5, 0.6), share=0.9, out=tmp_path / "x.png"
        )
