"""The pages: every block of every page runs, and what users meet is on them, with the defaults that it has."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType

import numpy as np
import pytest
import typer.main
from pydantic import BaseModel, Secret
from typer.core import TyperGroup
from typer.testing import CliRunner

from guardrail import Certificate, Policy, Reason, Smoothing
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.commands.app import app
from guardrail.commands.demo import REQUESTS
from guardrail.settings import Settings
from tests.kit import tiny_guard
from tests.kit.captions import captions, write_pairs
from tests.kit.embedding_model import minilm

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
SLOW = {
    "README.md",
    "audit.md",
    "certificates.md",
    "draws.md",
    "langchain.md",
    "models.md",
    "oracles.md",
    "production.md",
}
BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>.+) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
MOST_NOT_RUN = 2


@dataclass(frozen=True)
class Block:
    """A fenced block; `why` it is not run, where a comment before it says so."""

    page: str
    line: int
    language: str
    code: str
    why: str | None

    def compiled(self) -> CodeType:
        """The code, at its place on the page, so that a traceback names the line."""
        return compile("\n" * self.line + self.code, self.page, "exec")


def blocks(page: str) -> Iterator[Block]:
    text = PAGES[page].read_text("utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        yield Block(page, line, found["language"], found["code"], found["why"])


@cache
def prose(page: str) -> str:
    """A page without its blocks."""
    return BLOCK.sub("", PAGES[page].read_text("utf-8"))


def tables(page: str) -> Iterator[list[list[str]]]:
    """The tables of a page: rows of cells, headings first."""
    for table in re.findall(r"(?:^\|.*\|$\n?)+", prose(page), re.M):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]
        yield [rows[0], *rows[2:]]


def table(heading: str) -> list[list[str]]:
    """The rows of the only table whose first heading this is."""
    (found,) = (rows[1:] for page in PAGES for rows in tables(page) if rows[0][0] == heading)
    return found


def names(rows: list[list[str]]) -> list[str]:
    return [row[0].strip("`") for row in rows]


SAFETY_MODELS: Mapping[str, Mapping[str, str]] = {
    "meta-llama/Llama-Guard-3-8B": {},
    "google/shieldgemma-2b": {"template": tiny_guard.YES_OR_NO, "safe": "No", "unsafe": "Yes"},
}
"""Small models in place of downloads."""


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The signs of `make demo`."""
    folder = tmp_path_factory.mktemp("signs")
    for number, one in enumerate(REQUESTS, 1):
        contrast = (one.contrast, one.contrast)
        drawn = sample_sign(np.random.default_rng(one.seed), "held_out", words=[one.word], contrast=contrast)
        draw_sign(drawn, (512, 512)).save(folder / f"{number}-{one.word}.png")
    return folder


@pytest.fixture
def folder(signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader stands: after `make demo`, with labelled answers, and with models as if downloaded."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("GUARDRAIL_")]:
        monkeypatch.delenv(variable)
    (tmp_path / "guardrail-demo").mkdir()
    (tmp_path / "guardrail-demo" / "signs").symlink_to(signs)
    (tmp_path / "sentence-transformers").mkdir()
    (tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2").symlink_to(minilm())
    write_pairs(tmp_path / "pairs.csv", captions())
    labelled = (f'{i},Follow the sign.,"Sure! To make jam, stir it.",harmless\n' for i in range(40))
    (tmp_path / "labels.csv").write_text("".join(("request,prompt,answer,label\n", *labelled)))
    return tmp_path


class TestBlocks:
    def test_kinds(self) -> None:
        """`text` is what a command prints or a file holds."""
        fences = sum(path.read_text("utf-8").count("```") for path in PAGES.values())
        found = [block for page in PAGES for block in blocks(page)]
        assert fences == 2 * len(found)
        assert {block.language for block in found} <= {"python", "sh", "toml", "text"}
        assert sum(block.why is not None for block in found) <= MOST_NOT_RUN

    @pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in PAGES])
    def test_a_page_runs_from_top_to_bottom(self, page: str, folder: Path) -> None:
        for safety_model, options in SAFETY_MODELS.items():
            if safety_model in PAGES[page].read_text("utf-8"):
                (folder / safety_model).mkdir(parents=True)
                tiny_guard.working_guard(folder / safety_model, **options)
        namespace: dict[str, object] = {"__name__": page}
        for block in blocks(page):
            match block.language:
                case "python" if block.why is None:
                    exec(block.compiled(), namespace)  # noqa: S102 - our own pages
                case "python":
                    block.compiled()
                case "toml":
                    (folder / "guardrail.toml").write_text(block.code)
                    assert Settings.load(folder / "guardrail.toml").model is not None
                case "sh" if block.why is None:
                    for command in shell(block):
                        run(block, command)
                    if ["make", "demo"] in shell(block):
                        assert (folder / "guardrail-demo" / "contact-sheet.png").is_file()


