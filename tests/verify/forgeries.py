"""Certificates that are damaged, and certificates that are false and sealed anew."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rankscope.certificates import Certificate, Claim, Count, Determinant, Minor, Numbers, Rank, Smallest, numbers, seal
from tests.verify.truths import claims_of, given, true_of, truth


def damages(text: str, random: np.random.Generator) -> Iterator[str]:
    """A text after one of several kinds of damage."""
    content = json.loads(text)
    while True:
        at = int(random.integers(len(text)))
        yield text[:at] + chr(int(random.integers(32, 127))) + text[at + 1 :]
        yield text[:at]
        yield text[:at] + text[at + 1 :]
        other = json.loads(text)
        claim = other["claims"][int(random.integers(len(other["claims"])))]
        key = str(random.choice(sorted(claim)))
        claim[key] = {"claim": "count"}.get(key, int(random.integers(-9, 99)))
        yield json.dumps(other)
        key = str(random.choice(sorted(content)))
        yield json.dumps({**content, key: content[{"label": "rankscope", "sha256": "label"}.get(key, "claims")]})
        held = json.loads(text)
        array = leaf(held["matrix"])
        letters = list(array["base64"])
        first, second = sorted(random.choice(len(letters), 2, replace=False).tolist())
        letters[first : second + 1] = reversed(letters[first : second + 1])
        array["base64"] = "".join(letters)
        yield json.dumps(held)


def leaf(matrix: dict[str, Any]) -> dict[str, Any]:
    """The first array of a matrix or of its parts."""
    while matrix["parts"]:
        matrix = matrix["parts"][0]
    found: dict[str, Any] = next(iter(matrix["arrays"].values()))
    return found


def unchanged(text: str, changed: str) -> bool:
    """Whether damage left the content as it was, as 1.0 for 1e0 or the same letter would."""
    try:
        return bool(json.dumps(json.loads(text), sort_keys=True) == json.dumps(json.loads(changed), sort_keys=True))
    except ValueError:
        return False


False_ = tuple[Numbers, Claim]


def false_rank(name: str, random: np.random.Generator) -> False_:
    """One or more too many or too few, with a hint now and then."""
    rank, off, held = true_of(name).rank, int(random.integers(1, 4)), given()[name]
    intervals = [(rank + off, rank + off), (rank - off, rank - off), (0, rank - off), (rank + off, rank + 9)]
    low, high = intervals[int(random.integers(4))]
    hint = tuple(range(min(max(low, 0), held.rows, held.columns)))
    return held, Rank(low, high, Minor(hint, hint) if random.random() < 0.5 else None)


def false_sign(name: str, random: np.random.Generator) -> False_:
    """Another sign, with or without the true interval."""
    true = true_of(name)
    sign = int(random.choice([each for each in (-1, 0, 1) if each != true.sign]))
    near = (true.logdet or 0.0) if sign and random.random() < 0.5 else None
    return given()[name], Determinant(sign, None if near is None else near - 1, None if near is None else near + 1)


def false_interval(name: str, random: np.random.Generator) -> False_:
    """An interval beside ln|det|, or one that is empty."""
    true = true_of(name)
    if not true.sign or true.logdet is None:
        return false_sign(name, random)
    off = float(10.0 ** random.uniform(-6, 3)) * (1 if random.random() < 0.5 else -1)
    low, high = sorted([true.logdet + off, true.logdet + 2 * off])
    return given()[name], Determinant(true.sign, *((high, low) if random.random() < 0.2 else (low, high)))


def false_count(name: str, random: np.random.Generator) -> False_:
    """One too many, one too few, or an empty interval."""
    true = true_of(name)
    found = [claim for claim in claims_of(true) if isinstance(claim, Count)]
    claim = found[int(random.integers(len(found)))]
    off = int(random.choice([-2, -1, 1, 2]))
    if random.random() < 0.2:
        return given()[name], replace(claim, low=claim.low + 1, high=claim.high)
    return given()[name], replace(claim, low=claim.low + off, high=claim.high + off)


def false_smallest(name: str, random: np.random.Generator) -> False_:
    """An interval above or below log₁₀ σ_min, or any interval for a singular matrix."""
    true = true_of(name)
    log = true.logs[-1] / math.log(10) if true.logs else 0.0
    off = float(10.0 ** random.uniform(-6, 2)) * (1 if random.random() < 0.5 else -1)
    low, high = sorted([log + off, log + 2 * off])
    return given()[name], Smallest(*((high, low) if random.random() < 0.2 else (low, high)))


def edited(held: Numbers, random: np.random.Generator) -> Numbers:
    """The same kind of matrix with one of its numbers changed."""
    if held.parts:
        index = int(random.integers(len(held.parts)))
        parts = [edited(part, random) if i == index else part for i, part in enumerate(held.parts)]
        return numbers(held.kind, {}, parts)
    arrays = {name: array.copy() for name, array in (held.arrays or {}).items()}
    array = arrays[next(iter(arrays))]
    places = np.argwhere(np.isfinite(array))
    place = tuple(places[int(random.integers(len(places)))])
    array[place] += float(random.choice([0.25, 1.0, 3.0]))
    return numbers(held.kind, arrays)


def false_entries(name: str, random: np.random.Generator) -> False_:
    """A claim that was true before one number of the matrix was changed, where that makes it false."""
    changed = edited(given()[name], random)
    wrong = falsified(name, changed)
    return (changed, wrong[-1]) if wrong else false_rank(name, random)


def falsified(name: str, changed: Numbers) -> list[Claim]:
    """The claims that are true of a matrix and false of the numbers that it was changed to, by the oracles."""
    found = truth(changed)
    claims = [claim for claim in claims_of(true_of(name)) if not isinstance(claim, Count)]
    return [claim for claim in claims if not found.holds(claim)]


def swapped(name: str, random: np.random.Generator) -> False_:
    """The numbers of one kind under the name of another."""
    held = given()[name]
    arrays = list((held.arrays or {}).values())
    if held.kind not in ("softmax", "stored") or not np.isfinite(arrays[0]).all():
        return false_sign(name, random)
    kind, array = ("stored", "matrix") if held.kind == "softmax" else ("softmax", "log_weights")
    made = numbers(kind, {array: arrays[0]})  # type: ignore[arg-type]
    wrong = falsified(name, made)
    return (made, wrong[-1]) if wrong else false_rank(name, random)


MUTATIONS: tuple[Callable[[str, np.random.Generator], False_], ...] = (
    false_rank, false_sign, false_interval, false_count, false_smallest, false_entries, swapped,
)  # fmt: skip


def forged(held: Numbers, claim: Claim, random: np.random.Generator) -> str:
    """A false certificate with a digest that fits; now and then its subject is false too, or its hint repeats a row."""
    content = json.loads(Certificate("forged", held, (claim,)).text())
    if random.random() < 0.03:
        content["matrix"]["subject"] = {"scores": "stored"}.get(held.subject, "scores")
    if random.random() < 0.03 and isinstance(claim, Rank):
        content["claims"][0]["minor"] = {"rows": [0, 0], "columns": [0, 1]}
    return json.dumps({**content, "sha256": seal(content)})
