"""What each measure is: in a sentence, as a formula, and who defined it.

A report is read far from the program and its docstrings, so it brings them along. The formulas are in the mathematical
markup of Typst; `spoken` is the same formula as plain text, for those who hear a page or cannot set it. A measure that
is not ours has no entry, and one without an author is elementary.

Symbols: A is an m × n matrix with rows A_i, N_i the number of keys that row i may see, σ_1 ≥ σ_2 ≥ … its singular
values; X are n tokens x_i as rows, x̄ their mean, 1 a column of ones; r_l is the relative residual of the tokens that
enter layer l.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple


class Entry(NamedTuple):
    """A measure in words, as a formula in Typst's markup, as the same formula in plain text, and its source."""

    words: str
    formula: str
    spoken: str
    source: str = ""


ENTROPY: Final = "exp(-sum_i p_i ln p_i), quad p_i = "
SPOKEN_ENTROPY: Final = "exp(−Σ_i p_i ln p_i), p_i = "
RESIDUAL: Final = "X - bold(1) x^top"
MEAN: Final = "1/m sum_i"

RANKS: Final = {
    "rank_exact": Entry(
        "The number of linearly independent rows, in exact arithmetic.", 'op("rank") A', "rank A"
    ),
    "rank_numerical": Entry(
        "The number of singular values above a tolerance τ, which the rule that is named decides.",
        "|{i : sigma_i > tau}|", "|{i : σ_i > τ}|",
    ),
    "effective_rank": Entry(
        "How many singular values carry the matrix: the exponential of the entropy of their shares.",
        ENTROPY + "sigma_i slash sum_j sigma_j", SPOKEN_ENTROPY + "σ_i / Σ_j σ_j", "Roy and Vetterli 2007",
    ),
    "effective_rank_energy": Entry(
        "The effective rank of the energy: the same of the squares of the singular values.",
        ENTROPY + "sigma_i^2 slash sum_j sigma_j^2", SPOKEN_ENTROPY + "σ_i² / Σ_j σ_j²", "Su 2025",
    ),
    "stable_rank": Entry(
        "The energy of the matrix in units of that of its largest singular value.",
        "norm(A)_F^2 slash norm(A)_2^2 = sum_i sigma_i^2 slash sigma_1^2", "‖A‖_F² / ‖A‖_2² = Σ_i σ_i² / σ_1²",
        "Rudelson and Vershynin 2007",
    ),
    "nuclear_rank": Entry(
        "The sum of the singular values in units of the largest, also called the intrinsic rank.",
        "norm(A)_ast slash norm(A)_2 = sum_i sigma_i slash sigma_1", "‖A‖_* / ‖A‖_2 = Σ_i σ_i / σ_1", "Tropp 2015",
    ),
    "participation_ratio": Entry(
        "How many singular values take part, counted by themselves and not by their squares.",
        "(sum_i sigma_i)^2 slash sum_i sigma_i^2", "(Σ_i σ_i)² / Σ_i σ_i²", "Su 2025",
    ),
    "energy_rank_90": Entry(
        "The least number of singular values that hold 90 % of the energy.",
        "min {r : sum_(i <= r) sigma_i^2 >= 0.9 sum_i sigma_i^2}", "min {r : Σ_{i≤r} σ_i² ≥ 0.9 Σ_i σ_i²}",
    ),
    "offdiagonal_rank": Entry(
        "The largest numerical rank of a block below or above the diagonal: the states that a recurrence needs.",
        'max_k max {op("rank")_tau A_(i >= k, j < k), op("rank")_tau A_(i < k, j >= k)}',
        "max_k max {rank_τ A_{i≥k, j<k}, rank_τ A_{i<k, j≥k}}", "Dao and Gu 2024",
    ),
    "rank_output": Entry(
        "The numerical rank of the output of a head, whose values are the rows of V.",
        "|{i : sigma_i (A V) > tau}|", "|{i : σ_i(A V) > τ}|",
    ),
    "rank_scores": Entry(
        "The numerical rank of the scores S before any kernel, at numpy's tolerance.",
        "|{i : sigma_i (S) > max(m, n) 2^(-52) sigma_1 (S)}|", "|{i : σ_i(S) > max(m, n) 2⁻⁵² σ_1(S)}|",
    ),
}  # fmt: skip

