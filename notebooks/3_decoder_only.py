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
# # The rank argument for decoder-only models
#
# **"Bidirectional attention is low-rank, causal attention is full-rank, so decoder-only models are more expressive."
# Which steps of this argument hold when they are measured?**
#
# The argument (Su 2023, kexue.fm 9529, and many retellings) has three steps:
#
# 1. Scores are a product of an n×d by a d×n matrix with d ≪ n, so bidirectional attention has low rank.
# 2. Causal attention is triangular with a positive diagonal, so it has full rank.
# 3. Full rank means stronger expression.
#
# Each is taken in turn, on random queries and keys with entries N(0, 1). What this can show and what it cannot is said
# at the end.

# %% [markdown]
# ## Step 1: does the low rank survive softmax?
#
# `rank_scores` is the rank before softmax, at most d. With `prove=True` the ranks after it are proved or enclosed.

# %%
import numpy as np

import rankscope as rs

sizes = [1, 2, 4, 16]
ranks = ["rank_scores", "rank_exact", "rank_numerical", "effective_rank"]
by_size = rs.compare("bidirectional", d=sizes, n=128, prove=True, measures=ranks)
by_size.to_frame().pivot(index="d", columns="measure", values="value")[ranks].round(2)

# %%
assert by_size["rank_scores"].values == sizes
assert all((record.value, record.guarantee) == (128, "proved") for record in by_size["rank_exact"])
assert by_size["rank_numerical"].values[-1] == 128

# %% [markdown]
# Before softmax the rank is d. After it the exact rank is 128 at every head size, even d = 1: the exponential of a
# matrix of low rank is not of low rank. (For d = 1 this is a classical theorem: exp(x_i y_j) is strictly totally
# positive for distinct, ordered x and y.) What d does limit is the *numerical* rank at very small d, and the effective
# rank.
#
# So step 1 as it is usually said is not right. The low rank is a property of the scores, not of the attention matrix.

# %% [markdown]
# ## Step 2: what does full rank of causal attention mean?
#
# It holds, exactly, with a proof. Here are both masks on the same queries and keys:

# %%
masks = ["bidirectional", "causal"]
both = rs.compare(
    masks,
    n=512,
    d=64,
    measures=[*ranks, "stable_rank", "logdet", "log10_condition"],
    pictures=True,
)
print(both)

# %%
bidirectional, causal = both["rank_numerical"].values
assert (both["rank_exact"].values[1], both["rank_exact"].records[1].guarantee) == (512, "proved")
assert bidirectional > causal
assert both["effective_rank"].values[0] > both["effective_rank"].values[1]
assert both["logdet"].values[0] > both["logdet"].values[1]
assert both["log10_condition"].values[0] + 100 < both["log10_condition"].values[1]
assert both["stable_rank"].values[0] < both["stable_rank"].values[1]

# %% [markdown]
# At this scale of the scores most other numbers point the other way: bidirectional attention has the larger numerical
# rank, the larger effective rank, the larger determinant, and a condition number smaller by more than a hundred orders
# of magnitude. Only the stable rank, Σσ²/σ₁², is larger for causal attention. "Full rank" of the causal matrix is
# exact, and invisible to arithmetic in float64.

# %%
both.plot()

# %%
both.plot("attention")

# %% [markdown]
# The determinant of causal attention is the product of its diagonal, so |det|^(1/n) is the geometric mean of the
# weights that tokens give to themselves. It contains nothing about any other entry:

# %%
diagonal = np.diagonal(np.asarray(rs.synthetic(n=512, d=64, mask="causal")))
mean = np.exp(np.log(diagonal).mean())
assert np.isclose(mean, np.exp(both["logdet"].values[1] / 512), rtol=1e-12)
round(float(mean), 5)

# %% [markdown]
# ## Where the folklore comes from: the scale of the scores
#
# The same two masks at scores a hundred times smaller, over five seeds:

# %%
swept = rs.compare(masks, scale=[0.01, 1.0], seed=list(range(5)), n=256, d=32, measures="effective_rank")
summary = {(row["scale"], row["mask"]): row for row in swept.table.summary()}
for (scale, mask), row in summary.items():
    print(f"scale {scale:<5} {mask:14} {row['mean']:7.2f} ± {row['sd']:.2f} over {row['count']} seeds")

