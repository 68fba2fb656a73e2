"""What a researcher writes in ten lines: the same matrix, and what numpy says of it. The benchmark's other side."""

import numpy as np

n, d = 512, 64
rng = np.random.default_rng(0)
q, k = rng.standard_normal((n, d)), rng.standard_normal((n, d))
scores = q @ k.T / np.sqrt(d)
scores[np.triu_indices(n, 1)] = -np.inf
weights = np.exp(scores - scores.max(axis=1, keepdims=True))
weights /= weights.sum(axis=1, keepdims=True)
sigma = np.linalg.svd(weights, compute_uv=False)
print(sigma[0], sigma[-1], np.linalg.matrix_rank(weights), np.linalg.slogdet(weights))