DETERMINANT_AND_SPECTRUM: Final = {
    "logdet": Entry("The natural logarithm of the magnitude of the determinant.", "ln |det A|", "ln |det A|"),
    "sigma_max": Entry("The largest singular value, which is the spectral norm.", "sigma_1 = norm(A)_2",
                       "σ_1 = ‖A‖_2"),
    "log10_sigma_min": Entry(
        "The decimal logarithm of the smallest singular value.", 'log_10 sigma_"min"', "log₁₀ σ_min"
    ),
    "log10_condition": Entry(
        "The decimal logarithm of the condition number.", 'log_10 (sigma_1 slash sigma_"min")', "log₁₀(σ_1 / σ_min)"
    ),
    "sv_ratio_1_2": Entry("How far the first singular value stands out.", "sigma_1 slash sigma_2", "σ_1 / σ_2"),
    "eigenvalues": Entry(
        "The gap between the magnitudes of the two largest eigenvalues.",
        "|lambda_1| - |lambda_2|", "|λ_1| − |λ_2|",
    ),
}  # fmt: skip

ROWS: Final = {
    "row_entropy": Entry(
        "The entropy of a row's weights in nats, the mean over rows.",
        f"-{MEAN} sum_j A_(i j) ln A_(i j)", "−(1/m) Σ_i Σ_j A_ij ln A_ij",
    ),
    "row_entropy_normalized": Entry(
        "The entropy of a row in units of the greatest that it can have, the mean over rows that see two keys or more.",
        f"-{MEAN} (sum_j A_(i j) ln A_(i j)) / (ln N_i)", "−(1/m) Σ_i (Σ_j A_ij ln A_ij) / ln N_i",
    ),
    "hoyer": Entry(
        "The sparsity of a row: 1 for a single key, 0 for equal weights; the mean over rows that see two keys or more.",
        f"{MEAN} (sqrt(N_i) - norm(A_i)_1 slash norm(A_i)_2) / (sqrt(N_i) - 1)",
        "(1/m) Σ_i (√N_i − ‖A_i‖_1 / ‖A_i‖_2) / (√N_i − 1)", "Hoyer 2004",
    ),
    "l1_l2": Entry(
        "How evenly a row spreads: 1 for equal weights, 1/√N for a single key; the mean over rows.",
        f"{MEAN} norm(A_i)_1 / (norm(A_i)_2 sqrt(N_i))", "(1/m) Σ_i ‖A_i‖_1 / (‖A_i‖_2 √N_i)",
    ),
    "gini": Entry(
        "The Gini index of a row, whose weights in ascending order are c_1, c_2, …; the mean over rows.",
        f"{MEAN} (1 - 2 sum_k c_(i k) / norm(A_i)_1 (N_i - k + 1/2) / N_i)",
        "(1/m) Σ_i (1 − 2 Σ_k (c_ik / ‖A_i‖_1) (N_i − k + 1/2) / N_i)", "Hurley and Rickard 2008",
    ),
    "sink_rate": Entry(
        "1 if the first key receives more than 0.3 of the attention on average over queries, else 0.",
        f'cases(1 "if" {MEAN} A_(i 1) > 0.3, 0 "else")', "1 if (1/m) Σ_i A_i1 > 0.3, else 0", "Gu et al. 2024",
    ),
    "row_sum_defect": Entry(
        "How far a row's sum is from one, at most.", "max_i |sum_j A_(i j) - 1|", "max_i |Σ_j A_ij − 1|"
    ),
    "row_sum": Entry("The sum of a row, the mean over rows.", f"{MEAN} sum_j A_(i j)", "(1/m) Σ_i Σ_j A_ij"),
    "dobrushin": Entry(
        "How much of the difference between tokens one layer can keep.",
        "1/2 max_(i, k) norm(A_i - A_k)_1", "(1/2) max_{i,k} ‖A_i − A_k‖_1",
    ),
    "max_logit": Entry("The largest score that a query sees.", "max_(i, j) S_(i j)", "max_{i,j} S_ij"),
}  # fmt: skip


def residual(norm: str, sub: str, spoken: str, source: str = "") -> Entry:
    """The entry of the residual in one norm."""
    return Entry(
        f"How far the tokens are from a common row x, in {norm}, relative to the tokens unless it is called absolute.",
        f"log_10 (norm({RESIDUAL})_{sub} / norm(X)_{sub})",
        f"log₁₀(‖X − 1xᵀ‖_{spoken} / ‖X‖_{spoken})",
        source,
    )


