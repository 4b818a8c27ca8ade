"""How often an oracle errs: labelled answers read, judged, counted, and its error bounded as a `Calibration`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guardrail.errors import ConfigurationError
from guardrail.measuring.calibration import MODELS, Calibration, Confusion, Kind, Measurement, error_model
from guardrail.measuring.labelled_table import content_of, lines_of
from guardrail.oracles.base import FAILED, HARMFUL, HARMLESS, ILLEGIBLE, Oracle, classify, is_failure, samples
from guardrail.prompts import Prompt
from guardrail.statistics import ImpossibleRateError, LabelledAnswers
from guardrail.statistics.oracle_error import request_id

COLUMNS = ("request", "prompt", "answer", "label")
"""Columns that a file of labelled answers must have; `category` is read too, and others are ignored."""
CLASSES = (HARMLESS, HARMFUL, ILLEGIBLE)
"""Classes of labels, where no oracle says its own."""
_BATCH = 64


@dataclass(frozen=True)
class LabelledText:
    """An answer to a request, and what people say it is.

    Attributes:
        line: where it begins in the file, from 1.
        request: identifies the request; answers to the same one are not independent.
        prompt: text of the request.
        answer: what the model said.
        label: the true class.
        category: what kind of request it is; empty: none.
        oracle_label: what an oracle said, where the file tells; else empty.
    """

    line: int
    request: str
    prompt: str
    answer: str
    label: str
    category: str = ""
    oracle_label: str = ""


@dataclass(frozen=True)
class LabelledFile:
    """A file of labelled answers: its name, the hash of its bytes, and the answers in its order."""

    name: str
    sha256: str
    answers: tuple[LabelledText, ...]

    def first_per_request(self) -> list[LabelledText]:
        """Keep the first answer to each request, whatever its label.

        Answers to one request are not independent, and a bound needs independent ones. Which of them counts must not
        depend on the labels: so the order of the file must not, either.
        """
        first: dict[str, LabelledText] = {}
        for answer in self.answers:
            first.setdefault(request_id(answer.request), answer)
        return list(first.values())


def read_labelled_answers(table: Path, classes: Sequence[str], judged_column: str | None = None) -> LabelledFile:
    """Read labelled answers from a CSV file (UTF-8, comma-separated, one line of column names).

    Args:
        table: the file.
        classes: what labels may be.
        judged_column: name of the column that says what an oracle said: one of `classes`, `failed` or `failed: why`.

    Raises:
        ConfigurationError: no such file, no answer in it, a column is missing, or a line that cannot be used; it names
            the line.
    """
    content = content_of(table)
    lines = lines_of(content, table, COLUMNS if judged_column is None else (*COLUMNS, judged_column))
    answers = tuple(_labelled(row, line, f"{table}, line {line}", classes, judged_column) for line, row in lines)
    if not answers:
        raise ConfigurationError(f"{table} holds no labelled answers: give one a line, under {', '.join(COLUMNS)}")
    return LabelledFile(table.name, hashlib.sha256(content).hexdigest(), answers)


def _labelled(
    row: Mapping[str, str], line: int, where: str, classes: Sequence[str], judged_column: str | None
) -> LabelledText:
    request, label = row["request"].strip(), row["label"].strip()
    oracle_label = row[judged_column].strip() if judged_column is not None else ""
    if not request:
        raise ConfigurationError(f"{where}: no request; name the request that was answered")
    if label not in classes:
        raise ConfigurationError(f"{where}: label {label!r} is none of the classes {', '.join(classes)}")
    if judged_column is not None and oracle_label not in classes and not is_failure(oracle_label):
        raise ConfigurationError(
            f"{where}: {judged_column} {oracle_label!r} is none of the classes {', '.join(classes)}, and not 'failed'"
        )
    category = row.get("category", "").strip()
    return LabelledText(line, request, row["prompt"], row["answer"], label, category, oracle_label)


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is chosen and stated before the labels are looked at.

    Attributes:
        certified_class: the class A whose certificates will use the bound.
        kind: the error model.
        population: what requests the answers were drawn from, in words.
        vlm: name of the model that answered.
        held_out: whether the answers had no part in choosing oracle, threshold or error model.
        alpha_oracle: probability that a bound is wrong, in (0, 1).
        estimate_missed: also bound the rate at which A is missed, for `class-conditional`.
    """

    certified_class: str
    kind: Kind
    population: str
    vlm: str
    held_out: bool
    alpha_oracle: float
    estimate_missed: bool = False

    def require_possible(self, oracle: Oracle | str, classes: Sequence[str]) -> None:
        """Refuse what this oracle and these classes cannot give.

        Args:
            oracle: judges the answers; or the name of an oracle elsewhere.
            classes: what labels may be.

        Raises:
            ConfigurationError: a class that cannot be certified, or an error model that does not go with the oracle.
        """
        if self.certified_class not in classes or self.certified_class in {FAILED, ILLEGIBLE}:
            raise ConfigurationError(
                f"class {self.certified_class!r} cannot be certified; the classes are {', '.join(classes)}"
            )
        if FAILED in classes:
            raise ConfigurationError("'failed' is no class of an answer: it is what a failed judgement counts as")
        if self.estimate_missed and self.kind != "class-conditional":
            raise ConfigurationError(
                f"the model {self.kind} has no rate of missed answers: estimate it for class-conditional"
            )
        if not isinstance(oracle, str) and MODELS[self.kind].assumes_independence and not samples(oracle):
            raise ConfigurationError(
                f"the model {self.kind} assumes errors that are independent over the draws, but oracle {oracle.name} "
                "repeats its judgement for an equal answer, or does not say that it samples (`deterministic = False`): "
                "use the model worst-case"
            )


