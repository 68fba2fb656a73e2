# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Three ranks and why they differ
#
# **A proof, `matrix_rank` and an entropy give three different ranks of one matrix. Why, and which should be quoted?**
#
# The matrix is the one of notebook [1](1_first_steps.ipynb): causal softmax attention of 512 tokens, head size 64.

# %% [markdown]
# ## What the usual script says
#
# Most papers print something like this:

# %%
import numpy as np

import rankscope as rs

A = rs.synthetic(n=512, d=64, mask="causal")
numbers = np.asarray(A)

print("matrix_rank:        ", np.linalg.matrix_rank(numbers))
print("slogdet:            ", *np.linalg.slogdet(numbers))
print("slogdet, transposed:", *np.linalg.slogdet(numbers.T))
print("smallest σ:         ", np.linalg.svd(numbers, compute_uv=False)[-1])

# %% [markdown]
# A determinant changes neither its sign nor its size when a matrix is transposed, so at least one of these two lines is
# wrong. (Its digits are rounding noise, and differ between machines.)
#
# ## What is true
#
# The matrix is triangular and softmax weights are positive. So its rank is 512, its determinant is the product of the
# diagonal, and ln|det| = Σ (s_ii − logsumexp of row i), a sum without cancellation.

# %%
result = rs.analyze(A, measures="rank_exact,rank_numerical,effective_rank,logdet,log10_sigma_min")
result

# %% [markdown]
# Two other routes to the same numbers, in plain numpy and scipy: the sum over the diagonal, and the norm of the inverse
# by forward substitution, which is accurate for each entry of such a triangle.

# %%
from scipy.linalg import solve_triangular

by_diagonal = np.log(np.diagonal(numbers)).sum()
by_inverse = -np.log10(np.linalg.norm(solve_triangular(numbers, np.eye(512), lower=True), 2))
assert np.isclose(by_diagonal, result["logdet"].value, rtol=1e-12)
assert np.isclose(by_inverse, result["log10_sigma_min"].value, rtol=1e-6)
assert abs(np.linalg.slogdet(numbers).logabsdet - by_diagonal) > 100  # nats
print(f"log det {by_diagonal:.6f}   log₁₀ σ_min {by_inverse:.3f}")

# %% [markdown]
# ## Why the script lies
#
# LAPACK's singular values are those of a matrix that differs from ours by about eps·σ₁ ≈ 10⁻¹⁶. The small values of
# this matrix go far below, so what is returned there is the rounding of the large ones. With `spectrum="exact"` all of
# them are enclosed in ball arithmetic; a smaller matrix keeps this quick.

# %%
B = rs.synthetic(n=96, d=16, mask="causal")
tail = rs.analyze(B, spectrum="exact", measures="rank_exact,log10_sigma_min")
tail.plot()

# %%
smallest = tail["log10_sigma_min"]
noise = np.linalg.svd(np.asarray(B), compute_uv=False)[-1]
print(f"true: 10^{smallest.value:.3f} ({smallest.guarantee})   LAPACK: about 10^{np.log10(noise):.0f}")
assert smallest.guarantee == "enclosed"
assert np.log10(noise) > smallest.value + 5

# %% [markdown]
# ## A numerical rank is a statement about a tolerance
#
# It counts #{σ > τ}. Libraries choose τ differently, and where a count cannot be decided rankscope gives an interval:
# with the small τ of Numerical Recipes ten values cannot be told from τ.

# %%
for rule in ("numpy", "matlab", "torch", "torch-f32", "numerical-recipes"):
    record = rs.analyze(A, rule=rule, measures="rank_numerical")["rank_numerical"]
    count = record.value if record.value is not None else f"{record.low} … {record.high}"
    print(f"{rule:18} τ = {record.details['tolerance']:.1e}   rank {count}")

# %% [markdown]
# Each result carries the whole ladder, and the gap between the last value that is counted and the first that is not. A
# wide gap makes a numerical rank a property of the matrix; a narrow one makes it a property of τ.

# %%
linear = rs.analyze(rs.synthetic(n=512, d=64, kernel="linear"), measures="rank_numerical")["rank_numerical"]
softmax = result["rank_numerical"]
print("causal softmax      ", softmax.details["ladder"])
print("bidirectional linear", linear.details["ladder"])

# %% [markdown]
# Causal softmax loses ranks at every step of the ladder: its spectrum has no edge. Bidirectional linear attention keeps
# its 64 at all but the coarsest: that rank is a fact about its features.

# %%
assert {linear.details["ladder"][step] for step in ("n·eps", "1e-10", "1e-06", "1e-03")} == {64}
assert len(set(softmax.details["ladder"].values())) == 5

# %% [markdown]
# ## Storage in fewer bits
#
# Attention is often dumped as bfloat16. Rounding then changes each entry by up to 2⁻⁸ of it, which makes a matrix of
# low rank look full. Here is bidirectional linear attention again, of true rank 64, as bfloat16; the usual rules, n·eps
# with the eps of float64 and with that of bfloat16, count everything or nothing:

# %%
stored = np.asarray(rs.synthetic(n=512, d=64, kernel="linear:relu", dtype="bfloat16"))
print("n·eps of float64: ", np.linalg.matrix_rank(stored))
print("n·eps of bfloat16:", np.linalg.matrix_rank(stored, rtol=512 * 2.0**-7))

