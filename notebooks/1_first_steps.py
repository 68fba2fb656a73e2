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
# # First steps
#
# **What is the rank of an attention matrix, and how far can the answer be trusted?**
#
# This notebook measures one matrix, reads the result line by line, plots it, saves it, reports on it, and then does the
# same with queries and keys of your own. It needs nothing but rankscope; everything runs in seconds on a laptop.

# %% [markdown]
# ## One matrix
#
# `rs.synthetic` draws queries and keys from the standard random ensemble, `numpy.random.default_rng(seed)`, queries
# first, all entries N(0, 1). Here they make causal softmax attention of 512 tokens with head size 64.

# %%
import numpy as np

import rankscope as rs

A = rs.synthetic(n=512, d=64, mask="causal")
A

# %% [markdown]
# `A` is more than an array: it knows how it was made, and what must therefore be true of it, each fact with its reason.

# %%
A.structure.side, A.structure.det_sign

# %% [markdown]
# `rs.analyze` measures it. A result shows itself.

# %%
result = rs.analyze(A)
result

# %% [markdown]
# ## How to read it
#
# Each line is one measure: its name, its value, its **guarantee**, the **subject** that the number speaks of (here the
# exact softmax of these `scores`), and a remark: an error bound, a tolerance or a reason.
#
# There are three answers to the question of the title, and they do not agree:

# %%
for name in ("rank_exact", "rank_numerical", "effective_rank"):
    record = result[name]
    print(f"{name:15} {record.value:7.5g}   {record.guarantee:10} {record.because or record.method}")

# %% [markdown]
# - The **exact rank** is that of exact arithmetic. It follows from the triangle, and is *proved*.
# - The **numerical rank** counts the singular values above a tolerance τ. It is a statement about the matrix *and* τ.
# - The **effective rank** (Roy and Vetterli 2007) weighs all singular values: exp(−Σ p ln p) with p = σ/Σσ. It needs no
#   tolerance.
#
# Notebook [2](2_three_ranks.ipynb) explains why they differ. `result["effective_rank"]` is a record, and a record has
# all that is known of one number:

# %%
record = result["effective_rank"]
record.value, record.low, record.high, record.guarantee

# %% [markdown]
# A second route, which shares no code with rankscope, gives the same number within these bounds:

# %%
sigma = np.linalg.svd(np.asarray(A), compute_uv=False)
p = sigma / sigma.sum()
by_hand = np.exp(-np.sum(p * np.log(p)))
assert record.low <= by_hand <= record.high
round(float(by_hand), 6)

# %% [markdown]
# ## What the guarantees mean
#
# - **proved**: a theorem about the structure gives it, or exact or ball arithmetic does.
# - **enclosed**: `low` and `high` contain the truth, rigorously.
# - **estimated**: computed in floating point; the remark says which error is left.
#
# With `prove=True` every rank and determinant is raised as far as it goes. It is meant for matrices of moderate size.


# %%
def shown(record: rs.Record) -> str:
    """The value, or the bounds where it is not known, and the guarantee."""
    known = f"{record.low} … {record.high}" if record.value is None else f"{record.value:.10g}"
    return f"{known} ({record.guarantee})"


small = rs.synthetic(n=48, d=16)  # bidirectional: no triangle settles its rank
before, after = rs.analyze(small), rs.analyze(small, prove=True)
for name in ("rank_exact", "rank_numerical", "effective_rank", "logdet"):
    print(f"{name:15} {shown(before[name]):34} → {shown(after[name])}")

# %% [markdown]
# What is not known is `None`, with the bounds that are known and the reason. It is never a guess, and never NaN.

# %%
unknown = before["rank_exact"]
assert unknown.value is None
assert after["rank_exact"].value == 48
unknown.low, unknown.value, unknown.high, unknown.because

# %% [markdown]
# `result.require("proved")` turns the guarantee into a test: it raises an error where a rank or a determinant that can
# be proved was not.

# %%
try:
    before.require("proved")
except rs.RankscopeError as refusal:
    print(refusal)
after.require("proved")

# %% [markdown]
# ## As a DataFrame
#
# `to_frame` gives one row for each number, with the columns of its matrix joined on.

# %%
frame = result.to_frame()
frame[frame.group == "rank"][["mask", "rows", "d", "measure", "value", "low", "high", "guarantee"]]

# %% [markdown]
# ## As a figure
#
# `plot` draws the main figure of the result, here the singular values. It returns a `matplotlib.figure.Figure`.

# %%
result.plot()

# %% [markdown]
# Where the curve ends it is close to the shaded floor, in which the singular values that LAPACK returns are rounding
# noise. The values down there cannot be told from zero, although none of them *is* zero:

