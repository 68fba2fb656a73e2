"""The heads of a model as tables: each cell is the head of its row and column, each mean that of its layer."""

from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from rankscope.records import Matrix, Record, Table
from rankscope.report import by_head
from rankscope.report.cells import columns_of
from rankscope.report.content import content_of
from rankscope.report.of_heads import of_heads
from rankscope.report.sentences import sentences
from rankscope.report.terminal import to_text
from tests.report.canned import HOSTILE

RANK = ("effective_rank",)


def heads(
    layers: int, count: int, stacks: tuple[str, ...] = ("model",), *, measures: tuple[str, ...] = RANK, **more: Any
) -> Table:
    """A model whose head h of layer l in stack s has the value 1 + 10·l + h + s/4 of each measure."""
    matrices: list[Matrix] = []
    records: list[Record] = []
    for s, stack in enumerate(stacks):
        for layer in range(layers):
            for head in range(count):
                i = len(matrices)
                label = f"{stack} layer {layer} head {head}"
                matrices.append(Matrix(i, label, 64, 64, d=8, source="tiny", stack=stack, fidelity=1e-7))
                value = 1 + 10 * layer + head + s / 4
                records += [Record(i, each, value, "rank", layer=layer, head=head, **more) for each in measures]
    return Table({}, matrices, records, [])


def test_the_map_has_a_row_for_each_layer_and_a_column_for_each_head() -> None:
    [(title, header, rows), (_, names, means)] = by_head.grids(heads(3, 9), width=80)
    assert title == "effective rank, layer × head"
    assert header == ["layer", *map(str, range(9))]
    assert rows == [[str(x), *(by_head.brief(1 + 10 * x + head) for head in range(9))] for x in range(3)]
    assert names == ["layer", "effective"]
    assert means == [[str(x), by_head.brief(fmean(1 + 10 * x + head for head in range(9)))] for x in range(3)]


def test_many_heads_are_summed_up_in_a_narrow_terminal_and_shown_in_a_document() -> None:
    table = heads(2, 30)
    assert by_head.grids(table, width=80)[0][1] == ["layer", "least", "median", "mean", "greatest"]
    assert by_head.grids(table, width=80)[0][2][0] == ["0", "1", "15.5", "15.5", "30"]
    assert len(by_head.grids(table)[0][1]) == 31


def test_stacks_stand_side_by_side_with_their_ranges_where_these_fit() -> None:
    two = heads(2, 13, ("trained", "causal"))
    [(title, header, rows)] = by_head.grids(two, width=80)
    assert title.endswith("(least … greatest)")
    assert header == ["layer", "trained", "causal"]
    assert rows[0] == ["0", "7 (1 … 13)", "7.25 (1.25 … 13.2)"]
    five = heads(2, 13, ("trained", "causal", "anticausal", "heads", "kernel=linear"))
    [(title, header, rows)] = by_head.grids(five, width=80)
    assert title == "effective rank, mean over the heads of a layer"
    assert rows[1] == ["1", "17", "17.2", "17.5", "17.8", "18"]


def test_means_over_heads_have_a_table_of_their_own() -> None:
    table = heads(2, 2, ("trained", "heads"))
    count = len(table.matrices)
    table.matrices.append(Matrix(count, "mean", 64, 64, source="tiny", stack="heads"))
    table.records.append(Record(count, "effective_rank", 42.0, "rank", layer=1, over="heads-mean"))
    (_, _, _), (title, header, rows) = by_head.grids(table)
    assert title == "effective rank of the mean over the heads of a layer"
    assert (header, rows) == (["layer", "trained", "heads"], [["0", "", ""], ["1", "", "42"]])


def test_what_is_not_known_is_a_dash_and_no_part_of_a_mean() -> None:
    table = heads(1, 30)
    table.records[3] = Record(3, "effective_rank", None, "rank", layer=0, head=3, because="unknown")
    table.records[4] = Record(4, "effective_rank", None, "rank", layer=0, head=4, status="refused", code="RS110")
    (_, _, rows), (_, _, means) = by_head.grids(table)
    assert rows[0][4:6] == ["—", "RS110"]
    mean = fmean(1 + head for head in range(30) if head not in (3, 4))
    assert means == [["0", f"{by_head.brief(mean)} (28 of 30)"]]
    nothing = [Record(i, "effective_rank", None, "rank", layer=0, head=i) for i in range(30)]
    unknown = Table({}, table.matrices, nothing, [])
    assert by_head.grids(unknown, 80)[0][2] == [["0", "—", "—", "—", "—"]]
    assert to_text(unknown)


def test_a_short_list_and_what_is_no_model_stay_lists() -> None:
    assert not by_head.suits(heads(2, 6))
    assert by_head.suits(heads(2, 13))
    assert by_head.suits(heads(1, 2, ("trained", "causal")))
    table = heads(2, 13)
    table.matrices[0] = Matrix(0, "array", 64, 64)
    assert not by_head.suits(table)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_inert_and_no_line_is_wider_than_the_terminal(name: str) -> None:
    table = heads(2, 13, (HOSTILE[name], "other"), measures=("effective_rank", "logdet", "max_logit"))
    text = to_text(table, 80)
    assert all(columns_of(line) <= 80 for line in text.splitlines())
    assert all(sign.isprintable() or sign == "\n" for sign in text)


def test_the_sentences_say_first_and_last_layer_and_the_lowest_heads() -> None:
    said = list(of_heads(heads(3, 9)))
    assert said == [
        "In layer 0 the effective rank of heads runs from 1 to 9 of 64, in layer 2 from 21 to 29.",
        "Lowest: heads 0, 1 and 2 of layer 0 have effective rank 1, 2 and 3 of 64.",
    ]


