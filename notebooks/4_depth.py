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
# # Rank collapse with depth
#
# **Do tokens become alike as layers of attention are stacked, how fast, and what stops them?**
#
# Dong et al. (2021) prove that pure attention loses rank doubly exponentially with depth. Plots of it flat-line after a
# few layers, where rounding hides the rest. `rs.depth` holds tokens as their mean and what is left of them, each with
# an exponent of its own, so that the law can be followed further. All networks here are random and small.

# %% [markdown]
# ## Pure attention

# %%
import numpy as np

import rankscope as rs

pure = rs.depth(n=48, d=16, layers=6)
pure

# %% [markdown]
# A row holds the tokens that enter a layer. `r` is their relative residual ‖X − 1xᵀ‖/‖X‖, x their mean: 0 if all tokens
# are equal. `order` is the ratio of successive falls of log r, and tends to 3: *doubly exponential* decay, r → c·r³. In
# the column `naive` a script in plain float64 loses sight of it.

# %%
order = [value for value in pure["residual_order"].values if value is not None]
assert abs(order[-1] - 3) < 0.05
true, naive = pure["log10_residual"].values, pure["log10_residual_naive"].values
assert np.allclose(true[:4], naive[:4], rtol=0, atol=1e-2)  # as long as float64 can
print("order:", [round(float(value), 3) for value in order])
print("naive, layers 4 to 6:", naive[4:])

# %%
pure.plot()

# %% [markdown]
# ### Is it true?
#
# A residual far below rounding deserves a second route. Here are 8 tokens and maps of our own, followed by rankscope
# and by a plain computation of 400 digits with mpmath (`pip install mpmath`), which knows nothing of means and
# residuals.

# %%
import mpmath

random = np.random.default_rng(0)
tokens = random.standard_normal((8, 4))
layers = [[random.standard_normal((4, 4)) / 2 for _ in range(4)] for _ in range(5)]  # W_Q, W_K, W_V, W_O
blocks = [rs.Block((rs.Head(*map(rs.Linear, maps)),)) for maps in layers]
ours = rs.depth(tokens=tokens, blocks=blocks, measures="log10_residual")["log10_residual"].values


def log10_residual(x: mpmath.matrix) -> float:
    """The relative residual of tokens, in plain arithmetic of many digits."""
    mean = [mpmath.fsum(x[:, j]) / x.rows for j in range(x.cols)]
    rest = mpmath.matrix(x.rows, x.cols)
    for i in range(x.rows):
        for j in range(x.cols):
            rest[i, j] = x[i, j] - mean[j]
    return float(mpmath.log10(mpmath.norm(rest, 2) / mpmath.norm(x, 2)))  # of all entries: Frobenius


with mpmath.workdps(400):
    x = mpmath.matrix(tokens.tolist())
    plain = [log10_residual(x)]
    for query, key, value, output in ((mpmath.matrix(w.tolist()) for w in maps) for maps in layers):
        scores = (x * query) * (x * key).T / 2  # √4
        weights = scores.apply(mpmath.exp)
        for i in range(8):
            weights[i, :] = weights[i, :] / mpmath.fsum(weights[i, :])
        x = weights * (x * value) * output
        plain.append(log10_residual(x))

assert np.allclose(ours, plain, rtol=1e-9, atol=0)
for layer, (one, other) in enumerate(zip(ours, plain, strict=True)):
    print(f"layer {layer}   rankscope {one:.10g}   mpmath {other:.10g}")

# %% [markdown]
# ## Masks
#
# The theorem speaks of attention that sees every token. With a causal mask each attention matrix has full rank, proved;
# the tokens still become alike, but more slowly. (The last figure of this notebook, of more seeds, finds a factor for
# each layer in place of a power.)

# %%
causal = rs.depth(
    "causal",
    n=48,
    d=16,
    layers=12,
    product=True,
    measures="log10_residual,rank_exact,effective_rank",
)
causal

# %%
exact = [record for record in causal["rank_exact"] if record.over is None]
assert all((record.value, record.guarantee) == (48, "proved") for record in exact)
product = next(record for record in causal["effective_rank"] if record.over == "layers-product")
assert float(product) < 2
assert causal["log10_residual"].values[-1] < -1
print("effective rank of the product of all attention matrices:", round(float(product), 4))

# %% [markdown]
# Every one of these matrices has exact rank 48, and so has their product; its effective rank is close to 1. Full rank
# of each layer does not stop the collapse.
#
# How fast? If the same causal matrix acts in each layer, the distance from the first token falls at the rate of its
# second largest diagonal entry: for a triangle the diagonal holds the eigenvalues, and the largest, 1, belongs to the
# first token.