# %%
assert summary[0.01, "bidirectional"]["max"] < summary[0.01, "causal"]["min"]
assert summary[1.0, "bidirectional"]["min"] > summary[1.0, "causal"]["max"]

# %% [markdown]
# At small scores the statement is true of the *effective* rank: bidirectional attention is nearly uniform, 11ᵀ/n, of
# rank one. Causal attention is then nearly the uniform triangle, and its effective rank comes from the triangle alone,
# not from anything that a query says. At unit scores the order is reversed. A sentence about the rank of attention that
# does not name the scale of the scores is incomplete.

# %% [markdown]
# The head size has a say, too. In the plane of scale and d/n, with three seeds for each cell:

# %%
plane = rs.compare(
    masks,
    scale=[0.01, 0.1, 1.0, 10.0],
    d=[8, 32, 128],
    seed=[0, 1, 2],
    n=256,
    measures="effective_rank",
)
plane.plot("phase-diagram:effective_rank")

# %%
mean = {(row["mask"], row["scale"], row["d"]): row["mean"] for row in plane.table.summary()}
for scale in (0.01, 1.0):
    for d in (8, 32, 128):
        pair = [mean[mask, scale, d] for mask in masks]
        print(f"scale {scale:<5} d {d:<4} bidirectional {pair[0]:6.1f}   causal {pair[1]:6.1f}")
        assert (pair[0] > pair[1]) == (scale == 1.0 and d > 8)

# %% [markdown]
# With heads of size 8 causal attention has the larger effective rank at unit scores as well. So the sentence needs the
# head size beside the scale.

# %% [markdown]
# ## Against chance
#
# Is such an effective rank much? `null` draws matched random attention: same size, mask and variance of the scores. Of
# Gaussian queries and keys it should find nothing, which is a check of the comparison itself; for trained attention see
# notebook [5](5_your_own.ipynb).

# %%
against = rs.compare(masks, n=256, d=32, null=100, measures="effective_rank,stable_rank")
print(against)

# %% [markdown]
# It finds nothing: each number lies within the interval of one more draw. From m draws this is their mean
# ± t·sd·√(1 + 1/m), with Student's t of m − 1 degrees of freedom, and one more draw from the same normal distribution
# lies within it with a chance of 99.73 %. The same four numbers against ten draws, and how far the interval reaches:

# %%
from scipy.special import stdtrit


def distance(record: rs.Record) -> float:
    """How many standard deviations of its null a number lies above the mean."""
    return (record.value - record.null_mean) / record.null_sd


reach = {m: float(stdtrit(m - 1, 1 - 0.0027 / 2)) * np.sqrt(1 + 1 / m) for m in (10, 100)}
ten = rs.compare(masks, n=256, d=32, null=10, measures="effective_rank,stable_rank")
print(f"{'in standard deviations of':28} {'10 draws':>10} {'100 draws':>10}")
for few, many in zip(ten, against, strict=True):
    print(f"{masks[few.matrix] + ' ' + few.measure:28} {distance(few):10.2f} {distance(many):10.2f}")
print(f"{'reach of the interval':28} {reach[10]:10.2f} {reach[100]:10.2f}")

# %%
assert all(abs(distance(record)) < reach[100] for record in against)
assert [abs(distance(record)) > reach[10] for record in ten] == [False, False, True, False]

# %% [markdown]
# Ten draws know their standard deviation roughly, so that their interval is wider, and yet the effective rank of causal
# attention lies outside of it. With matched random attention this happens to 1 of 370 numbers by chance, and a hundred
# draws take it back. Draw more before a single number far out is called a finding.

# %% [markdown]
# ## Linear attention: where the mask does decide the rank
#
# Without softmax nothing raises the rank. Bidirectional linear attention has rank at most d, proved; causal linear
# attention has full rank, also proved, because the triangle cuts through the product.

# %%
kernels = rs.compare(
    masks,
    kernel=["softmax", "linear"],
    n=256,
    d=32,
    measures="rank_exact,rank_numerical,effective_rank,offdiagonal_rank,rank_output",
)
print(kernels)

# %% [markdown]
# `offdiagonal_rank` tells what the full rank of causal linear attention is worth: every block beside the diagonal,
# A[k:, :k], has rank at most d. All that passes from the past to the future goes through d numbers. Causal softmax
# attention needs as many as there are tokens on the smaller side.