# %%
print("not told from zero:", 512 - result["rank_numerical"].value)
print("log₁₀ of the smallest singular value:", round(float(result["log10_sigma_min"]), 3))
assert result["rank_numerical"].value == 502

# %% [markdown]
# `plot` takes the name of any other figure; `rankscope list figures` names them. With `pictures=True` a result keeps
# the matrix itself, as means over blocks:

# %%
rs.analyze(A, pictures=True).plot("attention")

# %% [markdown]
# The triangle is plain to see, and so is that weights become smaller as queries see more keys. `cumulative` shows what
# share of Σσ the first values have:

# %%
result.plot("cumulative")

# %% [markdown]
# ## As a file
#
# The suffix is the format: `.json`, `.csv`, `.parquet`, `.md` and `.tex` hold the table, `.png` and `.svg` the figure,
# `.pdf` and `.html` both. The same result gives the same bytes.

# %%
import json
from pathlib import Path
from tempfile import TemporaryDirectory

with TemporaryDirectory() as folder:
    for suffix in ("json", "csv", "pdf"):
        result.save(Path(folder, f"causal.{suffix}"))
    first = {path.suffix: path.read_bytes() for path in Path(folder).iterdir()}
    for suffix in ("json", "csv", "pdf"):
        result.save(Path(folder, f"causal.{suffix}"))
    assert first == {path.suffix: path.read_bytes() for path in Path(folder).iterdir()}

sorted(first), first[".pdf"][:5]

# %%
document = json.loads(first[".json"])
exact = next(each for each in document["records"] if each["measure"] == "rank_exact")
document["schema"], exact["value"], exact["guarantee"]

# %% [markdown]
# ## Read again, and reported
#
# `rs.read` gives a saved result back. Only `.json` holds all of it: `.csv` and `.parquet` have the numbers without the
# spectrum. `rs.report` writes one document on one or several results, read or new, and returns the files it wrote: what
# they show in words, tables, figures, and what each measure is.

# %%
prefix = rs.analyze(rs.synthetic(n=512, d=64, mask="prefix:128"))

with TemporaryDirectory() as folder:
    result.save(Path(folder, "causal.json"))
    again = rs.read(Path(folder, "causal.json"))
    [document] = rs.report([again, prefix], Path(folder, "both.html"))
    html = document.read_text(encoding="utf-8")
    print("files:", *sorted(path.name for path in Path(folder).iterdir()))

assert again.to_json() == result.to_json()
assert all(name in html for name in ("causal softmax", "prefix:128 softmax"))

# %% [markdown]
# In a terminal `rankscope report causal.json prefix.json -o both.html` does the same.

# %% [markdown]
# ## Your own queries and keys
#
# `rs.attention` takes queries and keys as numpy arrays of shape (n, d), or (heads, n, d); torch tensors go the same
# way. Masks, kernels and positions are given by name, or as values of your own (notebook [5](5_your_own.ipynb)).

# %%
random = np.random.default_rng(1)
q, k = random.standard_normal((2, 100, 16))
B = rs.attention(q, k, mask="prefix:20")
round(float(rs.effective_rank(B)), 4)

# %% [markdown]
# It is the matrix that its definition says: softmax of q kᵀ/√d over the keys that a query sees. Under `prefix:20` these
# are the first 20 keys and the earlier ones.

# %%
i, j = np.ogrid[:100, :100]
weights = np.where((j < 20) | (j <= i), np.exp(q @ k.T / np.sqrt(16)), 0)
assert np.allclose(np.asarray(B), weights / weights.sum(axis=1, keepdims=True), rtol=1e-12)

# %% [markdown]
# Three heads at once; `print` sets several matrices side by side:

# %%
q, k = random.standard_normal((2, 3, 100, 16))
causal = rs.attention(q, k, mask="causal")
heads = rs.analyze(causal, measures="rank_exact,rank_numerical,effective_rank,stable_rank")
print(heads)

# %%
heads.plot()

# %% [markdown]
# ## What to try next
#
# - Change the mask (`bidirectional`, `window:32`, `'causal & window:64'`), the kernel (`linear`, `sparsemax`, `retnet`)
#   or the position (`rope`, `alibi`) of the first cell. `rankscope list` names them all.
# - `rs.compare(["bidirectional", "causal", "prefix:128"])` sets masks side by side on the same queries and keys.
# - The same from a terminal: `rankscope analyze --mask causal --n 512 --d 64 -o causal.pdf`.
# - Notebook [2](2_three_ranks.ipynb): why the three ranks differ, and which one to quote.