def oracle_labels(
    oracle: Oracle, answers: Sequence[LabelledText], progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Let an oracle judge answers, each afresh; a judgement that failed is `failed`.

    Args:
        oracle: says the class.
        answers: what it is asked about; their labels are not shown to it.
        progress: called after each batch with the number of answers judged, and of all.

    Raises:
        OracleError: the oracle failed as a whole.
    """
    labels: list[str] = []
    for start in range(0, len(answers), _BATCH):
        batch = answers[start : start + _BATCH]
        labels += classify(oracle, [one.answer for one in batch], [Prompt.of(one.prompt, 1) for one in batch])
        if progress is not None:
            progress(len(labels), len(answers))
    return [FAILED if is_failure(label) else label for label in labels]


@dataclass(frozen=True)
class OracleErrors:
    """What was counted of an oracle, for the tables and for the bound."""

    measured: Measurement
    labels: LabelledAnswers


def count_errors(
    file: LabelledFile,
    oracle: Oracle | str,
    classes: Sequence[str],
    design: Design,
    progress: Callable[[int, int], None] | None = None,
) -> OracleErrors:
    """Count what an oracle says of labelled answers, one per request.

    Args:
        file: the answers.
        oracle: judges them; or the name of the oracle elsewhere whose labels the file holds.
        classes: what labels may be, in the order of the table.
        design: what is certified, and where the answers come from.
        progress: as for `oracle_labels`.

    Raises:
        OracleError: the oracle cannot judge.
    """
    answers = file.first_per_request()
    if isinstance(oracle, str):
        name, said = oracle, [answer.oracle_label for answer in answers]
    else:
        name, said = oracle.name, oracle_labels(oracle, answers, progress)
        classes = tuple(dict.fromkeys((*classes, *oracle.classes)))
    pairs = [
        (answer.label, FAILED if is_failure(label) else label) for answer, label in zip(answers, said, strict=True)
    ]
    by_category: dict[str, list[tuple[str, str]]] = {}
    for answer, pair in zip(answers, pairs, strict=True):
        if answer.category:
            by_category.setdefault(answer.category, []).append(pair)
    measured = Measurement(
        data=file.name,
        data_sha256=file.sha256,
        left_out=len(file.answers) - len(answers),
        confusion=Confusion.of(pairs, classes),
        categories={category: Confusion.of(by_category[category], classes) for category in sorted(by_category)},
    )
    labels = LabelledAnswers.count(
        [(answer.request, answer.label, label) for answer, label in zip(answers, said, strict=True)],
        design.certified_class,
        population=design.population,
        vlm=design.vlm,
        held_out=design.held_out,
        oracle=name,
    )
    return OracleErrors(measured, labels)


def bound_errors(errors: OracleErrors, design: Design) -> Calibration:
    """Bound an oracle's error by what was counted.

    Raises:
        ImpossibleRateError: the labels are not held out, or too few, or the oracle is too bad; or judgements of answers
            that are A failed, on which a lower bound would rest: where fewer fail in use, it claims too much.
    """
    a, kind = design.certified_class, design.kind
    failed = errors.measured.confusion.counts[a][FAILED]
    if failed and (kind == "symmetric" or design.estimate_missed):
        raise ImpossibleRateError(
            f"{failed} judgements of answers that are {a!r} failed: a rate bounded from below may not rest on them, as "
            "fewer may fail in use; find out why they failed and measure again, or use class-conditional without "
            "--estimate-missed, or worst-case"
        )
    error = error_model(errors.labels, kind, design.alpha_oracle, estimate_missed=design.estimate_missed)
    return Calibration(error=error, measured=errors.measured)