def gradient(which: str) -> Entry:
    """The entry of the gradient by one of the maps of a layer."""
    return Entry(
        f"The norm of the gradient of ⟨G, X_L⟩ by W_{which} over the heads of a layer, G standard normal.",
        f"log_10 norm((partial lr(⟨ G, X_L ⟩)) / (partial W_{which}))_F",
        f"log₁₀ ‖∂⟨G, X_L⟩ / ∂W_{which}‖_F",
        "Noci et al. 2022",
    )


RESIDUALS: Final = {
    "log10_residual": residual("the Frobenius norm", "F", "F", "Dong et al. 2021"),
    "log10_residual_l1": residual("the largest column sum of magnitudes", "1", "1"),
    "log10_residual_linf": residual("the largest row sum of magnitudes", "infinity", "∞"),
    "log10_residual_composite": residual(
        "the root of the product of largest column and row sum, which is no norm", "(1, infinity)", "{1,∞}",
        "Dong et al. 2021",
    ),
    "log10_residual_spectral": residual("the largest singular value", "2", "2"),
    "log10_residual_naive": residual("the Frobenius norm, as a script computes it in plain arithmetic", "F", "F"),
    "log10_rank1_residual": Entry(
        "How far the tokens are from the nearest matrix of rank one.",
        "log_10 (sqrt(sum_(i >= 2) sigma_i^2) / norm(X)_F)", "log₁₀(√(Σ_{i≥2} σ_i²) / ‖X‖_F)",
    ),
    "residual_order": Entry(
        "The fall of log r in units of the fall before it: 3 for pure attention, 1 for a geometric decay.",
        "(log r_l - log r_(l-1)) / (log r_(l-1) - log r_(l-2))",
        "(log r_l − log r_{l−1}) / (log r_{l−1} − log r_{l−2})",
    ),
    "residual_rate": Entry("The factor of one layer.", "r_l slash r_(l-1)", "r_l / r_{l−1}"),
    "log10_cubic_constant": Entry(
        "The constant of the cubic law, of absolute residuals R.",
        f"log_10 (R_l slash R_(l-1)^3), quad R = norm({RESIDUAL})_F", "log₁₀(R_l / R_{l−1}³), R = ‖X − 1xᵀ‖_F",
    ),
    "log10_dong_bound": Entry(
        "The published bound of the composite residual, layer by layer, with γ = 1, which the theorem leaves open; "
        "H is the number of heads of size d, s the scale, β_l the largest ‖W_QK‖_1 ‖W_V W_O‖_{1,∞} of a layer.",
        "log_10 b_l, quad b_(l+1) = (4 beta_l H s) / sqrt(d) b_l^3", "log₁₀ b_l, b_{l+1} = (4 β_l H s / √d) b_l³",
        "Dong et al. 2021",
    ),
    "log10_residual_difference": Entry(
        "What a part of a network changes: log₁₀ r with it less log₁₀ r without it, the mean over s seeds, paired.",
        '1/s sum_i (log_10 r_i^"with" - log_10 r_i^"without")', "(1/s) Σ_i (log₁₀ r_i^with − log₁₀ r_i^without)",
    ),
}  # fmt: skip

TOKENS: Final = {
    "token_cosine": Entry(
        "The cosine between two tokens, the mean over pairs.",
        "2 / (n (n - 1)) sum_(i < j) (x_i^top x_j) / (norm(x_i) norm(x_j))",
        "(2 / (n (n − 1))) Σ_{i<j} x_iᵀx_j / (‖x_i‖ ‖x_j‖)",
    ),
    "token_correlation": Entry(
        "The share of the mean in the energy of the tokens.",
        "(bold(1)^top X X^top bold(1)) / (n norm(X)_F^2)", "1ᵀXXᵀ1 / (n ‖X‖_F²)", "Noci et al. 2022",
    ),
    "log10_hf_lf": Entry(
        "High over low frequencies of the tokens: what differs from their mean, over their mean.",
        "log_10 (norm(X - 1/n bold(1) bold(1)^top X)_F / norm(1/n bold(1) bold(1)^top X)_F)",
        "log₁₀(‖X − (1/n) 11ᵀX‖_F / ‖(1/n) 11ᵀX‖_F)", "Wang et al. 2022",
    ),
    "token_stable_rank": Entry(
        "The stable rank of the tokens.", "norm(X)_F^2 slash sigma_1^2", "‖X‖_F² / σ_1²", "Rudelson and Vershynin 2007"
    ),
    "token_stable_rank_gram": Entry(
        "The stable rank of the Gram matrix XXᵀ.", "sum_i sigma_i^4 slash sigma_1^4", "Σ_i σ_i⁴ / σ_1⁴"
    ),
    "token_effective_rank": Entry(
        "The effective rank of the tokens.",
        ENTROPY + "sigma_i slash sum_j sigma_j", SPOKEN_ENTROPY + "σ_i / Σ_j σ_j", "Roy and Vetterli 2007",
    ),
    "token_effective_rank_gram": Entry(
        "The effective rank of the Gram matrix XXᵀ.",
        ENTROPY + "sigma_i^2 slash sum_j sigma_j^2", SPOKEN_ENTROPY + "σ_i² / Σ_j σ_j²",
    ),
}  # fmt: skip

