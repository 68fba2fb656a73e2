"""The folder of a model, looked through before any library opens it: what it needs is there, and is what it says it is.

A folder of the Hugging Face kind holds configurations, weights, a tokenizer, and sometimes code. Weights are read from
.safetensors files alone, and their headers are compared with their lengths first. Code and what points to it is listed
and ignored where the architecture is one of the library's own, and is the reason to refuse the folder where it is not.

A library looks for more files than are needed, and opens those that a configuration names. So it is given another
folder, which holds what was checked here and nothing else.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rankscope.errors import error
from rankscope.generators.files import PICKLES, open_archive
from rankscope.generators.stored import displayed, opened
from rankscope.saved.flat import strict_json

CONFIG: Final = "config.json"
TOKENIZER: Final = "tokenizer_config.json"
PROCESSORS: Final = ("preprocessor_config.json", "processor_config.json")
CONFIGS: Final = (CONFIG, TOKENIZER, *PROCESSORS)
"""The configurations that are read: those of the model, of its tokenizer and of what prepares its images."""

WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
ADAPTER: Final = "adapter_config.json"

SUFFIXES: Final = (".json", ".txt", ".model", ".spm", ".codes", ".tokenizer")
"""How the files of tokenizers end."""

UNREAD: Final = (INDEX, "generation_config.json", "trainer_state.json")
"""Files with such an ending that no tokenizer reads."""

LONGEST: Final = 8 * 2**20
"""The most bytes of a configuration."""

LONGEST_INDEX: Final = 64 * 2**20
"""The most bytes of a list of weights, or of a tokenizer's own files."""

DEEPEST: Final = 64
"""How deep a configuration may be nested."""

CODE: Final = ("auto_map", "custom_pipelines", "trust_remote_code")
"""What a configuration says of code of its own."""

DECIDED: Final = (
    "_attn_implementation", "attn_implementation", "_attn_implementation_internal", "_experts_implementation",
    "experts_implementation", "_experts_implementation_internal", "_commit_hash", "name_or_path", "_name_or_path",
    "transformers_weights", "fusion_config", "output_attentions", "num_labels", "id2label", "label2id",
)  # fmt: skip
"""What a configuration may say and the caller decides, or nothing here needs: some of it names code to download."""

NAMES_FILE: Final = ("_file", "_path", "_dir", "_spm", "vocab", "merges")
"""How the keys end whose text a library would open as a file."""

LAYERS: Final = 2**16
"""The most layers that are believed without as many arrays of weights."""

LARGEST: Final = 2**24
"""The largest size that is believed without as many numbers in the weights."""

FREE: Final = ("theta", "base", "seed", "length", "position")
"""Parts of the names of whole numbers that take no memory, or whose arrays are counted as they are made."""