# %% [markdown]
# rankscope remembers how a matrix was stored. Below float64 its tolerance is what rounding can have made of zero,
# u·‖A‖_F + n·η (u half of the type's eps, η its smallest subnormal number) plus the error of the values.

# %%
types = ("float64", "float32", "float16", "bfloat16")
linear = [rs.synthetic(n=512, d=64, kernel="linear:relu", dtype=dtype) for dtype in types]
frame = rs.analyze(linear, measures="rank_numerical,effective_rank").to_frame()
frame.pivot(index="dtype", columns="measure", values="value").loc[list(types)]

# %%
counted = frame[frame.measure == "rank_numerical"]
assert (counted.value == 64).all()

# %% [markdown]
# For causal attention a coarse type leaves fewer singular values that stand out from rounding. The exact rank of the
# scores' softmax does not change; how much of it a file can still show does.

# %%
causal = [rs.synthetic(n=256, d=32, mask="causal", dtype=dtype) for dtype in types]
frame = rs.analyze(causal, measures="rank_exact,rank_numerical,effective_rank").to_frame()
frame.pivot_table(index="dtype", columns="measure", values="value", sort=False)

# %%
counts = frame[frame.measure == "rank_numerical"].value
assert counts.is_monotonic_decreasing
assert counts.iloc[0] > counts.iloc[-1]

# %% [markdown]
# ## Proofs
#
# Bidirectional softmax has no triangle, and its structure does not settle its rank. Proofs do: with `prove=True` the
# exact rank is found by elimination modulo primes or by ball arithmetic, and the others are enclosed.

# %%
C = rs.synthetic(n=128, d=16)
proof = rs.analyze(C, prove=True, measures="rank_exact,rank_numerical,effective_rank,logdet")
proof

# %%
assert (proof["rank_exact"].value, proof["rank_exact"].guarantee) == (128, "proved")
assert all(record.low <= record.value <= record.high for record in proof)

# %% [markdown]
# `rs.certificate` writes down what was proved, with the numbers of the matrix; `rs.verify` proves it anew by other
# routes and without the analyzer.

# %%
certificate = rs.certificate(rs.synthetic(n=64, d=16))
for verdict in rs.verify(certificate):
    print(f"{verdict.verdict:10} {type(verdict.claim).__name__}")
    assert verdict.verdict == "verified"

# %% [markdown]
# ## Rank against scale
#
# The scale of the scores matters as much as the mask. `scale` multiplies q kᵀ/√d; a list is tried through.

# %%
scales = [0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
swept = rs.compare(scale=scales, n=256, d=32, measures="rank_exact,rank_numerical,effective_rank")
frame = swept.to_frame()
table = frame.pivot(index="scale", columns=["measure", "mask"], values="value")
table[["rank_numerical", "effective_rank"]].round(2)

# %%
swept.plot("scaling:effective_rank")

# %%
effective = table["effective_rank"]
assert effective["bidirectional"][0.01] < 2 < 40 < effective["causal"][0.01]
assert effective["bidirectional"][1.0] > effective["causal"][1.0]

# %% [markdown]
# At small scores bidirectional attention is nearly uniform, of effective rank close to one, and causal attention is
# nearly the uniform triangle, whose effective rank is that of the matrix with rows 1/i. For this head size the order is
# reversed at unit scores. The exact rank says none of this: for causal attention it is 256 in every row (`NaN` in a
# frame means not known, or given as an interval).

# %%
uniform = np.tril(np.ones((256, 256))) / np.arange(1, 257)[:, None]
print("uniform triangle:", round(float(rs.effective_rank(uniform)), 3))
assert abs(float(rs.effective_rank(uniform)) - effective["causal"][0.001]) < 0.05
assert (frame[(frame.measure == "rank_exact") & (frame["mask"] == "causal")].value == 256).all()

# %% [markdown]
# ## What an effective rank sees
#
# It weighs all singular values. The share of Σσ that the first of them have shows it best: the later a curve rises, the
# larger the effective rank.

# %%
both = rs.compare(scale=[0.01, 1.0], n=256, d=32, measures="effective_rank,energy_rank_90")
both.plot("cumulative")

# %% [markdown]
# ## Which one to quote
#
# | question | rank | say beside it |
# |---|---|---|
# | is the matrix invertible in principle? | exact | why: a theorem, or a proof |
# | how many dimensions survive in this arithmetic? | numerical | τ, the type of storage, the gap |
# | over how many dimensions is the weight spread? | effective | which definition: σ or σ² |
#
# None of them alone is "the rank", and each can be large where another is small.
#
# ## What to try next
#
# - Repeat the sweep with `kernel="linear"`, or over `d=[4, 16, 64]`.
# - `rs.analyze(A, rtol=1e-3)` for a tolerance of your own, and look at `details["gap"]`.
# - `rankscope analyze --mask causal --n 64 --d 16 --certificate proof.json`, then `rankscope verify proof.json`.
# - Notebook [3](3_decoder_only.ipynb): what these ranks say, and do not say, about decoder-only models.