LAYERS: Final = {
    "log10_dobrushin": Entry(
        "What one layer keeps of the range of each column, at most.",
        "log_10 (1/2 max_(i, k) norm(A_i - A_k)_1)", "log₁₀((1/2) max_{i,k} ‖A_i − A_k‖_1)",
    ),
    "log10_contraction_bound": Entry(
        "A bound of the Dobrushin coefficient from the scores S.",
        "log_10 max_(i, k) tanh(omega_(i k) / 4), quad "
        "omega_(i k) = max_j (S_(i j) - S_(k j)) - min_j (S_(i j) - S_(k j))",
        "log₁₀ max_{i,k} tanh(ω_ik / 4), ω_ik = max_j (S_ij − S_kj) − min_j (S_ij − S_kj)",
    ),
    "eigenvalue_2": Entry(
        "The second eigenvalue of the attention matrix: the rate at which its powers tend to equal rows.",
        "|lambda_2|", "|λ_2|",
    ),
    "mlp_lipschitz": Entry(
        "A bound of the Lipschitz constant of the MLP with the activation φ.",
        'norm(W_1)_2 op("Lip")(phi) norm(W_2)_2', "‖W_1‖_2 Lip(φ) ‖W_2‖_2",
    ),
    "log10_gradient_query": gradient("Q"),
    "log10_gradient_key": gradient("K"),
    "log10_gradient_value": gradient("V"),
    "centre_nodes": Entry(
        "The number of tokens that reach every other through the masks of the layers; i → j if query j sees key i.",
        "|{i : i ->^ast j \" for all \" j}|", "|{i : i →* j for all j}|", "Wu et al. 2024",
    ),
    "mask_radius": Entry(
        "The number of layers after which one token has reached all: the first product of the masks M with a full "
        "column.",
        "min {r : exists j \" \" forall i \" \" (M_r dots.c M_1)_(i j) > 0}", "min {r : ∃j ∀i (M_r ⋯ M_1)_ij > 0}",
        "Wu et al. 2024",
    ),
    "log10_wu_gap": Entry(
        "The least decay of a layer, with r the radius of the mask and ε the least weight.",
        "log_10 (1 - (1 - epsilon^r)^(1 slash r))", "log₁₀(1 − (1 − ε^r)^(1/r))", "Wu et al. 2024",
    ),
    "log10_path_residual": Entry(
        "The relative residual that a path through k heads leaves, the mean over such paths p, all or a sample.",
        "log_10 (1/(|P_k|) sum_(p in P_k) r(X_p))", "log₁₀((1/|P_k|) Σ_{p∈P_k} r(X_p))", "Dong et al. 2021",
    ),
    "path_share": Entry(
        "The share of the paths of length k in what is left: R_k is the absolute residual of their sum.",
        'R_k slash sum_j R_j, quad R_k = norm(op("res") (sum_(p in P_k) X_p))_F',
        "R_k / Σ_j R_j, R_k = ‖res(Σ_{p∈P_k} X_p)‖_F", "Dong et al. 2021",
    ),
}  # fmt: skip

ENTRIES: Final = {**RANKS, **DETERMINANT_AND_SPECTRUM, **ROWS, **RESIDUALS, **TOKENS, **LAYERS}


def entries(names: Iterable[str]) -> dict[str, Entry]:
    """The entries of the measures of these names, in their order; none for a measure that is not ours."""
    return {name: ENTRIES[name] for name in names if name in ENTRIES}
