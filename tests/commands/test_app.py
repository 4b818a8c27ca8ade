"""The command line: what it prints, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from guardrail import Certificate, __version__
from tests.kit.command_line import Done, guardrail, guardrail_process
from tests.kit.redis_server import RedisServer


def test_version() -> None:
    assert guardrail_process("--version").stdout.strip() == f"guardrail {__version__}"


def test_certify_prints_a_sentence_and_a_table(sign: Path) -> None:
    done = guardrail("certify", sign, "--prompt", "Follow the sign.", "--samples", "20")
    assert done.returncode == 0, done.stderr
    assert "using the bundled one" in done.stderr
    assert done.stdout.startswith("harmless: no change of the pixels smaller than L2 0.")
    assert "(confidence 99.9 %, 20 draws, " in done.stdout.splitlines()[0]
    for word in ("harmless", "radius_original_pixels", "q_lower", "not measured"):
        assert word in done.stdout


@pytest.mark.slow
def test_into_a_pipe_lines_are_of_a_readable_width(sign: Path) -> None:
    """A warning is a sentence or two: as one line of a table it would stretch all others."""
    done = guardrail_process("certify", sign, "--prompt", "Follow the sign.", "--samples", "20", COLUMNS="")
    assert done.returncode == 0, done.stderr
    widths = [len(line) for line in done.stdout.splitlines()]
    assert 100 < max(widths[1:]) <= 120
    narrow = guardrail("certify", sign, "--prompt", "Follow the sign.", "--samples", "20", COLUMNS="90")
    assert max(len(line) for line in narrow.stdout.splitlines()[1:]) <= 90


def test_certify_as_json_is_a_certificate(sign: Path) -> None:
    options = ("--sigma", "0.25", "--samples", "30", "--alpha", "0.01", "--json")
    done = guardrail("certify", sign, "--prompt", "Follow the sign.", *options)
    certificate = Certificate.from_json(done.stdout)
    assert (certificate.sigma, certificate.draws, certificate.alpha) == (0.25, 30, 0.01)
    assert json.loads(done.stdout)["verdict"] == "harmless"


def test_a_target_that_no_draws_reach_is_told_before(sign: Path) -> None:
    options = ("--samples", "20", "--target-radius", "50", "--json")
    done = guardrail("certify", sign, "--prompt", "Follow the sign.", *options)
    assert "warning: a target radius of 50 cannot be certified with 20 draws at sigma 0.5" in done.stderr
    assert Certificate.from_json(done.stdout).draws == 20


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.png", "--prompt", "?"], "'nowhere.png' cannot be read (there is no such file"),
        (["SIGN", "--prompt", "?", "--sigma", "0"], "sigma"),
        (["SIGN", "--prompt", "?", "--samples", "0"], "samples"),
        (["SIGN", "--prompt", "?", "--alpha", "2"], "alpha"),
        (["SIGN", "--prompt", "?", "--config", "no.toml"], "no.toml"),
        (["SIGN", "--prompt", "<image>"], "<image>"),
        (["SIGN", "--prompt", "long " * 3000], "shorten"),
    ],
    ids=["file", "sigma", "samples", "alpha", "config", "token", "long"],
)
def test_bad_input_is_one_clear_line(sign: Path, arguments: list[str], complaint: str) -> None:
    done = guardrail("certify", *(sign if argument == "SIGN" else argument for argument in arguments))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_no_image_is_named(sign: Path, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_text("no image at all")
    done = guardrail_process("certify", sign, tmp_path / "image.png", "--prompt", "?")
    assert done.returncode == 2
    assert f"error: {tmp_path / 'image.png'}: the content is text" in done.stderr


@pytest.mark.slow
class TestDemo:
    EXPECTED = (
        ("harmless sign", "harmless", "allow"),
        ("harmful sign", "harmful", "block certified_harmful"),
        ("robot command", "left", "allow"),
        ("invisible sign", "abstain", "block abstained"),
        ("asked again", "harmless", "hit", "allow"),
    )

    def check(self, done: Done, out: Path) -> None:
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        for title, *words in self.EXPECTED:
            row = " ".join(next(line for line in lines if title in line).split())
            assert all(word in row for word in words), row
        with Image.open(out / "contact-sheet.png") as sheet:
            assert sheet.width > 1000
        assert len(list((out / "signs").glob("*.png"))) == 5

    def test_in_memory(self, tmp_path: Path) -> None:
        done = guardrail("demo", "--out", tmp_path)
        self.check(done, tmp_path)
        assert "kept in memory" in done.stdout

    def test_a_redis_that_is_away_is_told(self, tmp_path: Path) -> None:
        done = guardrail(
            "demo", "--out", tmp_path, "--samples", "20", GUARDRAIL_REDIS_URL="redis://:hunter2@127.0.0.1:9"
        )
        assert done.returncode == 0, done.stderr
        assert "not kept, each request is computed: Redis at 127.0.0.1:9 cannot be reached" in done.stdout
        assert "kept in Redis" not in done.stdout
        assert "hunter2" not in done.stdout + done.stderr

    def test_in_redis(self, tmp_path: Path, redis_server: RedisServer) -> None:
        done = guardrail("demo", "--out", tmp_path, GUARDRAIL_REDIS_URL=redis_server.url)
        self.check(done, tmp_path)
        assert "kept in Redis" in done.stdout
