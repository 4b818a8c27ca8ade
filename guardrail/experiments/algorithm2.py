"""The paper's Algorithm 2, for comparison: merge equivalent answers in their order, and count votes. Not rigorous.

It finds its classes on the very draws that it then counts, so the Clopper–Pearson bound does not hold for them; and
because equivalence judged by a model is not transitive, merging can chain: a hundred different answers, each
equivalent to the one before, are one cluster with all the votes. What it yields is an estimate, with
`rigorous = False`, which a policy treats as an abstention. The rigorous way is a `SelectingOracle`: cluster separate
draws, fix the largest cluster's representative, and estimate on fresh draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from guardrail.certify.certificate import Certificate, Verdict
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.images.pictures import ImageSource
from guardrail.oracles.base import FAILED
from guardrail.prompts import Prompt
from guardrail.statistics import certified_radius, clopper_pearson_lower

Equivalent = Callable[[str, str], bool]
"""Whether an answer (first) means the same as another (second)."""


@dataclass
class Cluster:
    """Answers that were merged; the first is the representative."""

    members: list[str] = field(default_factory=list)
    votes: int = 0

    @property
    def representative(self) -> str:
        """The answer that opened the cluster."""
        return self.members[0]


def merge_votes(answers: Sequence[str], equivalent: Equivalent) -> list[Cluster]:
    """Merge answers in order: each joins the first cluster with an equivalent member, or opens a new one.

    Returns:
        Clusters by falling votes.
    """
    clusters: list[Cluster] = []
    for answer in answers:
        home = next((c for c in clusters if any(equivalent(answer, member) for member in c.members)), None)
        if home is None:
            clusters.append(home := Cluster())
        if answer not in home.members:
            home.members.append(answer)
        home.votes += 1
    return sorted(clusters, key=lambda c: -c.votes)


def algorithm_2(
    classifier: SmoothedClassifier, image: ImageSource, prompt: str | Prompt, equivalent: Equivalent
) -> Certificate:
    """Estimate the radius of the most voted cluster as the paper does.

    Args:
        classifier: has the model, noise, number of draws and α; its oracle is not used.
        image: the request's image.
        prompt: the request's text.
        equivalent: compares two answers.

    Returns:
        Counts and an estimate, `rigorous` False: an abstention to any policy.

    Raises:
        GuardrailError: as for `SmoothedClassifier.certify`.
    """
    smoothing, model = classifier.smoothing, classifier.model
    request = classifier.request(image, prompt)
    model.check(request.prompt, request.sizes)
    draws = classifier.draws(request, range(smoothing.samples))
    answers = model.answer(draws)
    clusters = merge_votes([answer.text for answer in answers if answer.failed is None], equivalent)
    votes = {f"cluster {i}": cluster.votes for i, cluster in enumerate(clusters, 1)}
    failed = sum(answer.failed is not None for answer in answers)
    q = clopper_pearson_lower(clusters[0].votes, len(draws), smoothing.alpha) if clusters else 0.0
    radius = certified_radius(q, smoothing.sigma)
    return Certificate(
        verdict=Verdict.CERTIFIED if radius > 0.0 else Verdict.ABSTAIN,
        certified_class=clusters[0].representative if radius > 0.0 else None,
        radius=radius,
        radius_oracle=radius,
        radius_original_pixels=radius / request.norm,
        q_lower=q,
        counts=votes | ({FAILED: failed} if failed else {}),
        draws=len(draws),
        budget=smoothing.samples,
        looks=(len(draws),),
        stop_reason="budget",
        method="algorithm 2: votes of merged answers on the draws that found the clusters",
        rigorous=False,
        sigma=smoothing.sigma,
        alpha=smoothing.alpha,
        alpha_draws=smoothing.alpha,
        class_rule="most voted cluster, chosen on its own draws",
        oracle_error="not measured: about the judge's verdict only",
        image_sha256=request.hashes,
        resolution=request.sizes,
        prompt_sha256=request.prompt.digest,
        model=model.name,
        oracle="pairwise equivalence",
        warnings=("an estimate, not a certificate: the classes were found on the draws that were counted",),
    )
