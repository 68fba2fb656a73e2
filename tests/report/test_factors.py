"""What a factor does is said of pairs that differ in it alone, and of nothing else."""

import re
from itertools import product
from typing import Any

import pytest

import rankscope as rs
from rankscope.records import Table
from rankscope.report.factors import factors
from tests.report.canned import HOSTILE, matrix, record, table


def made(values: dict[tuple[Any, ...], float], *names: str, **fields: Any) -> Table:
    """Matrices whose settings of these names are the keys, with their effective ranks."""
    rows = [(dict(zip(names, key, strict=True)), value) for key, value in values.items()]
    matrices = [matrix(i, f"matrix {i}", **{"source": "synthetic", **own}) for i, (own, _) in enumerate(rows)]
    return table([record("effective_rank", value, matrix=i, **fields) for i, (_, value) in enumerate(rows)], matrices)


def said(found: Table) -> list[str]:
    return list(factors(found))


def test_a_mask_is_compared_where_all_else_is_equal() -> None:
    ranks = {
        ("full", 1.0): 10.0,
        ("causal", 1.0): 4.5,
        ("full", 2.0): 20.0,
        ("causal", 2.0): 18.4,
        ("causal", 9.0): 99.0,
    }
    assert said(made(ranks, "mask", "scale"))[0] == (
        "With causal instead of full masks, all else equal, the effective rank is lower in 2 of 2 pairs, "
        "by factors of 0.45 to 0.92."
    )


def test_a_number_goes_from_each_value_to_the_next() -> None:
    ranks = {
        (mask, scale): 2.0**i * (3 if mask == "a" else 5) for mask in "ab" for i, scale in enumerate((0.5, 1.0, 4.0))
    }
    ranks["b", 4.0] = 5.0
    assert said(made(ranks, "mask", "scale"))[-1] == (
        "The effective rank grows with scale in 3 of 4 steps, with factors of 0.5 to 2 over all of them."
    )
    falling = {key: 1 / value for key, value in ranks.items() if key != ("b", 4.0)}
    assert said(made(falling, "mask", "scale"))[-1] == (
        "The effective rank falls with scale in 3 of 3 steps, by a factor of 0.5."
    )


def test_what_changes_nothing_is_said_to_change_nothing() -> None:
    ranks = {(mask, scale): 3.0 for mask in "ab" for scale in (1.0, 2.0)}
    assert said(made(ranks, "mask", "scale")) == [
        "With b instead of a masks, all else equal, the effective rank is the same in 2 of 2 pairs.",
        "The effective rank does not change with scale in 2 of 2 steps.",
    ]


@pytest.mark.parametrize("name", ["mask", "kernel", "position", "ensemble", "dtype"])
def test_one_pair_is_too_few(name: str) -> None:
    assert said(made({("a",): 1.0, ("b",): 2.0}, name)) == []
    assert len(said(made({("a", 1.0): 1.0, ("b", 1.0): 2.0, ("a", 2.0): 1.0, ("b", 2.0): 3.0}, name, "scale"))) == 2


def test_what_is_not_named_is_what_it_is_without_a_name() -> None:
    ranks = {(position, scale): 3.0 + len(position or "") for position in (None, "rope") for scale in (1.0, 2.0)}
    assert said(made(ranks, "position", "scale"))[0].startswith("With rope instead of none as position, ")
    assert said(made(ranks, "ensemble", "scale"))[0].startswith("With rope instead of gaussian ensembles, ")


def test_a_factor_close_to_one_is_not_printed_as_one() -> None:
    ranks = {("a", 1.0): 1.0, ("b", 1.0): 1.00004, ("a", 2.0): 1.0, ("b", 2.0): 1.5}
    assert said(made(ranks, "mask", "scale"))[0].endswith("higher in 2 of 2 pairs, by factors of 1.00004 to 1.5.")


def test_the_clearest_change_of_each_factor_comes_first_and_four_are_said() -> None:
    weight = {"a": 1.0, "b": 1.1, "c": 0.2, "d": 3.0, "e": 1.3}
    ranks = {(m, k, s): weight[m] * (2 if k == "y" else 1) * s for m, k, s in product("abcde", "xy", (1.0, 2.0))}
    texts = said(made(ranks, "mask", "kernel", "scale"))
    assert [re.findall(r"With (\S+) instead|with (\S+) in", text)[0] for text in texts] == [
        ("c", ""), ("y", ""), ("", "scale"), ("d", ""),
    ]  # fmt: skip


def test_other_sources_sizes_and_seeds_are_not_all_else_equal() -> None:
    ranks = {("a", 1): 1.0, ("b", 2): 2.0, ("a", 3): 1.0, ("b", 4): 2.0}
    for name in ("source", "plan", "key"):
        assert said(made({(mask, f"{other}"): value for (mask, other), value in ranks.items()}, "mask", name)) == []
    found = made({("a",): 1.0, ("b",): 2.0}, "mask")
    more = made({("a", 2.0): 1.0, ("b", 2.0): 2.0}, "mask", "scale")
    both = [matrix(i, f"m{i}", mask=m.mask, scale=m.scale) for i, m in enumerate([*found.matrices, *more.matrices])]
    for seeds, count in (((0, 0, 0, 0), 1), ((0, 1, 0, 1), 0)):
        rows = [record("effective_rank", 1.0 + i, matrix=i, seed=seed) for i, seed in enumerate(seeds)]
        assert len([text for text in said(table(rows, both)) if "masks" in text]) == count


def test_heads_of_a_stack_are_not_compared() -> None:
    ranks = {(mask, scale): 3.0 for mask in "ab" for scale in (1.0, 2.0)}
    assert said(made(ranks, "mask", "scale", layer=0, head=1)) == []
    assert said(rs.analyze(rs.synthetic(n=6, d=2, plan="heads", heads=4), measures="effective_rank").table) == []


def test_nothing_is_said_of_what_was_not_measured() -> None:
    assert said(table([])) == []
    assert said(table([record("hoyer", 1.0)])) == []
    assert said(table([record("effective_rank", None)])) == []


def test_a_real_comparison_is_what_pairs_of_its_records_say() -> None:
    found = rs.compare(
        ["bidirectional", "causal"], n=[6, 10], d=[2, 3], seed=[0, 1, 2], measures="effective_rank"
    ).table
    means: dict[tuple[Any, ...], float] = {}
    for each in found.matrices:
        key = each.mask, each.rows, each.d
        means[key] = means.get(key, 0.0) + sum(float(r) for r in found if r.matrix == each.id) / 3
    ratios = [means["causal", n, d] / means["bidirectional", n, d] for n, d in product((6, 10), (2, 3))]
    lower, higher = sum(ratio < 1 for ratio in ratios), sum(ratio > 1 for ratio in ratios)
    [masks, sizes, _] = said(found)
    assert f"{'lower' if lower >= higher else 'higher'} in {max(lower, higher)} of 4 pairs" in masks
    low, high = (float(text) for text in re.findall(r"factors of ([\d.]+) to ([\d.]+\d)", masks)[0])
    assert (low, high) == pytest.approx((min(ratios), max(ratios)), rel=6e-3)
    steps = [means[mask, 10, d] > means[mask, 6, d] for mask, d in product(("causal", "bidirectional"), (2, 3))]
    assert f"grows with n in {sum(steps)} of 4 steps" in sizes


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_sends_control_characters(name: str) -> None:
    ranks = {(mask, scale): 3.0 for mask in ("a", f"b{HOSTILE[name]}") for scale in (1.0, 2.0)}
    assert all(text.isprintable() for text in said(made(ranks, "mask", "scale")))
