"""`rankscope.depth`: the laws of rank collapse, as anyone would call for them."""

import math
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.errors import InputError, UsageError
from rankscope.records import Record, Table


def curve(table: Table, measure: str = "log10_residual") -> list[float]:
    return [float(record) for record in table if record.measure == measure and record.over is None]


def at_end(table: Table, measure: str) -> list[float]:
    last = max(record.layer or 0 for record in table)
    return [float(r) for r in table if r.measure == measure and r.layer == last and r.over is None]


@pytest.mark.parametrize(("n", "d", "layers"), [(64, 16, 6), (512, 64, 6)])
def test_pure_attention_follows_the_cubic_law_beyond_10_to_the_minus_90(n: int, d: int, layers: int) -> None:
    found = rs.depth(
        n=n, d=d, layers=layers, seeds=range(2), measures="log10_residual,residual_order,log10_residual_naive"
    )
    assert max(at_end(found.table, "log10_residual")) < -90
    assert at_end(found.table, "residual_order") == pytest.approx([3.0, 3.0], abs=0.1)
    assert all(-16 < value < -13.5 for value in at_end(found.table, "log10_residual_naive"))
    ends = [r for r in found.table if r.measure == "log10_residual" and r.layer == layers]
    assert all(r.high is not None and r.low is not None and r.high - r.low < 1e-8 for r in ends)


def test_one_causal_matrix_falls_at_its_second_largest_diagonal_entry() -> None:
    found = rs.depth("causal", n=24, d=24, layers=150, fixed=True, values="identity", centre="first",
                     measures="residual_rate,eigenvalue_2").table  # fmt: skip
    second = curve(found, "eigenvalue_2")[0]
    assert at_end(found, "residual_rate")[0] == pytest.approx(second, rel=1e-6)


def test_causal_attention_of_its_own_tokens_tends_to_uniform_and_falls_by_half() -> None:
    found = rs.depth("causal", n=24, d=24, layers=150, values="identity", centre="first",
                     measures="residual_rate,eigenvalue_2,row_entropy_normalized").table  # fmt: skip
    assert at_end(found, "residual_rate")[0] == pytest.approx(0.5, abs=1e-3)
    assert curve(found, "eigenvalue_2")[-1] == pytest.approx(0.5, abs=1e-9)
    assert curve(found, "row_entropy_normalized")[-1] == pytest.approx(1.0, abs=1e-9)


def test_skip_connections_keep_tokens_apart_and_attention_alone_does_not() -> None:
    found = rs.depth(n=64, d=16, layers=10, design="pure,skip,mlp,skip+mlp", seeds=range(3), measures="log10_residual")
    labels = {matrix.id: matrix.label for matrix in found.table.matrices}
    for record in found.table:
        if record.measure == "log10_residual" and record.layer == 10:
            assert float(record) > -2 if "skip" in labels[record.matrix] else float(record) < -10, record


def test_whether_an_mlp_slows_the_collapse_depends_on_its_gain() -> None:
    found = rs.depth(
        n=64, d=16, layers=5, design="pure,mlp", mlp_gain=[0.5, 2.0], seeds=range(8), measures="log10_residual"
    )
    labels = {matrix.id: matrix.label for matrix in found.table.matrices}
    differences = {labels[r.matrix]: r for r in found.table if r.measure == "log10_residual_difference"}
    slow, fast = differences["mlp bidirectional mlp gain 2"], differences["mlp bidirectional mlp gain 0.5"]
    assert slow.low is not None
    assert slow.low > 0
    assert fast.high is not None
    assert fast.high < 0
    text = str(found)
    assert "faster collapse in mlp bidirectional mlp gain 0.5" in " ".join(text.split())
    assert "Dong et al. 2021 publish that MLPs slow it" in " ".join(text.split())


def test_the_residual_that_is_recorded_is_that_of_the_tokens() -> None:
    x = np.random.default_rng(1).standard_normal((9, 5))
    found = rs.depth(
        tokens=x,
        layers=1,
        d=5,
        measures="log10_residual,log10_residual_l1,log10_residual_linf,log10_residual_composite,log10_residual_spectral",
    )
    rest = x - x.mean(axis=0)
    orders: dict[str, Any] = {"": "fro", "_l1": 1, "_linf": np.inf, "_spectral": 2}
    for name, order in orders.items():
        first: Record = next(r for r in found.table if r.measure == f"log10_residual{name}" and r.layer == 0)
        assert float(first) == pytest.approx(
            math.log10(np.linalg.norm(rest, order) / np.linalg.norm(x, order)), abs=1e-13
        )
    composite: Record = next(r for r in found.table if r.measure == "log10_residual_composite" and r.layer == 0)
    parts = [np.linalg.norm(rest, k) / np.linalg.norm(x, k) for k in (1, np.inf)]
    assert float(composite) == pytest.approx(math.log10(math.sqrt(parts[0] * parts[1])), abs=1e-13)


def test_the_product_of_triangular_layers_has_the_sum_of_their_log_determinants() -> None:
    found = rs.depth(plan="layers", n=32, d=8, layers=4, product=True, measures="logdet,rank_exact").table
    product = {r.measure: r for r in found if r.over == "layers-product"}
    alone = [r for r in found if r.measure == "logdet" and r.over is None]
    assert len(alone) == 4
    assert float(product["logdet"]) == pytest.approx(math.fsum(float(r) for r in alone), rel=1e-13)
    assert (product["logdet"].sign, product["logdet"].guarantee) == (1, "proved")
    assert (product["rank_exact"].value, product["rank_exact"].guarantee) == (32, "proved")


