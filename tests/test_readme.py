"""Every code block of the README runs, in order, as a reader would run it."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from guardrail.settings import Settings
from tests.kit.captions import captions, write_pairs
from tests.kit.command_line import guardrail
from tests.kit.embedding_model import minilm
from tests.kit.signs import clear_sign

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_every_block_is_of_a_kind_that_is_run_here() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "sh", "text", "toml"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("GUARDRAIL_")]:
        monkeypatch.delenv(variable)
    for name, word in (("sign.png", "tea"), ("bomb.png", "bomb")):
        clear_sign(word).save(tmp_path / name)
    (tmp_path / "sentence-transformers").mkdir()
    (tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2").symlink_to(minilm())  # in place of a download
    write_pairs(tmp_path / "pairs.csv", captions())
    labelled = (f'{i},Follow the sign.,"Sure! To make jam, stir it.",harmless\n' for i in range(40))
    (tmp_path / "labels.csv").write_text("".join(("request,prompt,answer,label\n", *labelled)))
    return tmp_path


@pytest.mark.slow
def test_python_blocks(folder: Path) -> None:
    namespace: dict[str, object] = {}
    for language, code in BLOCKS:
        if language == "toml":
            (folder / "guardrail.toml").write_text(code)
        if language == "python":
            exec(compile(code, "README.md", "exec"), namespace)  # noqa: S102 - our own README


def test_toml_blocks() -> None:
    for code in (code for language, code in BLOCKS if language == "toml"):
        assert Settings(**tomllib.loads(code)).model is not None


@pytest.mark.slow
def test_shell_blocks(folder: Path) -> None:
    """`guardrail` commands run; `make` targets and extras exist; anything else would go untested."""
    makefile = (ROOT / "Makefile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in (line for language, code in BLOCKS if language == "sh" for line in code.splitlines() if line):
        command, *arguments = shlex.split(line, comments=True)
        if command == "guardrail":
            done = guardrail(*arguments)
            assert done.returncode in {0, 1, 3}, (line, done.stderr)
        elif command == "make":
            assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE), line
        elif command == "pip":
            (named,) = re.findall(r"\[([\w,]+)\]", line)
            assert set(named.split(",")) <= set(extras), line
        else:
            pytest.fail(f"README.md: no test runs {line!r}")
