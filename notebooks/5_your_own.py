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
# # Your own matrix, your own measure
#
# **How do I measure attention that I already have, and how do I add a mask, a kernel or a measure that rankscope does
# not know?**

# %% [markdown]
# ## Any matrix
#
# `rs.matrix` takes any array of two to four dimensions (heads × n × m, layers × heads × n × m), numpy or torch. Its
# structure is derived from the exact pattern of zeros, and the precision in which it was stored is remembered.

# %%
import numpy as np

import rankscope as rs

random = np.random.default_rng(0)
weights = (np.tril(random.random((40, 40))) + np.eye(40)).astype(np.float32)
A = rs.matrix(weights / weights.sum(axis=1, keepdims=True))
rs.analyze(A, measures="rank_exact,rank_numerical,effective_rank,logdet")

# %%
assert (A.structure.side.value, A.structure.det_sign.value) == ("lower", 1)

# %% [markdown]
# What cannot be measured is refused in words, with a code and what to do:

# %%
broken = weights.copy()
broken[3, 1] = np.nan
try:
    rs.analyze(broken)
except rs.InputError as refusal:
    print(refusal)

# %% [markdown]
# ## A file of a trained model
#
# `rs.load` reads `.npy`, `.npz` and `.safetensors`. The sample that comes with rankscope holds six heads of the
# sentence encoder all-MiniLM-L6-v2 on one text of 128 tokens, three of layer 0 and three of layer 5. A head is called
# by its place in the file: heads 0, 1 and 2 of layer 0 are heads 0, 2 and 7 of the model, and those of layer 5 are its
# heads 0, 5 and 10. With `null` each number stands beside that of matched random attention.

# %%
SAMPLE = "../tests/data/minilm-sample.safetensors"

trained = rs.analyze(
    rs.load(SAMPLE),
    measures="rank_numerical,effective_rank,row_entropy_normalized",
    null=20,
    pictures=True,
)
print(trained)

# %%
numerical = [record.value for record in trained["rank_numerical"]]
effective = trained["effective_rank"].records
assert min(numerical) >= 127
assert all(record.value < record.null_mean / 5 for record in effective[3:])
assert all(abs(record.value - record.null_mean) > 10 * record.null_sd for record in effective)

# %% [markdown]
# The numerical rank is full or one short of it in every head, while the effective rank of the heads of layer 5 is a
# small part of what chance gives. Which rank one quotes decides what one has shown.

# %%
trained.plot()

# %% [markdown]
# The heat map has a cell for each head. A triangle marks a head that its null does not explain, and points to the side
# on which it lies: outside of the interval in which one more draw would lie with a chance of 99.73 %, by the 20 draws
# (Student's t; notebook [3](3_decoder_only.ipynb) computes it). Here these are all six.

# %%
trained.plot("heads:effective_rank")

# %% [markdown]
# The pictures show why. In head 1 of layer 0 (head 2 of the model) each query attends to the token before it. In layer
# 5 there are columns: all queries attend to much the same keys.

# %%
trained.plot("attention")

# %%
operators = rs.load(SAMPLE)
before = float(np.diagonal(np.asarray(operators[1]), -1).sum() / 127)
print("layer 0, head 1: weight on the token before, mean over queries", round(before, 3))
assert before > 0.9

# %% [markdown]
# How much alike are rows? Half of the sum of |A_ij − mean of column j| is the share of its weight that a row has
# elsewhere than the mean row. With the entries of each row shuffled, each row keeps its entropy and the columns are
# lost:


# %%
def apart(matrix: np.ndarray) -> float:
    """The share of weight that a row has elsewhere than the mean row, the mean over rows."""
    return float(np.abs(matrix - matrix.mean(axis=0)).sum(axis=1).mean() / 2)


for operator in operators:
    found, shuffled = apart(operator.matrix), apart(random.permuted(operator.matrix, axis=1))
    print(f"{operator.origin.label:26} {found:.3f}   shuffled {shuffled:.3f}")
    if operator.origin.layer == 5:
        assert found < shuffled / 2

# %% [markdown]
# Entropy alone does not see this. In the plane of entropy and rank, the matrices of layer 5 and their nulls (open
# points) have rows of similar entropy and very different effective ranks.

# %%
trained.plot("entropy-rank")

# %% [markdown]
# The file also holds queries and keys. From them (`origin="scores"`) the softmax in float64 is analysed, and more of it
# can be known than of weights that were rounded to float32:

# %%
scores = rs.load(SAMPLE, key="layer.5.*", origin="scores")
from_scores = rs.analyze(scores, measures="rank_numerical,effective_rank,max_logit")
print(from_scores)

# %%
for stored, computed in zip(effective[3:], from_scores["effective_rank"], strict=True):
    assert np.isclose(stored.value, computed.value, rtol=1e-3)

# %% [markdown]
# ## A mask
#
# A mask is a function of the places of a query and a key, and it is written with comparisons and `&`, `|`, `~`, so that
# it works for integers and for arrays alike. `@rs.mask` gives it a name that every function knows.


