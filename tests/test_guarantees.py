"""What lacks a guarantee that is required, and a remedy that can work."""

import pytest

import rankscope as rs
from rankscope.errors import GuaranteeError
from rankscope.guarantees import lacking


def test_without_names_proved_judges_what_can_be_proved_and_enclosed_all_ranks() -> None:
    result = rs.analyze(rs.synthetic(n=6, d=2), prove=True)
    result.require("proved")
    result.require("enclosed")
    assert result["effective_rank"].guarantee == "enclosed"  # type: ignore[union-attr]


def test_a_number_that_does_not_exist_lacks_nothing() -> None:
    result = rs.analyze([[1.0, 1.0], [1.0, 1.0]], measures=["logdet", "rank_exact"], prove=True)
    assert (result["logdet"].value, result["logdet"].sign) == (None, 0)  # type: ignore[union-attr]
    result.require("proved")


def test_a_bound_that_is_proved_is_no_value_that_is() -> None:
    result = rs.analyze(rs.synthetic(n=6, d=2), measures="rank_exact", prove=True, budget=0.0)
    with pytest.raises(GuaranteeError, match="only 1 to 6 is proved") as caught:
        result.require("proved")
    assert "budget" in caught.value.remedy


def test_every_matrix_that_lacks_it_is_named_with_its_seed_up_to_five() -> None:
    sources = tuple(rs.Synthetic(n=4, d=2, seed=seed) for seed in range(7))
    found = lacking(rs.run(rs.Study(sources, ("rank_exact",))).table, "proved")
    assert found is not None
    assert "seed 4" in found[0]
    assert "seed 5" not in found[0]
    assert found[0].endswith("and 2 more")
    assert found[1] == "add --prove (prove=True)"
