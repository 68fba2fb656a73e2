"""Networks of attention: everything that decides how tokens change from layer to layer, and the maps that are drawn.

Layer l acts on tokens X as X ← X·[skip] + α·Attn(X), then X ← X·[skip] + α·MLP(X); norms stand before each branch
("pre") or after each sum ("post"). Attn(X) = Σ_h A_h X W_V,h W_O,h, of heads of size d and tokens of width heads·d.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np

from rankscope.arrays import Float64
from rankscope.attention.block import Block, Head, Mlp
from rankscope.attention.build import How
from rankscope.attention.masks import Mask, parse
from rankscope.attention.mixing import Rescaling, resolved
from rankscope.attention.origin import Origin
from rankscope.attention.pointwise import Norm, normalised
from rankscope.attention.positions import POSITIONS, Place, Position, child
from rankscope.attention.request import EmptyRows
from rankscope.attention.tokens import Linear, Tokens
from rankscope.generators.ensembles import ENSEMBLES
from rankscope.generators.initial import INITIALISATIONS
from rankscope.generators.plans import Site, check_plan
from rankscope.generators.stack import called
from rankscope.lazy import cached_property
from rankscope.registry import typed

EPSILON: Final = 1e-5
"""What norms add to the mean square, as torch does."""

DESIGNS: Final = ("pure", "skip", "mlp", "skip+mlp")
"""What a layer consists of beside attention."""

OF_MLP: Final = ("mlp_ratio", "mlp_init", "mlp_gain")
"""What is said of an MLP, where there is one."""


@dataclass(frozen=True, eq=False)
class Stack:
    """A network: everything that decides how its tokens change from layer to layer.

    `values` is how W_V and W_O start (an initialisation, or "identity"), `gain` multiplies W_V; `skip` adds the input
    of each branch to its output times `alpha` (a number, or "1/sqrt(L)"); `mlp` names an activation, with hidden size
    `mlp_ratio` times the width, started by `mlp_init` and multiplied by `mlp_gain`. `norm` says where a norm stands,
    and which: "none", "pre", "post", "pre:rms" or "post:rms". `rescale` is "none", "perp" (A − 11ᵀ/n) or a λ
    (AttnScale). `fixed` applies the matrices of layer 0 in every layer; `empty_rows` is what becomes of queries that
    see nothing: "error", "zero" or "uniform". `dtype` rounds the tokens of the plain computation after each layer.
    `given_tokens` (n × width) and `given_blocks` replace what is drawn.
    """

    n: int = 512
    d: int = 64
    layers: int = 12
    heads: int = 1
    mask: str | Mask | None = None
    kernel: Any = "softmax"
    position: str | Position = "none"
    scale: float = 1.0
    plan: str = "uniform"
    ensemble: str = "tokens"
    init: str = "lecun"
    values: str = "lecun"
    gain: float = 1.0
    skip: bool = False
    alpha: float | Literal["1/sqrt(L)"] = 1.0
    mlp: str | None = None
    mlp_ratio: float = 4.0
    mlp_init: str = "he"
    mlp_gain: float = 1.0
    norm: str = "none"
    rescale: Rescaling = "none"
    fixed: bool = False
    empty_rows: EmptyRows = "error"
    seed: int = 0
    dtype: str = "float64"
    given_tokens: Float64 | None = field(default=None, repr=False)
    given_blocks: Sequence[Block] | None = field(default=None, repr=False)

    def described(self) -> dict[str, Any]:
        """Everything that decides the network, as plain data; given numbers by their shapes."""
        given = {"given_tokens": self.given_tokens, "given_blocks": self.given_blocks}
        plain = {name: value for name, value in vars(self).items() if name in self.__dataclass_fields__}
        named = {name: called(plain[name]) for name in ("mask", "kernel", "position")}
        return {"kind": "stack", **plain, **named, **{name: size_of(value) for name, value in given.items()}}

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def design(self) -> str:
        """Which of `DESIGNS` it is."""
        return "+".join(filter(None, ["skip" if self.skip else "", "mlp" if self.mlp else ""])) or "pure"

    @property
    def strength(self) -> float:
        """The factor of each branch."""
        return 1 / math.sqrt(self.layers) if self.alpha == "1/sqrt(L)" else float(self.alpha)

    @cached_property
    def width(self) -> int:
        """The width of tokens: as given, of the ensemble, or heads · d."""
        if self.given_tokens is not None:
            return int(self.given_tokens.shape[1])
        if self.given_blocks is not None:
            return int(self.given_blocks[0].heads[0].query.weights.shape[0])
        made = ENSEMBLES.build(self.ensemble)
        return made.width or (max(self.heads * self.d, self.n) if made.wide else self.heads * self.d)

    @property
    def label(self) -> str:
        """What tells it apart: its design, its mask, and all that is not the default."""
        base = Stack()
        own = {
            "kernel": called(self.kernel),
            "position": called(self.position),
            "scale": f"scale {typed(self.scale)}",
            "heads": f"heads {self.heads}",
            "given_tokens": "given tokens",
            "ensemble": self.ensemble,
            "init": "given maps" if self.given_blocks else f"init {self.init}",
            "values": "" if self.given_blocks else f"values {self.values}",
            "gain": f"gain {typed(self.gain)}",
            "alpha": f"alpha {self.alpha if isinstance(self.alpha, str) else typed(self.alpha)}",
            "norm": f"{self.norm}-norm" if ":" not in self.norm else self.norm.replace(":rms", "-rmsnorm"),
            "empty_rows": f"empty rows {self.empty_rows}",
            "rescale": f"attnscale {self.rescale}" if not isinstance(self.rescale, str) else self.rescale,
            "fixed": "fixed",
        }
        if self.mlp:
            own |= {
                "mlp": self.mlp,
                "mlp_ratio": f"ratio {typed(self.mlp_ratio)}",
                "mlp_init": f"mlp {self.mlp_init}",
                "mlp_gain": f"mlp gain {typed(self.mlp_gain)}",
            }
        mask = called(self.mask) or "bidirectional"
        differing = (
            name for name in own if name != "given_tokens" and called(getattr(self, name)) != getattr(base, name)
        )
        names = [*differing, *(["given_tokens"] if self.given_tokens is not None else [])]
        parts = [own[name] for name in own if name in names and own[name] and (name, own[name]) != ("mlp", "relu")]
        return " ".join([self.design, mask if self.plan == "uniform" else f"plan {self.plan}", *parts])

    @property
    def network(self) -> dict[str, Any]:
        """What it consists of beside its attention, as plain data."""
        names = ("layers", "heads", "init", "values", "gain", "skip", "alpha", "norm", "rescale", "fixed")
        of_mlp = ("mlp", *(OF_MLP if self.mlp else ()))
        return {"width": self.width, "design": self.design, **{name: getattr(self, name) for name in (*names, *of_mlp)}}

    @property
    def origin(self) -> Origin:
        """Where its matrices come from."""
        return Origin(
            label=self.label,
            d=self.d,
            mask=(called(self.mask) or "bidirectional") if self.plan == "uniform" else None,
            kernel=called(self.kernel),
            position=None if called(self.position) == "none" else called(self.position),
            plan=self.plan,
            scale=self.scale,
            dtype=self.dtype,
            source="stack",
            seed=self.seed,
            ensemble=None if self.ensemble == "tokens" else self.ensemble,
        )

    def at(self, layer: int, head: int) -> Origin:
        """Where the matrix of one head comes from."""
        return replace(self.origin, layer=layer, head=head)

    @cached_property
    def masks(self) -> dict[tuple[int, int], Mask]:
        """The mask of each layer and head."""
        plan = check_plan(self.plan, self.layers, self.heads, self.mask)
        asked = "bidirectional" if self.mask is None else self.mask
        found: dict[tuple[int, int], Mask] = {}
        for layer in range(self.layers):
            for head in range(self.heads):
                own = asked if self.plan == "uniform" else plan(Site(layer, head, self.heads, self.n, ""))
                found[layer, head] = parse(own) if isinstance(own, str) else own
        return found

    # -------------------------------------------------------------------------------------------- what it is made of

    @property
    def described_position(self) -> Position:
        """The position as a value."""
        return POSITIONS.build(self.position) if isinstance(self.position, str) else self.position

    def place(self, layer: int, head: int) -> Place:
        """Where a head stands, for what is drawn for it."""
        return Place(self.n, head, self.heads, self.seed, layer)

    def tokens(self) -> Float64:
        """The tokens that enter layer 0."""
        if self.given_tokens is not None:
            return np.asarray(self.given_tokens, dtype=np.float64)
        made = ENSEMBLES.build(self.ensemble)
        assert made.tokens is not None
        x = made.tokens(self.n, self.width, self.place(0, 0))
        added = self.described_position.tokens
        return x if added is None else np.asarray(x + added(np.arange(self.n), self.width))

    def block(self, layer: int) -> Block:
        """The maps of one layer: queries and keys as `analyze --ensemble tokens` draws them."""
        if self.given_blocks is not None:
            return self.given_blocks[layer]
        outputs = np.split(self.output(layer), self.heads)
        return Block(tuple(self.head(layer, *each) for each in enumerate(outputs)), self.drawn_mlp(layer))

    def output(self, layer: int) -> Float64:
        """W_O of one layer, (heads · d) × width: the output maps of its heads, one above the other."""
        if self.values == "identity":
            return np.eye(self.heads * self.d, self.width)
        place = self.place(layer, 0)
        return np.asarray(INITIALISATIONS[self.values].function(child(place, "W_O"), self.heads * self.d, self.width))

    def head(self, layer: int, head: int, output: Float64) -> Head:
        """The maps of one head, with the given map of its output."""
        start = INITIALISATIONS[self.init].function
        place, width, d = self.place(layer, head), self.width, self.d
        query, key = (Linear(np.asarray(start(child(place, role), width, d))) for role in ("W_Q", "W_K"))
        if self.values == "identity":
            into = np.eye(width, self.heads * d)[:, head * d : (head + 1) * d]
        else:
            into = np.asarray(INITIALISATIONS[self.values].function(child(place, "W_V"), width, d))
        return Head(query, key, Linear(self.gain * into), Linear(output))

    def drawn_mlp(self, layer: int) -> Mlp | None:
        """The MLP of one layer, if it has one; the gain stands on its second map."""
        if self.mlp is None:
            return None
        of, hidden = INITIALISATIONS[self.mlp_init].function, max(1, round(self.mlp_ratio * self.width))
        into = of(child(self.place(layer, 0), "W_1"), self.width, hidden)
        back = of(child(self.place(layer, 0), "W_2"), hidden, self.width)
        return Mlp(Linear(np.asarray(into)), Linear(self.mlp_gain * np.asarray(back)), self.mlp)

    def how(self, layer: int, head: int) -> How:
        """How a matrix of this network is made of queries and keys."""
        return resolved(
            How(self.masks[layer, head], self.kernel, self.position, self.scale, "float64", self.empty_rows, self.heads)
        )

    @property
    def levels(self) -> tuple[float, float]:
        """What 11ᵀ/n and the rest of each attention matrix are multiplied by."""
        if self.rescale == "none":
            return 1.0, 1.0
        return (0.0, 1.0) if self.rescale == "perp" else (1.0, 1.0 + float(self.rescale))

    def normed(self, tokens: Tokens, where: str) -> Tokens:
        """The tokens after the norm that stands here, if one does."""
        side, _, kind = self.norm.partition(":")
        if side != where:
            return tokens
        of: Norm = "rms" if kind == "rms" else "layer"
        return normalised(tokens, of, EPSILON)


def size_of(value: Any) -> Any:
    """The shape of given numbers, for the record."""
    return list(value.shape) if hasattr(value, "shape") else None if value is None else len(value)
