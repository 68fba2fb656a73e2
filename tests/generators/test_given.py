"""Your own tokens and maps: taken as they are, in any array, or refused with what to give instead."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import rankscope as rs
from rankscope.errors import InputError, RankscopeError, UsageError
from rankscope.generators.given import converted, decided
from rankscope.records import Table

N, WIDTH, D = 6, 4, 3
RNG = np.random.default_rng(0)
TOKENS = RNG.standard_normal((N, WIDTH))


def drawn(rows: int, columns: int, *, bias: bool = False) -> rs.Linear:
    return rs.Linear(RNG.standard_normal((rows, columns)), RNG.standard_normal(columns) if bias else None)


def head(d_v: int = D, *, bias: bool = False) -> rs.Head:
    return rs.Head(*(drawn(*shape, bias=bias) for shape in ((WIDTH, D), (WIDTH, D), (WIDTH, d_v), (d_v, WIDTH))))


def mlp(hidden: int = 8, activation: str = "relu") -> rs.Mlp:
    return rs.Mlp(drawn(WIDTH, hidden, bias=True), drawn(hidden, WIDTH, bias=True), activation)


def with_map(name: str, by: Any) -> list[rs.Block]:
    """Two blocks, in the second of which one map of the second head is another."""
    return [rs.Block((head(), head())), rs.Block((head(), replace(head(), **{name: by})))]


def curve(**options: Any) -> list[float]:
    table = rs.depth(measures="log10_residual", **options).table
    assert isinstance(table, Table)
    return [float(record) for record in table]


def softmax(scores: Any) -> Any:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def passed(x: Any, blocks: list[rs.Block]) -> list[Any]:
    """The tokens before each layer and after the last one, as numpy has them."""

    def through(x: Any, by: rs.Linear) -> Any:
        return x @ by.weights + (0.0 if by.bias is None else by.bias)

    found = [x]
    for block in blocks:
        heads = [
            through(
                softmax(through(x, one.query) @ through(x, one.key).T / math.sqrt(one.query.weights.shape[1]))
                @ through(x, one.value),
                one.output,
            )
            for one in block.heads
        ]
        x = sum(heads)
        if block.mlp is not None:
            x = through(np.maximum(through(x, block.mlp.into), 0.0), block.mlp.back)
        found.append(x)
    return found


def residual(x: Any) -> float:
    return math.log10(np.linalg.norm(x - x.mean(axis=0)) / np.linalg.norm(x))


# -------------------------------------------------------------------------------------------------------- what is taken


@pytest.mark.parametrize(
    "blocks",
    [
        [rs.Block((head(),))],
        [rs.Block((head(bias=True), head(d_v=5))), rs.Block((head(d_v=1), head(bias=True)))],
        [rs.Block((head(),), mlp()), rs.Block((head(),), mlp(hidden=5))],
    ],
)
def test_given_tokens_and_maps_are_what_is_walked_through(blocks: list[rs.Block]) -> None:
    expected = [residual(x) for x in passed(TOKENS, blocks)]
    assert curve(tokens=TOKENS, blocks=blocks) == pytest.approx(expected, abs=1e-9)


def test_given_blocks_decide_the_depth_the_heads_and_their_size() -> None:
    found = rs.depth(tokens=TOKENS, blocks=[rs.Block((head(), head()), mlp(activation="gelu"))] * 3)
    [matrix] = found.table.matrices
    assert (matrix.rows, matrix.d) == (N, D)
    assert matrix.network is not None
    assert {name: matrix.network[name] for name in ("layers", "heads", "design")} == {
        "layers": 3, "heads": 2, "design": "mlp",
    }  # fmt: skip
    assert found.table.study["sources"][0]["mlp"] == "gelu"
    assert "given tokens" in matrix.label
    assert "given maps" in matrix.label


def as_torch(array: Any) -> Any:
    return torch.tensor(array)


def with_gradient(array: Any) -> Any:
    return torch.nn.Parameter(torch.tensor(array))


def as_lists(array: Any) -> Any:
    return array.tolist()


@pytest.mark.parametrize("made", [as_torch, with_gradient, as_lists])
def test_any_array_is_taken(made: Callable[[Any], Any]) -> None:
    def linear(by: rs.Linear) -> rs.Linear:
        return rs.Linear(made(by.weights), None if by.bias is None else made(by.bias))

    plain = rs.Block((head(bias=True),), mlp())
    assert plain.mlp is not None
    one = plain.heads[0]
    maps = (linear(by) for by in (one.query, one.key, one.value, one.output))
    other = rs.Block((rs.Head(*maps),), rs.Mlp(linear(plain.mlp.into), linear(plain.mlp.back), "relu"))
    assert curve(tokens=made(TOKENS), blocks=[other]) == curve(tokens=TOKENS, blocks=[plain])


def test_single_precision_is_taken_exactly() -> None:
    values = RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32)
    [block] = converted([rs.Block((rs.Head(*[rs.Linear(torch.tensor(values))] * 4),))])  # type: ignore[arg-type]
    assert block.heads[0].key.weights.dtype == np.float64
    assert (block.heads[0].key.weights == values).all()


def test_a_layer_of_torch_is_its_transposed_weights_and_its_bias() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(WIDTH, WIDTH, dtype=torch.float64) for _ in range(4)]
    block = rs.Block((rs.Head(*(rs.Linear(each.weight.T, each.bias) for each in layers)),))  # type: ignore[arg-type]
    x = torch.tensor(TOKENS)
    query, key, value, output = layers
    expected = output(torch.nn.functional.scaled_dot_product_attention(query(x), key(x), value(x)))
    assert curve(tokens=TOKENS, blocks=[block])[1] == pytest.approx(residual(expected.detach().numpy()), abs=1e-9)


def test_what_is_given_is_not_changed() -> None:
    x, block = TOKENS.copy(), rs.Block((head(),), mlp())
    before = block.heads[0].query.weights.copy()
    curve(tokens=x, blocks=[block])
    assert (x == TOKENS).all()
    assert (block.heads[0].query.weights == before).all()


def test_tokens_alone_go_through_random_maps_and_maps_alone_take_random_tokens() -> None:
    one, two = (curve(tokens=TOKENS, layers=2, d=WIDTH, seed=seed) for seed in (0, 1))
    assert one[0] == two[0] == pytest.approx(residual(TOKENS))
    assert one[1] != two[1]
    blocks = [rs.Block((head(),))]
    one, two = (curve(blocks=blocks, n=9, seed=seed) for seed in (0, 1))
    assert len(one) == len(two) == 2
    assert one[0] != two[0]


def test_nothing_given_decides_nothing() -> None:
    assert decided(None, None, {"n": 3, "layers": 2, "seed": 1}) == {}


# ------------------------------------------------------------------------------------------------------------ refusals

WRONG: dict[str, tuple[str, Any, str]] = {
    "query of another width": ("query", drawn(WIDTH + 1, D), rf"\({WIDTH + 1}, {D}\) in block 1.*\({WIDTH}, …\)"),
    "transposed query": ("query", drawn(D, WIDTH), rf"\({D}, {WIDTH}\) in block 1.*\({WIDTH}, …\)"),
    "key of another size": ("key", drawn(WIDTH, D + 1), rf"\({WIDTH}, {D + 1}\) in block 1.*\({WIDTH}, {D}\)"),
    "key of another width": ("key", drawn(WIDTH + 1, D), rf"\({WIDTH + 1}, {D}\) in block 1"),
    "value of another width": ("value", drawn(WIDTH + 1, D), rf"\({WIDTH + 1}, {D}\) in block 1"),
    "output from another size": ("output", drawn(D + 1, WIDTH), rf"\({D + 1}, {WIDTH}\) in block 1"),
    "output to another width": ("output", drawn(D, WIDTH + 1), rf"\({D}, {WIDTH + 1}\).*\({D}, {WIDTH}\)"),
    "bias of another length": ("key", rs.Linear(np.ones((WIDTH, D)), np.ones(D + 1)), rf"bias of shape \({D + 1},\)"),
    "bias that is a matrix": ("key", rs.Linear(np.ones((WIDTH, D)), np.ones((1, D))), rf"bias of shape \(1, {D}\)"),
    "vector": ("key", rs.Linear(np.ones(WIDTH)), rf"key of block 1 of shape \({WIDTH},\)"),
    "empty": ("key", rs.Linear(np.ones((WIDTH, 0))), r"key of block 1 of shape"),
    "complex": ("key", rs.Linear(np.ones((WIDTH, D)) * 1j), r"key of block 1.*real"),  # type: ignore[arg-type]
    "raw array": ("key", np.ones((WIDTH, D)), r"key of block 1 of type ndarray.*rankscope\.Linear\(W\)"),
    "raw tensor": ("value", torch.ones(WIDTH, D), r"value of block 1 of type Tensor.*rankscope\.Linear\(W\)"),
    "layer of torch": ("output", torch.nn.Linear(D, WIDTH), r"output of block 1 of type Linear.*weight\.T"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_map_that_does_not_fit_is_refused_with_its_place(name: str) -> None:
    role, by, message = WRONG[name]
    with pytest.raises(InputError, match=rf"RS101.*{message}"):
        rs.depth(tokens=TOKENS, blocks=with_map(role, by))


@pytest.mark.parametrize(("into", "back"), [((5, 8), (8, 4)), ((4, 8), (7, 4)), ((4, 8), (8, 5))])
def test_an_mlp_that_does_not_fit_is_refused(into: tuple[int, int], back: tuple[int, int]) -> None:
    wrong = rs.Mlp(drawn(*into), drawn(*back), "relu")
    with pytest.raises(InputError, match=r"RS101.*in block 1"):
        rs.depth(tokens=TOKENS, blocks=[rs.Block((head(),), mlp()), rs.Block((head(),), wrong)])


BLOCKS: dict[str, tuple[Any, str]] = {
    "none": ([], "list of rankscope.Block"),
    "one alone": (rs.Block((head(),)), "of type Block"),
    "heads": ([head()], "list of rankscope.Block"),
    "numbers": (3, "of type int"),
    "arrays": ([TOKENS], "list of rankscope.Block"),
    "no heads": ([rs.Block(())], "block 0 without a list of heads"),
    "a head alone": ([rs.Block(head())], "block 0 without a list of heads"),  # type: ignore[arg-type]
    "arrays as heads": ([rs.Block((TOKENS,))], "a head of type ndarray in block 0"),  # type: ignore[arg-type]
    "an array as mlp": ([rs.Block((head(),), TOKENS)], "an MLP of type ndarray in block 0"),  # type: ignore[arg-type]
    "arrays in an mlp": (
        [rs.Block((head(),), rs.Mlp(np.ones((4, 8)), np.ones((8, 4)), "relu"))],  # type: ignore[arg-type]
        "the MLP of block 0 of type ndarray",
    ),
    "another number of heads": ([rs.Block((head(),)), rs.Block((head(), head()))], "differ in their heads or MLPs"),
    "an mlp in one": ([rs.Block((head(),), mlp()), rs.Block((head(),))], "differ in their heads or MLPs"),
    "other activations": (
        [rs.Block((head(),), mlp()), rs.Block((head(),), mlp(activation="gelu"))], "differ in their heads or MLPs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_that_are_none_are_refused(name: str) -> None:
    blocks, message = BLOCKS[name]
    with pytest.raises(InputError, match=rf"RS101.*{message}"):
        rs.depth(tokens=TOKENS, blocks=blocks)


def test_an_activation_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"RS001.*'relu'"):
        rs.depth(tokens=TOKENS, blocks=[rs.Block((head(),), mlp(activation="rely"))])


@pytest.mark.parametrize(("bad", "code"), [(np.nan, "RS110"), (np.inf, "RS111")])
@pytest.mark.parametrize("where", ["tokens", "weights", "bias", "bias of the MLP"])
def test_numbers_that_are_not_finite_are_refused(where: str, bad: float, code: str) -> None:
    x, block = TOKENS.copy(), rs.Block((head(bias=True),), mlp())
    assert block.mlp is not None
    changed = {
        "tokens": x,
        "weights": block.heads[0].value.weights,
        "bias": block.heads[0].value.bias,
        "bias of the MLP": block.mlp.back.bias,
    }[where]
    assert changed is not None
    changed[-1] = bad
    place = {"tokens": "the tokens", "weights": "value of block 0", "bias": "the bias of value of block 0"}
    with pytest.raises(InputError, match=f"{code}.* in {place.get(where, 'the bias of the MLP of block 0')}: "):
        rs.depth(tokens=x, blocks=[block])


@pytest.mark.parametrize("tokens", [np.zeros(3), np.zeros((2, 3, 4)), np.zeros((0, 4)), np.ones((3, 4)) * 1j, [[]]])
def test_tokens_of_another_shape_are_refused(tokens: Any) -> None:
    with pytest.raises(InputError, match=r"RS101.*the tokens of shape"):
        rs.depth(tokens=tokens)


def test_tokens_of_another_width_than_the_maps_are_refused() -> None:
    with pytest.raises(InputError, match=rf"RS101.*tokens of width {WIDTH + 1} for maps of width {WIDTH}"):
        rs.depth(tokens=np.ones((N, WIDTH + 1)), blocks=[rs.Block((head(),))])


OPTIONS: dict[str, Any] = {
    "n": N, "ensemble": "tokens", "layers": 1, "heads": 1, "d": D, "init": "lecun", "values": "lecun", "gain": 1.0,
    "mlp": None, "mlp_ratio": 4.0, "mlp_init": "he", "mlp_gain": 1.0,
}  # fmt: skip


def refused(name: str, **given: Any) -> RankscopeError:
    """How an option is refused, even with the value that what is given decides."""
    with pytest.raises(UsageError, match="RS003") as caught:
        rs.depth(**given, **{name: OPTIONS[name]})
    return caught.value


@pytest.mark.parametrize("name", list(OPTIONS)[:2])
def test_an_option_that_tokens_decide_is_refused(name: str) -> None:
    assert f"the option {name} with your own tokens" in str(refused(name, tokens=TOKENS))


@pytest.mark.parametrize("name", list(OPTIONS)[2:])
def test_an_option_that_blocks_decide_is_refused(name: str) -> None:
    assert f"the option {name} with your own blocks" in str(refused(name, blocks=[rs.Block((head(),))]))


@pytest.mark.parametrize("seeds", [{"seed": 1}, {"seeds": range(2)}])
def test_a_seed_of_what_is_not_random_is_refused(seeds: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"RS003.*a seed"):
        rs.depth(tokens=TOKENS, blocks=[rs.Block((head(),))], **seeds)


@pytest.mark.parametrize(
    ("own", "design", "message"),
    [
        (None, "mlp", "the design mlp with blocks without an MLP"),
        (None, "pure,skip+mlp", r"the design skip\+mlp with blocks without an MLP"),
        (mlp(), "mlp,pure", "the design pure with blocks with an MLP"),
        (mlp(), "skip", "an MLP with the designs skip"),
    ],
)
def test_a_design_that_does_not_fit_the_blocks_is_refused(own: Any, design: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"RS003: {message}"):
        rs.depth(tokens=TOKENS, blocks=[rs.Block((head(),), own)], design=design)


@pytest.mark.parametrize(("own", "designs"), [(None, ["pure", "skip"]), (mlp(), ["mlp", "skip+mlp"])])
def test_designs_that_fit_the_blocks_are_tried(own: Any, designs: list[str]) -> None:
    found = rs.depth(tokens=TOKENS, blocks=[rs.Block((head(),), own)], design=designs)
    assert [(matrix.network or {})["design"] for matrix in found.table.matrices] == designs