# %%
rank = {
    (matrix.mask, matrix.kernel): {record.measure: record for record in kernels.table.of(matrix)}
    for matrix in kernels.table.matrices
}
assert rank["bidirectional", "linear"]["rank_exact"].high == 32
assert rank["causal", "linear"]["rank_exact"].value == 256
assert rank["causal", "linear"]["offdiagonal_rank"].value == 32
assert rank["causal", "softmax"]["offdiagonal_rank"].value == 128
kernels.plot("offdiagonal")

# %% [markdown]
# ## Step 3: does full rank mean stronger expression?
#
# What a head passes on is not A but A·V, and its rank is at most the size of V, whatever the rank of A. In the table
# above `rank_output` is 32 in every column:

# %%
assert set(kernels["rank_output"].values) == {32}

# %% [markdown]
# While the rank of A stays above the head size it does not limit what leaves the head. That does not make it
# meaningless: A also mixes the whole sequence of tokens, and the next notebook follows what becomes of that over depth.

# %% [markdown]
# ## Mixed directions
#
# Su proposes a control: half of the heads look forward and half backward, or layers alternate, so that an encoder has
# triangular matrices too. `plan="heads"` and `plan="layers"` make them.

# %%
chosen = "rank_exact,rank_numerical,effective_rank,logdet,log10_condition"
by_heads = rs.analyze(rs.synthetic(n=256, d=32, heads=2, plan="heads"), measures=chosen)
print(by_heads)

# %%
by_layers = rs.analyze(rs.synthetic(n=256, d=32, layers=2, plan="layers"), measures=chosen)
print(by_layers)

# %%
forward, backward, mean, _ = by_heads["log10_condition"].values
assert mean < 10 < min(forward, backward)
product = by_layers["rank_exact"].records[2]
assert (product.value, product.guarantee) == (256, "proved")
assert by_layers["effective_rank"].values[2] < min(by_layers["effective_rank"].values[:2])

# %% [markdown]
# - **Heads**: the mean of a forward and a backward head is no triangle; its full rank is not guaranteed by structure
#   (the table says ≤), but it is conditioned far better than either of its parts.
# - **Layers**: the product of the two triangles has full rank, proved, since its determinant is the product of two that
#   do not vanish. Its effective rank is smaller than that of both factors: ranks say little about products.
#
# That the mean can be singular is not only a lack of proof. In the limit of sharp attention there is an example of
# three tokens whose mean has determinant −1/4, while with other weights it is positive, so that it vanishes in between:

# %%
lower = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
upper = np.array([[0, 1.0, 0], [0, 0, 1], [0, 0, 1]])
sharp = rs.logdet((lower + upper) / 2)
plain = rs.logdet((np.eye(3) + np.eye(3)) / 2)
assert (sharp.sign, plain.sign) == (-1, 1)
assert np.isclose(sharp.sign * np.exp(sharp.log_abs), -0.25)
sharp.sign, float(np.exp(sharp.log_abs))

# %% [markdown]
# ## What is shown, and what is not
#
# | step | verdict | where |
# |---|---|---|
# | bidirectional attention has low rank | no: softmax raises it to n | step 1 |
# | … has low effective rank | at small scores or with small heads, else not | the scale |
# | causal attention has full rank | yes, exactly; float64 cannot see it | step 2 |
# | … and so a larger determinant | no: it is smaller, and speaks of the diagonal only | step 2 |
# | linear attention has low rank unless causal | yes; and blocks beside the diagonal stay at d | linear attention |
# | full rank means stronger expression | not by itself: the output of a head has rank at most d | step 3 |
#
# Not shown here: anything about *trained* models, about losses, or about which architecture is better. These are random
# queries and keys; the ranks are facts about matrices at initialisation. The comparison of models in the argument has
# confounders (number of parameters, objective, share of tokens with a loss) that no rank can settle.
#
# ## What to try next
#
# - `d=[16, 32, 64, 128]` or `n=1024` in the comparison of step 2, and `position=["none", "rope", "alibi"]`.
# - `kernel=["retnet", "ssd", "delta"]` with the causal mask: their blocks beside the diagonal have rank at most d.
# - `rankscope analyze --plan heads --heads 4` from a terminal.
# - Notebook [4](4_depth.ipynb): full rank of every matrix does not stop tokens from becoming alike over depth.
