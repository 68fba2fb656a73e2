"""The glossary: every measure of ours has an entry that is right.

A formula is text, so each stands here beside what it says in numpy: whoever changes the one must look at the other.
"""

import json
import math
import re
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import typst

import rankscope as rs
from rankscope.analyzer.analyze import measures
from rankscope.analyzer.collapse import dong_step
from rankscope.analyzer.depth import DEPTH_MEASURES, History
from rankscope.analyzer.graph import Graph
from rankscope.analyzer.residual import Distance
from rankscope.attention.tokens import Tokens
from rankscope.report import glossary
from rankscope.report.glossary import ENTRIES

DEPTH = rs.depth(
    n=6, d=3, layers=3, design=["pure", "skip"], mask="bidirectional", seeds=range(2), measures=["all"], paths=True
).table

Array = Any
svd: Callable[[Array], Array] = lambda a: np.linalg.svd(a, compute_uv=False)  # noqa: E731
norm: Any = np.linalg.norm


def entropic(p: Array) -> float:
    return float(np.exp(-sum(x * np.log(x) for x in p / p.sum())))


def above(values: Array, tolerance: float) -> int:
    return sum(1 for value in values if value > tolerance)


# ------------------------------------------------------------------------------------------------------- whole matrices

RNG = np.random.default_rng(5)
Q, K, V = RNG.standard_normal((3, 9, 2))
FULL = rs.attention(Q, K, v=V, scale=0.7)
CAUSAL = rs.attention(Q, K, mask="causal")
TAU = 1e-3


def softmax(scores: Array) -> Array:
    weights = np.exp(scores)
    return weights / weights.sum(axis=1, keepdims=True)