# %%
fixed = rs.depth(
    "causal",
    n=64,
    d=16,
    layers=60,
    fixed=True,
    values="identity",
    centre="first",
    measures="log10_residual,residual_rate,eigenvalue_2",
)
rate, eigenvalue = float(fixed["residual_rate"].records[-1]), float(fixed["eigenvalue_2"])
assert abs(rate - eigenvalue) < 1e-6
print(f"rate of the last layer {rate:.8f}   second eigenvalue {eigenvalue:.8f}")

# %% [markdown]
# ## Skip connections and MLPs, over seeds
#
# One network is an anecdote. Here are four designs under three masks, each with five seeds; the same seed means the
# same tokens and attention maps, so differences are taken in pairs.

# %%
designs = rs.depth(
    ["bidirectional", "causal", "window:8"],
    design=["pure", "skip", "mlp", "skip+mlp"],
    n=32,
    d=16,
    layers=6,
    seeds=range(5),
    measures="log10_residual,residual_order,residual_rate,centre_nodes,mask_radius",
)
designs.plot()

# %% [markdown]
# What does one part change at the end, all else equal? `log10_residual_difference` is the mean difference with an
# interval of 95 %. Above zero the part slows the collapse down, below zero it speeds it up; an interval that holds zero
# decides nothing, and of twelve such intervals one may well miss by chance.

# %%
differences = [record for record in designs if record.measure == "log10_residual_difference"]
labels = {matrix.id: matrix.label for matrix in designs.table.matrices}
for record in differences:
    verdict = "slower" if record.low > 0 else "faster" if record.high < 0 else "no clear difference"
    print(
        f"{labels[record.matrix]:22} {record.over:27} {record.value:8.2f}  "
        f"[{record.low:8.2f}, {record.high:8.2f}]  {verdict}"
    )

# %%
skip = {labels[r.matrix]: r for r in differences if r.details["factor"] == "skip"}
mlp = [r for r in differences if r.details["factor"] == "mlp"]
assert skip["skip bidirectional"].low > 0
assert skip["skip causal"].low > 0
assert not all(r.low > 0 for r in mlp)

# %% [markdown]
# - **Skip connections** slow the collapse down in bidirectional and causal networks, clearly, as published.
# - **MLPs**, published to slow it, do not in general do so here: the table has several signs. What an MLP does depends
#   on its gain, which can be tried through:

# %%
gains = rs.depth(
    design=["pure", "mlp"],
    mlp_gain=[0.5, 2.0],
    n=48,
    d=16,
    layers=5,
    seeds=range(6),
    measures="log10_residual",
)
gains

# %%
slower = {record.value > 0: record for record in gains if record.measure == "log10_residual_difference"}
assert slower[True].low > 0  # gain 2
assert slower[False].high < 0  # gain 0.5

# %% [markdown]
# ## Norms
#
# Dong et al. say that LayerNorm plays no role, Wu et al. (2024) that it can stop the collapse. With random maps and a
# norm after each causal layer:

# %%
norms = rs.depth(
    "causal",
    n=48,
    d=16,
    layers=10,
    norm=["none", "post"],
    values=["lecun", "orthogonal"],
    seeds=range(10),
    measures="log10_residual",
)
norms.plot()

# %%
labels = {matrix.id: matrix.label for matrix in norms.table.matrices}
for record in (each for each in norms if each.measure == "log10_residual_difference"):
    print(f"{labels[record.matrix]:42} {record.value:7.3f}  [{record.low:7.3f}, {record.high:7.3f}]")
    assert record.low < 0.05  # in none of them does the norm slow the collapse clearly

# %% [markdown]
# In these networks the norm does not slow the collapse. That is no contradiction of Wu et al., whose counterexample is
# a choice of W_V and of tokens; it says that random maps do not make that choice.
#
# ## What is shown, and what is not
#
# These are small networks at initialisation. The doubly exponential law is seen far below rounding, and what is seen
# was compared with multiprecision in one network; the roles of skips, MLPs and norms are means over a few seeds, with
# their intervals, for the sizes in the cells. Training changes all maps, and none of this says how.
#
# ## What to try next
#
# - `rs.depth(..., rescale="perp")` subtracts 11ᵀ/n from each attention matrix; a number is AttnScale.
# - `measures="log10_dong_bound,log10_residual_composite"` sets the theorem's bound beside what is found.
# - `plan="layers"` lets layers alternate between forward and backward; `kernel="linear"` changes the attention.
# - `rankscope depth --compare pure,skip --n 64 --d 16 --layers 10 --seeds 0:5 -o collapse.pdf` from a terminal.
# - Notebook [5](5_your_own.ipynb): matrices, masks, kernels and measures of your own.