# %%
@rs.mask
def spaced(step: int) -> rs.Mask:
    """Every query sees itself and the earlier keys at a multiple of the step."""
    return rs.Mask(f"spaced:{step}", lambda q, k: (k <= q) & ((q - k) % step == 0))


rs.testing.check_mask(spaced(3))
compared = rs.compare(
    ["causal", "spaced:3"],
    n=120,
    d=16,
    measures="rank_exact,rank_numerical,effective_rank,logdet",
    pictures=True,
)
print(compared)

# %%
compared.plot("attention")

# %% [markdown]
# Nobody told rankscope that `spaced` is triangular: it found that, and the proof of full rank with it.
#
# `check_mask` is the battery that our own masks have to pass. A mask may also state facts, which are then not derived.
# This one states a false one, and the battery says so:

# %%
wrong = rs.Mask("wrong", lambda q, k: k >= q, frozenset({"lower"}))
try:
    rs.testing.check_mask(wrong)
except AssertionError as failure:
    print(failure)

# %% [markdown]
# ## A kernel
#
# A score kernel gives the logarithm of the weights before rows are divided by their sums.


# %%
@rs.kernel
def cauchy() -> rs.ScoreKernel:
    """Weights 1 / (1 + s²)."""
    return rs.ScoreKernel("cauchy", lambda s: -np.log1p(s**2))


rs.testing.check_kernel(cauchy())
kernels = rs.compare(
    "causal",
    kernel=["softmax", "cauchy"],
    n=256,
    d=32,
    measures="rank_exact,rank_numerical,effective_rank",
)
print(kernels)

# %%
kernels.plot()

# %% [markdown]
# The same from its definition, in plain numpy:

# %%
q, k = np.random.default_rng(0).standard_normal((2, 256, 32))
by_hand = np.tril(1 / (1 + (q @ k.T / np.sqrt(32)) ** 2))
by_hand /= by_hand.sum(axis=1, keepdims=True)
assert np.isclose(float(rs.effective_rank(by_hand)), kernels["effective_rank"].values[1], rtol=1e-9)

# %% [markdown]
# ## A measure
#
# A measure is a function of one thing, and the type of its parameter says of which: `rs.Spectrum` (singular values with
# their error bounds), `rs.Rows`, `rs.LogDet`, `rs.Scores` … Whatever several measures need is computed once.


# %%
@rs.measure
def spectral_flatness(spectrum: rs.Spectrum) -> float:
    """Geometric over arithmetic mean of the singular values above their error."""
    kept = spectrum.values[spectrum.values > spectrum.error]
    return float(np.exp(np.log(kept).mean()) / kept.mean()) if len(kept) else 0.0


rs.testing.check_measure(spectral_flatness)
print(rs.analyze(rs.load(SAMPLE), measures=["effective_rank", "spectral_flatness"], null=5))

# %% [markdown]
# It is now a function, too, and it has the value that a flat spectrum must give:

# %%
assert np.isclose(float(rs.spectral_flatness(np.eye(5))), 1)
round(float(rs.spectral_flatness(rs.synthetic(n=64, d=16))), 5)

# %% [markdown]
# ## For the command line
#
# The same definitions in a file are a plug-in for every command:

# %%
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PLUGIN = '''
import rankscope as rs

@rs.mask
def every_other() -> rs.Mask:
    """Every query sees itself and the earlier keys at an even distance."""
    return rs.Mask("every-other", lambda q, k: (k <= q) & ((q - k) % 2 == 0))
'''


def rankscope(*arguments: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "rankscope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


with TemporaryDirectory() as folder:
    plugin = Path(folder, "my_masks.py")
    plugin.write_text(PLUGIN, encoding="utf-8")
    masks = ["--plugin", str(plugin), "--mask", "causal,every-other"]
    chosen = ["--measure", "rank_exact,effective_rank,logdet"]
    print(rankscope("compare", *masks, *chosen, "--n", "64", "--d", "16"))

# %% [markdown]
# ## A report
#
# `.pdf` and `.html` hold tables, figures and how to read them. They are complete in themselves.

# %%
with TemporaryDirectory() as folder:
    page = Path(folder, "trained.html")
    trained.save(page)
    html = page.read_text(encoding="utf-8")
    trained.save(page.with_suffix(".pdf"))
    assert page.with_suffix(".pdf").read_bytes().startswith(b"%PDF")

assert "layer.5.attention head 2" in html
assert not any(mark in html for mark in ('src="http', "<link", "@import"))  # nothing is fetched
html[:15]

# %% [markdown]
# ## What to try next
#
# - Attention of your own model: save `attentions[layer]`, with its batch of one or without, as
#   `layer.<number>.attention` in a `.safetensors` file, and `rankscope analyze file.safetensors --null -o report.pdf`.
# - A position (`@rs.position`), a feature map (`rs.FeatureKernel`) or a recurrence (`rs.RecurrenceKernel`).
# - `rs.analyze(..., certify=True).certify("proof.json")`, and `rankscope verify proof.json`.
# - The other notebooks: [1 first steps](1_first_steps.ipynb), [2 three ranks](2_three_ranks.ipynb), [3
#   decoder-only](3_decoder_only.ipynb), [4 depth](4_depth.ipynb).