A = softmax(0.7 * Q @ K.T / math.sqrt(2))
S = 0.7 * Q @ K.T / math.sqrt(2)
MATRICES: dict[str, tuple[str, Callable[[Array], float]]] = {
    "rank_exact": ("rank A", lambda s: len(s)),
    "rank_numerical": ("|{i : σ_i > τ}|", lambda s: above(s, TAU * s[0])),
    "effective_rank": ("exp(−Σ_i p_i ln p_i), p_i = σ_i / Σ_j σ_j", lambda s: entropic(s)),
    "effective_rank_energy": ("exp(−Σ_i p_i ln p_i), p_i = σ_i² / Σ_j σ_j²", lambda s: entropic(s**2)),
    "stable_rank": ("‖A‖_F² / ‖A‖_2² = Σ_i σ_i² / σ_1²", lambda s: norm(A) ** 2 / norm(A, 2) ** 2),
    "nuclear_rank": ("‖A‖_* / ‖A‖_2 = Σ_i σ_i / σ_1", lambda s: norm(A, "nuc") / norm(A, 2)),
    "participation_ratio": ("(Σ_i σ_i)² / Σ_i σ_i²", lambda s: sum(s) ** 2 / sum(s**2)),
    "energy_rank_90": (
        "min {r : Σ_{i≤r} σ_i² ≥ 0.9 Σ_i σ_i²}",
        lambda s: min(r for r in range(1, len(s) + 1) if sum(s[:r] ** 2) >= 0.9 * sum(s**2)),
    ),
    "offdiagonal_rank": (
        "max_k max {rank_τ A_{i≥k, j<k}, rank_τ A_{i<k, j≥k}}",
        lambda s: max(above(svd(b), TAU * s[0]) for k in range(1, 9) for b in (A[k:, :k], A[:k, k:])),
    ),
    "rank_output": ("|{i : σ_i(A V) > τ}|", lambda s: above(svd(A @ V), TAU * svd(A @ V)[0])),
    "rank_scores": ("|{i : σ_i(S) > max(m, n) 2⁻⁵² σ_1(S)}|", lambda s: above(svd(S), 9 * 2**-52 * svd(S)[0])),
    "logdet": ("ln |det A|", lambda s: math.log(abs(np.linalg.det(A)))),
    "sigma_max": ("σ_1 = ‖A‖_2", lambda s: norm(A, 2)),
    "log10_sigma_min": ("log₁₀ σ_min", lambda s: -math.log10(norm(np.linalg.inv(A), 2))),
    "log10_condition": ("log₁₀(σ_1 / σ_min)", lambda s: math.log10(np.linalg.cond(A))),
    "sv_ratio_1_2": ("σ_1 / σ_2", lambda s: s[0] / s[1]),
    "eigenvalues": (
        "|λ_1| − |λ_2|",
        lambda s: sorted(abs(np.roots(np.poly(A))))[-1] - sorted(abs(np.roots(np.poly(A))))[-2],
    ),
    "max_logit": ("max_{i,j} S_ij", lambda s: max(S[i, j] for i in range(9) for j in range(9))),
    "dobrushin": (
        "(1/2) max_{i,k} ‖A_i − A_k‖_1",
        lambda s: max(sum(abs(A[i] - A[k])) / 2 for i in range(9) for k in range(9)),
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_formula_of_a_matrix_is_right(name: str) -> None:
    spoken, formula = MATRICES[name]
    assert ENTRIES[name].spoken == spoken
    result = rs.analyze(FULL, measures=[name], rtol=TAU, prove=name == "rank_exact")
    record = result.table.records[0]
    assert name != "rank_numerical" or 2 < float(record) < 9, "the tolerance decides nothing"
    assert float(record) == pytest.approx(formula(svd(A)), rel=1e-6)


def rows_of(support: bool = False) -> list[tuple[Array, int]]:
    """The rows of the causal matrix with the number of keys that each sees; with `support` those of two or more."""
    scores = Q @ K.T / math.sqrt(2)
    rows = [(softmax(scores[i : i + 1, : i + 1])[0], i + 1) for i in range(9)]
    return rows[1:] if support else rows


def mean(values: Any) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


ROWS: dict[str, tuple[str, Callable[[], float]]] = {
    "row_entropy": ("−(1/m) Σ_i Σ_j A_ij ln A_ij", lambda: mean(-sum(a * np.log(a)) for a, _ in rows_of())),
    "row_entropy_normalized": (
        "−(1/m) Σ_i (Σ_j A_ij ln A_ij) / ln N_i",
        lambda: mean(-sum(a * np.log(a)) / math.log(count) for a, count in rows_of(support=True)),
    ),
    "hoyer": (
        "(1/m) Σ_i (√N_i − ‖A_i‖_1 / ‖A_i‖_2) / (√N_i − 1)",
        lambda: mean((count**0.5 - sum(a) / norm(a)) / (count**0.5 - 1) for a, count in rows_of(support=True)),
    ),
    "l1_l2": (
        "(1/m) Σ_i ‖A_i‖_1 / (‖A_i‖_2 √N_i)",
        lambda: mean(sum(a) / (norm(a) * count**0.5) for a, count in rows_of()),
    ),
    "gini": (
        "(1/m) Σ_i (1 − 2 Σ_k (c_ik / ‖A_i‖_1) (N_i − k + 1/2) / N_i)",
        lambda: mean(
            1 - 2 * sum(c / sum(a) * (count - k + 0.5) / count for k, c in enumerate(sorted(a), 1))
            for a, count in rows_of()
        ),
    ),
    "sink_rate": ("1 if (1/m) Σ_i A_i1 > 0.3, else 0", lambda: int(mean(a[0] for a, _ in rows_of()) > 0.3)),
    "row_sum": ("(1/m) Σ_i Σ_j A_ij", lambda: mean(sum(a) for a, _ in rows_of())),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_formula_of_rows_is_right(name: str) -> None:
    spoken, formula = ROWS[name]
    assert ENTRIES[name].spoken == spoken
    [record] = rs.analyze(CAUSAL, measures=[name]).table.records
    assert float(record) == pytest.approx(formula(), rel=1e-9)


def test_the_formula_of_row_sums_is_right() -> None:
    assert ENTRIES["row_sum_defect"].spoken == "max_i |Σ_j A_ij − 1|"
    [record] = rs.analyze(np.array([[0.5, 0.25], [0.5, 0.375]]), measures=["row_sum_defect"]).table.records
    assert float(record) == 0.25


# ---------------------------------------------------------------------------------------------------------------- depth

X = RNG.standard_normal((5, 4)) + 1
R = X - X.mean(axis=0)
COMPOSITE: Callable[[Array], float] = lambda x: math.sqrt(norm(x, 1) * norm(x, np.inf))  # noqa: E731
TOKENS: dict[str, tuple[str, float]] = {
    "log10_residual": ("log₁₀(‖X − 1xᵀ‖_F / ‖X‖_F)", norm(R) / norm(X)),
    "log10_residual_l1": ("log₁₀(‖X − 1xᵀ‖_1 / ‖X‖_1)", norm(R, 1) / norm(X, 1)),
    "log10_residual_linf": ("log₁₀(‖X − 1xᵀ‖_∞ / ‖X‖_∞)", norm(R, np.inf) / norm(X, np.inf)),
    "log10_residual_composite": ("log₁₀(‖X − 1xᵀ‖_{1,∞} / ‖X‖_{1,∞})", COMPOSITE(R) / COMPOSITE(X)),
    "log10_residual_spectral": ("log₁₀(‖X − 1xᵀ‖_2 / ‖X‖_2)", norm(R, 2) / norm(X, 2)),
    "log10_rank1_residual": ("log₁₀(√(Σ_{i≥2} σ_i²) / ‖X‖_F)", norm(svd(X)[1:]) / norm(X)),
    "log10_hf_lf": (
        "log₁₀(‖X − (1/n) 11ᵀX‖_F / ‖(1/n) 11ᵀX‖_F)",
        norm(X - np.ones((5, 5)) @ X / 5) / norm(np.ones((5, 5)) @ X / 5),
    ),
    "token_cosine": (
        "(2 / (n (n − 1))) Σ_{i<j} x_iᵀx_j / (‖x_i‖ ‖x_j‖)",
        mean(float(a @ b) / norm(a) / norm(b) for a, b in combinations(X, 2)),
    ),
    "token_correlation": ("1ᵀXXᵀ1 / (n ‖X‖_F²)", float(np.ones(5) @ X @ X.T @ np.ones(5)) / (5 * norm(X) ** 2)),
    "token_stable_rank": ("‖X‖_F² / σ_1²", norm(X) ** 2 / svd(X)[0] ** 2),
    "token_stable_rank_gram": ("Σ_i σ_i⁴ / σ_1⁴", norm(X @ X.T) ** 2 / norm(X @ X.T, 2) ** 2),
    "token_effective_rank": ("exp(−Σ_i p_i ln p_i), p_i = σ_i / Σ_j σ_j", entropic(svd(X))),
    "token_effective_rank_gram": (
        "exp(−Σ_i p_i ln p_i), p_i = σ_i² / Σ_j σ_j²",
        entropic(np.linalg.eigvalsh(X.T @ X)),
    ),
}


@pytest.mark.parametrize("name", TOKENS)
def test_the_formula_of_tokens_is_right(name: str) -> None:
    spoken, value = TOKENS[name]
    assert ENTRIES[name].spoken == spoken
    measure = DEPTH_MEASURES[name].function
    found = measure(Distance(Tokens.of(X)) if measure.need is Distance else Tokens.of(X))
    assert found.value == pytest.approx(math.log10(value) if name.startswith("log10") else value, rel=1e-9)


LOGS = (-0.1, -1.0, -4.0)
HISTORY = History(LOGS, (1e-9,) * 3, (0.4, -0.5, -3.0))
RATES: dict[str, tuple[str, float]] = {
    "residual_order": ("(log r_l − log r_{l−1}) / (log r_{l−1} − log r_{l−2})", (-4.0 + 1.0) / (-1.0 + 0.1)),
    "residual_rate": ("r_l / r_{l−1}", 1e-4 / 1e-1),
    "log10_cubic_constant": ("log₁₀(R_l / R_{l−1}³), R = ‖X − 1xᵀ‖_F", math.log10(10**-3.0 / (10**-0.5) ** 3)),
}


@pytest.mark.parametrize("name", RATES)
def test_the_formula_of_rates_is_right(name: str) -> None:
    spoken, value = RATES[name]
    assert ENTRIES[name].spoken == spoken
    assert DEPTH_MEASURES[name].function(HISTORY).value == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_the_formula_of_the_published_bound_is_right() -> None:
    assert ENTRIES["log10_dong_bound"].spoken == "log₁₀ b_l, b_{l+1} = (4 β_l H s / √d) b_l³"
    block = rs.Stack(n=4, d=3, layers=1, heads=2).block(0)
    betas = []
    for head in block.heads:
        qk, vo = head.query.weights @ head.key.weights.T, head.value.weights @ head.output.weights
        betas.append(norm(qk, 1) * COMPOSITE(vo))
    after = 4 * max(betas) * 2 * 0.5 / math.sqrt(3) * (10**-0.3) ** 3
    assert dong_step(-0.3, block, 0.5) == pytest.approx(math.log10(after), rel=1e-12)


def test_the_formula_of_the_mask_is_right() -> None:
    assert ENTRIES["log10_wu_gap"].spoken == "log₁₀(1 − (1 − ε^r)^(1/r))"
    assert ENTRIES["mask_radius"].spoken == "min {r : ∃j ∀i (M_r ⋯ M_1)_ij > 0}"
    assert ENTRIES["centre_nodes"].spoken == "|{i : i →* j for all j}|"
    window = np.array([[0 <= i - j < 2 for j in range(5)] for i in range(5)])
    graph = Graph([window] * 9, math.log(0.2))
    power = np.linalg.matrix_power
    radius = min(r for r in range(1, 9) if (power(window.astype(int), r) > 0).all(axis=0).any())
    centres = int((power(window.astype(int), 99) > 0).all(axis=0).sum())
    expected = {"mask_radius": radius, "centre_nodes": centres,
                "log10_wu_gap": math.log10(1 - (1 - 0.2**radius) ** (1 / radius))}  # fmt: skip
    for name, value in expected.items():
        assert DEPTH_MEASURES[name].function(graph).value == pytest.approx(value, rel=1e-9)
    assert radius == 4


def of_depth(name: str) -> dict[Any, float]:
    found = [r for r in DEPTH.of(DEPTH.matrices[0]) if r.measure == name and r.value is not None]
    return {r.layer: float(r) for r in found}


def test_the_formulas_of_a_layer_are_right() -> None:
    """The first layer of a network, whose attention is made here from its tokens and maps."""
    spoken = ENTRIES["log10_contraction_bound"].spoken
    assert spoken == "log₁₀ max_{i,k} tanh(ω_ik / 4), ω_ik = max_j (S_ij − S_kj) − min_j (S_ij − S_kj)"
    assert ENTRIES["log10_dobrushin"].spoken == "log₁₀((1/2) max_{i,k} ‖A_i − A_k‖_1)"
    assert ENTRIES["eigenvalue_2"].spoken == "|λ_2|"
    stack = rs.Stack(n=6, d=3, layers=3)
    x, [head] = stack.tokens(), stack.block(0).heads
    scores = (x @ head.query.weights) @ (x @ head.key.weights).T / math.sqrt(3)
    attention = softmax(scores)
    pairs = list(combinations(range(6), 2))
    dobrushin = max(abs(attention[i] - attention[k]).sum() / 2 for i, k in pairs)
    bound = max(math.tanh(np.ptp(scores[i] - scores[k]) / 4) for i, k in pairs)
    second = sorted(abs(np.roots(np.poly(attention))))[-2]
    assert of_depth("log10_dobrushin")[0] == pytest.approx(math.log10(dobrushin), rel=1e-9)
    assert of_depth("log10_contraction_bound")[0] == pytest.approx(math.log10(bound), rel=1e-9)
    assert of_depth("eigenvalue_2")[0] == pytest.approx(second, rel=1e-6)


def test_the_formula_of_differences_is_right() -> None:
    assert ENTRIES["log10_residual_difference"].spoken == "(1/s) Σ_i (log₁₀ r_i^with − log₁₀ r_i^without)"
    [record] = [r for r in DEPTH if r.measure == "log10_residual_difference"]
    last: dict[bool, dict[int | None, float]] = {True: {}, False: {}}
    for r in DEPTH:
        if r.measure == "log10_residual" and r.layer == record.layer:
            last[(DEPTH.matrices[r.matrix].network or {})["skip"]][r.seed] = float(r)
    assert float(record) == pytest.approx(mean(last[True][seed] - last[False][seed] for seed in (0, 1)))


# -------------------------------------------------------------------------------------------------------------- entries


def test_every_measure_of_ours_has_an_entry_and_nothing_else() -> None:
    ours = {each.name for each in measures() if each.function.__module__.startswith("rankscope.")}
    deep = {each.name for each in DEPTH_MEASURES if each.function.__module__.startswith("rankscope.")}
    measured = {record.measure for record in DEPTH}
    assert {"log10_residual_difference", "path_share"} < measured
    assert ours | deep | measured == set(ENTRIES)


def test_entries_come_in_the_order_of_their_names_without_strangers() -> None:
    found = glossary.entries(["hoyer", "my_own", "rank_exact", "hoyer", "erank"])
    assert list(found) == ["hoyer", "rank_exact"]
    assert found["hoyer"] is ENTRIES["hoyer"]


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_in_a_sentence_what_the_measure_is(name: str) -> None:
    entry = ENTRIES[name]
    assert re.fullmatch(r"[A-Z0-9].*[^.]\.", entry.words)
    assert not re.search(r"[\\{}_^]sum|slash|op\(", entry.spoken)
    assert entry.spoken.isprintable()


def document(formula: str) -> bytes:
    """A document with one formula, which Typst reads from a text."""
    return f'#math.equation(block: true, eval({json.dumps(formula, ensure_ascii=False)}, mode: "math"))'.encode()


@pytest.mark.parametrize("name", ENTRIES)
def test_a_formula_can_be_set(name: str) -> None:
    assert typst.compile(document(ENTRIES[name].formula), format="pdf").startswith(b"%PDF-")
    page = typst.compile(document(ENTRIES[name].formula), format="html").decode()
    assert "<math" in page
    for sign in set("σλτωεβφΣ∂∞≥") & set(ENTRIES[name].spoken):
        assert sign.replace("Σ", "∑").replace("ε", "ε") in spelled(page), f"{sign} is spoken and not set"


def spelled(page: str) -> str:
    """A page with the letters of mathematics as plain ones."""
    import unicodedata

    return unicodedata.normalize("NFKC", page)


def test_a_formula_that_is_none_cannot_be_set() -> None:
    with pytest.raises(typst.TypstError):
        typst.compile(document("sum_i nonsense_i"), format="pdf")


def test_sources_are_those_that_the_docstrings_name() -> None:
    """A name and a year that a docstring gives are given here, too, in the same way."""
    for each in [*measures(), *DEPTH_MEASURES]:
        said = (each.function.__doc__ or "").replace(",", " and").replace("(", " ")
        for name, year in re.findall(r"([A-Z][a-z]+(?: and [A-Z][a-z]+| et al\.)?) +(\d{4})\b", said):
            if each.name in ENTRIES:
                assert name.split()[0] in ENTRIES[each.name].source
                assert year in ENTRIES[each.name].source