def test_matched_random_attention_stands_beside_the_lowest_heads() -> None:
    table = heads(1, 30, null_mean=60.0, null_sd=1.0, null_count=10)
    assert list(of_heads(table)) == [
        "Lowest: heads 0, 1 and 2 of layer 0 have effective rank 1, 2 and 3 of 64; matched random attention has "
        "60 ± 1, 60 ± 1 and 60 ± 1."
    ]
    near = heads(1, 30, null_mean=3.0, null_sd=2.0, null_count=10)
    assert "from which seeds do not tell them apart" in next(of_heads(near))


def test_what_changes_is_said_pair_by_pair() -> None:
    *_, said = of_heads(heads(1, 2, ("trained", "causal")))
    assert said == (
        "What if causal: the effective rank is higher in 2 of 2 heads, by factors of 1.12 to 1.25; 1.75 on average "
        "instead of 1.5."
    )


def test_an_encoder_is_compared_with_its_own_variants() -> None:
    table = heads(1, 2, ("encoder trained", "decoder trained", "encoder causal", "decoder causal"))
    *_, encoder, decoder = of_heads(table)
    assert encoder.startswith("What if causal in the encoder: the effective rank is higher in 2 of 2 heads, ")
    assert encoder.endswith("2 on average instead of 1.5.")
    assert decoder.startswith("What if causal in the decoder: ")
    assert decoder.endswith("2.25 on average instead of 1.75.")
    assert by_head.title_of(table) == "tiny: 4 heads as trained and in 1 variant"


def test_an_encoder_and_a_decoder_are_two_things_and_no_variants() -> None:
    said = " ".join(of_heads(heads(2, 2, ("encoder", "decoder", "cross"))))
    assert "What if" not in said
    assert "In layer 0 of the encoder" in said
    assert "In layer 0 of cross-attention" in said


def test_a_document_names_the_model_and_says_how_faithful_its_matrices_are() -> None:
    table = heads(2, 13)
    assert sentences(table)[-1] == (
        "What the model itself computed agrees with the matrices of 26 heads to 1.0e−07 (fidelity)."
    )
    content = content_of([table], text="none")
    assert content.title == "Attention of tiny: 26 heads"
    assert content.parts[0].grid.title == "Effective rank, layer × head"


@pytest.mark.parametrize(
    ("dtype", "fidelity", "doubted"),
    [("float32", 9e-4, False), ("float32", 2e-3, True), ("bfloat16", 9e-2, False), ("bfloat16", 0.2, True)],
)
def test_matrices_that_the_model_did_not_use_are_doubted(dtype: str, fidelity: float, doubted: bool) -> None:
    table = heads(2, 13)
    table.matrices[7] = replace(table.matrices[7], fidelity=fidelity)
    of_source = replace(table, study={"sources": [{"dtype": dtype}]})
    assert ("they may not be the matrices" in sentences(of_source)[-1]) is doubted


def test_variants_count_neither_as_heads_of_the_model_nor_against_chance() -> None:
    table = heads(1, 2, ("trained", "causal"), null_mean=60.0, null_sd=1.0, null_count=10)
    for i in (2, 3):
        table.matrices[i] = replace(table.matrices[i], fidelity=None)
    said = " ".join(sentences(table))
    assert "the matrices of 2 heads to" in said
    assert by_head.title_of(table) == "tiny: 2 heads as trained and in 1 variant"
    assert "of 4" not in said


def test_heads_that_tie_are_counted() -> None:
    table = heads(1, 30)
    table.records[:6] = [replace(record, value=1.0) for record in table.records[:6]]
    assert list(of_heads(table)) == ["Lowest: 6 heads have effective rank 1 of 64."]


def test_what_stays_the_same_is_counted() -> None:
    table = heads(1, 3, ("trained", "causal"))
    table.records[3] = replace(table.records[3], value=table.records[0].value)
    *_, said = of_heads(table)
    assert "is higher in 2 and the same in 1 of 3 heads, " in said


def changed(*pairs: tuple[float, float]) -> str:
    """The sentence on a variant under which the first value of each pair becomes the second."""
    table = heads(1, len(pairs), ("trained", "causal"))
    values = [a for a, _ in pairs] + [b for _, b in pairs]
    table.records[:] = [replace(record, value=value) for record, value in zip(table.records, values, strict=True)]
    return list(of_heads(table))[-1]


def test_values_that_are_zero_or_negative_count_like_others() -> None:
    assert changed((0.0, 0.5), (0.0, 0.0), (0.25, 0.25), (0.5, 1.0)) == (
        "What if causal: the effective rank is higher in 2 and the same in 2 of 4 heads; 0.438 on average instead "
        "of 0.188."
    )
    assert "is higher in 1 and lower in 1 of 2 heads; " in changed((-3.0, -1.0), (1.0, -1.0))


def test_as_many_higher_as_lower_are_both_said() -> None:
    assert "is higher in 1 and lower in 1 of 2 heads, with factors of 0.5 to 2 over all" in changed((1, 2), (2, 1))


def test_the_size_stands_beside_ranks_alone() -> None:
    table = heads(1, 30, measures=("sink_rate",))
    table.records[:6] = [replace(record, value=0.0) for record in table.records[:6]]
    assert list(of_heads(table)) == ["Lowest: 6 heads have sink rate 0."]


def test_cross_attention_is_called_so_for_each_text() -> None:
    assert "of text 0 cross-attention " in " ".join(of_heads(heads(2, 2, ("text 0 cross", "text 1 cross"))))
