"""The folder of a model, looked through before any library opens it: what it needs is there, and is what it says it is.

A folder of the Hugging Face kind holds a configuration, weights, a tokenizer, and sometimes code. Weights are read from
.safetensors files alone, and their headers are compared with their lengths first. Code and what points to it is listed
and ignored where the architecture is one of the library's own, and is the reason to refuse the folder where it is not.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rankscope.errors import error
from rankscope.generators.files import PICKLES, open_archive
from rankscope.generators.stored import displayed, opened
from rankscope.saved.flat import strict_json

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
ADAPTER: Final = "adapter_config.json"

LONGEST: Final = 8 * 2**20
"""The most bytes of a configuration."""

LONGEST_INDEX: Final = 64 * 2**20
"""The most bytes of a list of weights, or of a tokenizer's own files."""

CODE: Final = ("auto_map", "custom_pipelines", "trust_remote_code")
"""What a configuration says of code of its own."""

DECIDED: Final = ("_attn_implementation", "attn_implementation", "_attn_implementation_internal", "_name_or_path",
                  "_experts_implementation", "experts_implementation", "_commit_hash")  # fmt: skip
"""What a configuration may say and the caller decides: some of it names code to download."""


@dataclass(frozen=True)
class Directory:
    """A folder that was looked through: its configuration without what names code, and what is left aside."""

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    ignored: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The architecture, as its configuration names it."""
        return str(self.config["model_type"])

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return sum(each.stat().st_size for each in self.weights)


def directory(path: Path) -> Directory:
    """The model in a folder, or why it is not read.

    Raises:
        FormatError: RS203 and RS202 for files that are malformed or lie, RS212 for weights that are pickles, RS213 for
            code that would be needed, RS214 for links that lead out of the folder, RS215 for files that do not fit.
        StoreError: RS501, what the system does not give.
    """
    path = Path(os.path.abspath(path))
    try:
        names = sorted(os.listdir(path))
    except OSError as reason:
        given = f"cannot read the folder '{displayed(path.name)}': {reason.strerror}"
        raise error("RS501", given, "give the folder of a model") from reason
    if CONFIG not in names:
        hint = "the folder of a snapshot" if "snapshots" in names else f"a folder with a {CONFIG}"
        raise error("RS215", f"'{displayed(path.name)}' holds no {CONFIG}: {listed(names)}", f"give {hint}")
    config = read_json(path, CONFIG, LONGEST)
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise error("RS215", f"the {CONFIG} of '{displayed(path.name)}' names no model_type", "give a model's folder")
    if ADAPTER in names:
        remedy = "merge it into its base model first (peft: model.merge_and_unload()) and save that"
        raise error("RS212", f"'{displayed(path.name)}' holds an adapter ({ADAPTER}), and no whole model", remedy)
    if "quantization_config" in config:
        remedy = "give the model as it was before, in floating point"
        raise error("RS213", f"the weights of '{displayed(path.name)}' are quantised, which needs more code", remedy)
    weights = weights_of(path, names)
    for each in weights:
        open_archive(inside(path, each.name))
    for name in names:
        if name.endswith((".json", ".txt", ".model", ".jinja")):
            inside(path, name)
    ignored = [name for name in names if name.endswith(".py") or Path(name).suffix.lower() in PICKLES]
    ignored += [f"{key} in {CONFIG}" for key in CODE if key in config]
    return Directory(path, without_code(config), tuple(weights), tuple(ignored))


def weights_of(path: Path, names: list[str]) -> list[Path]:
    """The files that hold the weights."""
    where = f"'{displayed(path.name)}'"
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
        return [path / name for name in files]
    if WEIGHTS in names:
        return [path / WEIGHTS]
    pickles = [name for name in names if Path(name).suffix.lower() in PICKLES]
    if pickles:
        remedy = "convert it once, where you trust it: model.save_pretrained(FOLDER) writes .safetensors"
        given = f"{where} holds its weights as pickles ({listed(pickles)}), which can run code and are never read"
        raise error("RS212", given, remedy)
    raise error("RS212", f"{where} holds no {WEIGHTS}: {listed(names)}", "give the folder of a saved model")


def inside(path: Path, name: str) -> Path:
    """A file of the folder, refused where it is a link that leads out of it.

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
    if not real.is_file():
        raise error("RS215", f"'{displayed(name)}' in '{displayed(path.name)}' is no file", "download the model again")
    return found


def read_json(path: Path, name: str, most: int) -> dict[str, Any]:
    """A JSON object of the folder, read strictly: no NaN, no key twice, and not too long."""
    what = f"'{displayed(name)}' of '{displayed(path.name)}'"
    with opened(inside(path, name)) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise error("RS203", f"{what} has more than {most} bytes", "give the model's own file")
    try:
        found = strict_json(content.decode("utf-8"))
    except (ValueError, RecursionError) as reason:
        said = "nested too deeply" if isinstance(reason, RecursionError) else str(reason)
        raise error("RS203", f"{what} is not strict JSON ({said})", "download the model again") from reason
    if not isinstance(found, dict):
        raise error("RS203", f"{what} is no JSON object", "download the model again")
    return found


def without_code(config: Any) -> Any:
    """A configuration without what names code, at any depth."""
    if isinstance(config, list):
        return [without_code(each) for each in config]
    if not isinstance(config, dict):
        return config
    return {key: without_code(each) for key, each in config.items() if key not in (*CODE, *DECIDED)}


def listed(names: list[str]) -> str:
    """A few names of files."""
    shown = ", ".join(displayed(name) for name in names[:6]) + (", …" if len(names) > 6 else "")
    return shown or "nothing"