def test_paths_are_those_of_the_network() -> None:
    found = rs.depth(n=12, d=4, layers=3, heads=2, skip=True, paths=True, measures="log10_residual").table
    lengths = {r.over: r for r in found if r.measure == "path_share"}
    assert list(lengths) == [f"paths of length {k}" for k in range(4)]
    assert math.fsum(float(r) for r in lengths.values()) == pytest.approx(1.0, rel=1e-12)
    assert [r.details["paths"] for r in lengths.values()] == [1, 6, 12, 8]


def test_low_precision_reports_its_floor_and_no_zero() -> None:
    found = rs.depth(n=64, d=16, layers=12, dtype="bfloat16", measures="log10_residual,log10_residual_naive").table
    naive = [r for r in found if r.measure == "log10_residual_naive"]
    assert all(r.details["log10_floor"] == pytest.approx(math.log10(2.0**-6 + 88 * 2.0**-53)) for r in naive)
    assert naive[-1].value is None or "floor" in naive[-1].because
    zero = [r for r in naive if r.value is None]
    assert all(r.high is not None and "not zero" in r.because for r in zero)
    assert at_end(found, "log10_residual")[0] < -1000


def test_attention_held_as_floats_says_when_it_can_follow_no_further() -> None:
    found = rs.depth(n=16, d=4, layers=6, kernel="linear", measures="log10_residual").table
    lost = [r for r in found if r.value is None]
    assert lost
    assert all("lost to rounding" in r.because for r in lost)


def test_a_plugged_in_mask_and_kernel_go_through_a_network() -> None:
    mask = rs.Mask("every second", lambda q, k: (q - k) % 2 == 0)
    kernel = rs.ScoreKernel("cauchy", lambda s: -np.log1p(s**2))
    found = rs.depth(mask, n=8, d=2, layers=2, kernel=kernel, measures="log10_residual,mask_radius").table
    assert found.matrices[0].label == "pure every second cauchy"
    assert found["mask_radius"].value is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"design": "bare"}, "RS001"), ({"depth": 3}, "RS001"), ({"measures": "residue"}, "RS001"),
        ({"centre": "median"}, "RS001"), ({"paths": True, "mlp": "relu"}, "RS003"),
        ({"paths": True, "norm": "pre"}, "RS003"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError, match=code):
        rs.depth(n=6, d=2, layers=2, **options)


def test_tokens_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="RS101"):
        rs.depth(tokens=np.zeros(3))
    with pytest.raises(InputError, match="RS110"):
        rs.depth(tokens=np.full((3, 2), np.nan))


def test_one_network_that_fails_hides_no_other() -> None:
    found = rs.depth(["causal", "causal & left-padding:2"], n=6, d=2, layers=2, measures="log10_residual")
    assert [record.code for record in found.refused] == ["RS120"]
    alone = rs.depth("causal", n=6, d=2, layers=2, measures="log10_residual").table
    kept = [float(r) for r in found.table if r.measure == "log10_residual" and r.matrix == 0]
    assert kept == curve(alone)


def test_extreme_tokens_are_followed_or_refused() -> None:
    one = rs.depth(n=1, d=2, layers=3, measures="all")
    assert all(r.value is None for r in one.table if r.measure == "log10_residual")
    equal = rs.depth(tokens=np.ones((5, 4)), d=2, layers=2)
    assert {r.because for r in equal.table if r.measure == "log10_residual"} == {"zero: all tokens are equal"}
    shrinking = rs.depth(n=8, d=16, layers=100, mask="causal", gain=1e-6, measures="log10_residual")
    assert len(curve(shrinking.table)) == 101
    growing = rs.depth(n=8, d=4, layers=400, gain=1e3, scale=0.0, skip=True, measures="log10_residual")
    assert len(curve(growing.table)) == 401
    with pytest.raises(InputError, match="RS111"):
        rs.depth(n=8, d=4, layers=400, mask="causal", gain=1e3, measures="log10_residual")


def test_an_empty_list_of_networks_is_refused() -> None:
    with pytest.raises(UsageError, match="RS002: an empty list for seed"):
        rs.depth(n=6, d=3, layers=2, seeds=[])


@pytest.mark.parametrize(("rows", "done"), [("error", "kept as zero rows"), ("uniform", "made uniform")])
def test_rows_that_see_nothing_are_noted(rows: str, done: str) -> None:
    found = rs.depth("strict", n=6, d=3, layers=2, empty_rows=rows)
    assert found.table.matrices[0].notes == (f"rows that see nothing: 1, {done}",)
    assert f"rows that see nothing: 1, {done}" in str(found)


def test_a_zero_row_takes_part_as_such() -> None:
    stack = rs.Stack(n=6, d=3, layers=1, mask="strict")
    x, (head,) = stack.tokens(), stack.block(0).heads
    scores = x @ head.query.weights @ head.key.weights.T @ x.T / math.sqrt(3)
    weights = np.tril(np.exp(scores), -1)
    weights[1:] /= weights[1:].sum(axis=1, keepdims=True)
    after = weights @ x @ head.value.weights @ head.output.weights
    expected = math.log10(np.linalg.norm(after - after.mean(axis=0)) / np.linalg.norm(after))
    assert curve(rs.depth("strict", n=6, d=3, layers=1).table)[-1] == pytest.approx(expected, abs=1e-12)