@dataclass(frozen=True)
class Directory:
    """A folder that was looked through.

    `configs` are its configurations without what names code or files, `files` what else may be read, `weights` the
    names of its weights, which are so many `arrays` of so many `numbers` together, in `size` bytes. `code` is what
    would have to run, and `ignored` this and what else is left aside.
    """

    path: Path
    configs: dict[str, dict[str, Any]]
    files: tuple[str, ...]
    weights: tuple[str, ...]
    arrays: int
    numbers: int
    size: int
    code: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the model."""
        return self.configs[CONFIG]

    @property
    def kind(self) -> str:
        """The architecture, as its configuration names it."""
        return str(self.config["model_type"])

    @property
    def name(self) -> str:
        """What it is called, safe to show."""
        return displayed(self.path.name)


def directory(path: Path) -> Directory:
    """The model in a folder, or why it is not read.

    Raises:
        FormatError: RS203 and RS202 for files that are malformed or lie, RS212 for weights that are pickles, RS213 for
            code that would be needed, RS214 for links that lead out of the folder, RS215 for files that do not fit.
        StoreError: RS501, what the system does not give.
    """
    path = Path(os.path.abspath(path))
    where = f"'{displayed(path.name)}'"
    try:
        names = sorted(os.listdir(path))
    except OSError as reason:
        given = f"cannot read the folder {where}: {reason.strerror}"
        raise error("RS501", given, "give the folder of a model") from reason
    if ADAPTER in names:
        remedy = "merge it into its base model first (peft: model.merge_and_unload()) and save that"
        raise error("RS212", f"{where} holds an adapter ({ADAPTER}), and no whole model", remedy)
    if CONFIG not in names:
        hint = "the folder of a snapshot" if "snapshots" in names else f"a folder with a {CONFIG}"
        raise error("RS215", f"{where} holds no {CONFIG}: {listed(names)}", f"give {hint}")
    for name in names:
        contained(path, name)
    said = {name: read_json(path, name, LONGEST) for name in CONFIGS if name in names}
    configs: dict[str, dict[str, Any]] = {name: without_code(content) for name, content in said.items()}
    kind = said[CONFIG].get("model_type")
    if not isinstance(kind, str) or not kind:
        raise error("RS215", f"the {CONFIG} of {where} names no model_type", "give a model's folder")
    if any(key == "quantization_config" and value is not None for key, value in entries(said[CONFIG])):
        remedy = "give the model as it was before, in floating point"
        raise error("RS213", f"the weights of {where} are quantised, which needs more code", remedy)
    weights, others = weights_of(path, names)
    archives = [open_archive(inside(path, name)) for name in weights]
    shapes = [array.shape for archive in archives for array in archive.arrays]
    numbers = sum(map(math.prod, shapes))
    check_sizes(where, configs[CONFIG], len(shapes), numbers)
    files = [name for name in names if name.endswith(SUFFIXES) and name not in (*CONFIGS, *UNREAD)]
    for name in files:
        check_length(inside(path, name), path, name, LONGEST_INDEX)
    code = [name for name in names if name.endswith(".py")]
    code += [f"{key} in {name}" for name, content in said.items() for key in CODE if key in content]
    pickles = [name for name in names if Path(name).suffix.lower() in PICKLES]
    return Directory(
        path,
        configs,
        tuple(files) + ((INDEX,) if WEIGHTS not in names else ()),
        tuple(weights),
        len(shapes),
        numbers,
        sum((path / name).stat().st_size for name in weights),
        tuple(code),
        tuple(displayed(each) for each in (*code, *pickles, *others)),
    )


def weights_of(path: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """The names of the files that hold the weights, and of those that do not, although they might."""
    where = f"'{displayed(path.name)}'"
    every = [name for name in names if name.endswith(".safetensors")]
    if WEIGHTS in names:
        return [WEIGHTS], [name for name in names if name == INDEX or (name in every and name != WEIGHTS)]
    if INDEX in names:
        index = read_json(path, INDEX, LONGEST_INDEX).get("weight_map")
        if not isinstance(index, dict) or not index or not all(isinstance(each, str) for each in index.values()):
            raise error("RS203", f"the {INDEX} of {where} has no weight_map of names", "download the model again")
        files = sorted(set(index.values()))
        for name in files:
            if Path(name).name != name or not name.endswith(".safetensors"):
                given = f"the {INDEX} of {where} names '{displayed(name)}', which is no file of the folder"
                raise error("RS214", given, "download the model again")
            if name not in names:
                raise error("RS215", f"{where} lacks '{displayed(name)}', which its {INDEX} names", "download it again")
        return files, [name for name in every if name not in files]
    pickles = [name for name in names if Path(name).suffix.lower() in PICKLES]
    if pickles:
        remedy = "convert it once, where you trust it: model.save_pretrained(FOLDER) writes .safetensors"
        given = f"{where} holds its weights as pickles ({listed(pickles)}), which can run code and are never read"
        raise error("RS212", given, remedy)
    raise error("RS212", f"{where} holds no {WEIGHTS}: {listed(names)}", "give the folder of a saved model")


@contextmanager
def staged(found: Directory) -> Iterator[Path]:
    """A folder of ours for a library: configurations without names of code or files, and links to what was checked."""
    with TemporaryDirectory(prefix="rankscope-") as name:
        folder = Path(name)
        for each in (*found.files, *found.weights):
            (folder / each).symlink_to(os.path.realpath(inside(found.path, each)))
        for each, content in found.configs.items():
            (folder / each).write_text(json.dumps(content), encoding="utf-8")
        yield folder


def contained(path: Path, name: str) -> Path:
    """Something in the folder, refused where it is a link that leads out of it.

    The cache of a hub links the files of a snapshot to its blobs; that they lie beside each other is what counts.
    """
    found = path / name
    real = Path(os.path.realpath(found))
    homes = [Path(os.path.realpath(path))]
    if homes[0].parent.name == "snapshots":
        homes.append(homes[0].parent.parent / "blobs")
    if not any(real.is_relative_to(home) for home in homes):
        given = f"'{displayed(name)}' in '{displayed(path.name)}' is a link that leads out of the folder"
        raise error("RS214", given, "put the file itself there, if you trust it")
    return found


def inside(path: Path, name: str) -> Path:
    """A file of the folder: no link that leads out of it, and no folder, pipe or device."""
    found = contained(path, name)
    if not found.is_file():
        raise error("RS215", f"'{displayed(name)}' in '{displayed(path.name)}' is no file", "download the model again")
    return found


def check_length(file: Path, path: Path, name: str, most: int) -> None:
    """Refuse a file that is too long to be what its name says."""
    if file.stat().st_size > most:
        given = f"'{displayed(name)}' of '{displayed(path.name)}' has more than {most} bytes"
        raise error("RS203", given, "give the model's own file")


def read_json(path: Path, name: str, most: int) -> dict[str, Any]:
    """A JSON object of the folder, read strictly: no NaN, no key twice, and not too long."""
    what = f"'{displayed(name)}' of '{displayed(path.name)}'"
    file = inside(path, name)
    check_length(file, path, name, most)
    with opened(file) as content:
        text = content.read(most)
    try:
        found = strict_json(text.decode("utf-8"))
        for _ in entries(found):
            pass
    except (ValueError, RecursionError) as reason:
        said = f"it is nested more than {DEEPEST} deep" if isinstance(reason, RecursionError) else str(reason)
        raise error("RS203", f"{what} is not strict JSON ({said})", "download the model again") from reason
    if not isinstance(found, dict):
        raise error("RS203", f"{what} is no JSON object", "download the model again")
    return found


def check_sizes(where: str, config: dict[str, Any], arrays: int, numbers: int) -> None:
    """Refuse sizes beyond anything that the weights hold: a library would make lists and arrays of them."""
    for key, value in entries(config):
        if type(value) is not int or any(part in key for part in FREE):
            continue
        if value > (max(LAYERS, arrays) if "layer" in key else max(LARGEST, numbers)):
            given = f"the {CONFIG} of {where} says {displayed(key)} {displayed(str(value))}, and its weights are"
            raise error("RS215", f"{given} {arrays} arrays of {numbers} numbers", "give the model's own files")


def entries(config: Any) -> Iterator[tuple[str, Any]]:
    """Every value in a configuration with its key, at any depth that is believed."""
    rest = [("", config, 0)]
    while rest:
        key, value, depth = rest.pop()
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        yield key, value
        if isinstance(value, dict):
            rest += [(name, each, depth + 1) for name, each in value.items()]
        elif isinstance(value, list):
            rest += [(key, each, depth + 1) for each in value]


def without_code(config: Any) -> Any:
    """A configuration without what names code or files, at any depth."""
    if isinstance(config, list):
        return [without_code(each) for each in config]
    if not isinstance(config, dict):
        return config
    return {
        key: without_code(each)
        for key, each in config.items()
        if key not in (*CODE, *DECIDED)
        and not key.endswith("_files")
        and not (isinstance(each, str) and key.endswith(NAMES_FILE))
    }


def listed(names: list[str]) -> str:
    """A few names of files."""
    shown = ", ".join(displayed(name) for name in names[:6]) + (", …" if len(names) > 6 else "")
    return shown or "nothing"