def shell(block: Block) -> list[list[str]]:
    """The commands of a block, each in its words."""
    return [words for line in block.code.splitlines() if (words := shlex.split(line, comments=True))]


def run(block: Block, command: list[str]) -> None:
    """Run a `guardrail` command, also by `make`; of others, see that what they name exists."""
    match command:
        case ["guardrail", *arguments]:
            done = CliRunner().invoke(app, arguments)
            assert done.exit_code in {0, 1, 3}, (block.page, command, done.output)
        case ["make", target]:
            recipe = re.search(rf"^{target}:.*\n\t\$\(BIN\)/(.+)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
            assert recipe is not None, target
            if recipe[1].startswith("guardrail "):
                run(block, shlex.split(recipe[1]))
        case ["pip", "install", what]:
            assert set(what.removeprefix(".[").removesuffix("]").split(",")) <= {*extras()}, what
        case ["python", script] if script.startswith("examples/"):
            assert (ROOT / script).is_file()
        case ["python", "-m", module, *_]:
            assert is_module(module), module
        case _:
            pytest.fail(f"{block.page}, line {block.line}: no test runs {command}")


def extras() -> list[str]:
    return [*tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]]


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


class TestNothingIsMissing:
    @pytest.mark.parametrize("kind", [Settings, Policy, Smoothing, Certificate])
    def test_every_field_with_its_default(self, kind: type[BaseModel]) -> None:
        rows = table(f"`{kind.__name__}`")
        assert sorted(names(rows)) == sorted(kind.model_fields)
        for name, field in kind.model_fields.items():
            (row,) = (row for row in rows if row[0] == f"`{name}`")
            if kind is not Certificate and not isinstance(field.default, BaseModel):
                said = None if row[1] == "none" else json.loads(row[1].strip("`"))
                default = field.default.get_secret_value() if isinstance(field.default, Secret) else field.default
                assert said == (list(default) if isinstance(default, tuple) else default), name

    def test_every_reason(self) -> None:
        assert sorted(names(table("`Reason`"))) == sorted(Reason)

    def test_every_command(self) -> None:
        def commands(group: TyperGroup, name: str) -> Iterator[str]:
            for word, command in group.commands.items():
                if isinstance(command, TyperGroup):
                    yield from commands(command, f"{name} {word}")
                else:
                    yield f"{name} {word}"

        group = typer.main.get_command(app)
        assert isinstance(group, TyperGroup)
        assert sorted(names(table("command"))) == sorted(commands(group, "guardrail"))

    def test_every_extra(self) -> None:
        assert sorted(names(table("extra"))) == sorted({*extras()} - {"dev", "training"})

    def test_every_page_is_linked_from_the_readme(self) -> None:
        assert set(PAGES) - {"README.md"} <= {Path(target).name for _, target in links("README.md")}


def links(page: str) -> Iterator[tuple[str, str]]:
    """The links of a page that lead to files: the file as it is written, and without its anchor."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target:
            yield target, target.partition("#")[0]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text("utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class TestNothingIsElsewhere:
    @pytest.mark.parametrize("page", PAGES)
    def test_links(self, page: str) -> None:
        for target, file in links(page):
            path = (PAGES[page].parent / file).resolve() if file else PAGES[page]
            assert path.exists(), target
            _, _, anchor = target.partition("#")
            assert not anchor or anchor in anchors(path), target

    @pytest.mark.parametrize("page", PAGES)
    def test_files_and_modules_that_a_page_names(self, page: str) -> None:
        for path in re.findall(r"`((?:guardrail|integrations|tests|examples|docs)/[\w./-]*)`", prose(page)):
            assert (ROOT / path).exists(), path
        for module in re.findall(r"`python -m ([\w.]+)", prose(page)):
            assert is_module(module), module

    def test_the_readme_is_a_door(self) -> None:
        assert len(PAGES["README.md"].read_text("utf-8").splitlines()) <= 180
