"""A model from a folder that was looked through, by the transformers library: its own classes, without the network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rankscope.arrays import check_memory
from rankscope.errors import error
from rankscope.generators.pretrained.directory import Directory, directory
from rankscope.generators.stored import displayed

WANTED: Final = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""The files of a model that are downloaded: no code, and no pickles."""

OPTIONAL: Final = "pooler"
"""What may lack weights, because no attention passes through it."""


def transformers_module() -> Any:
    """transformers, or an error that says how to install it."""
    try:
        import transformers
    except ImportError as reason:
        remedy = "install it with: pip install 'rankscope[models]'"
        raise error("RS004", "a model without transformers", remedy) from reason
    return transformers


def folder_of(name: str, *, download: bool = False) -> Path:
    """The folder of a model: one that exists, or the snapshot of a name in the local cache of the hub.

    Raises:
        StoreError: RS501, there is neither, or the network does not give it.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if path.exists() or path.suffix in (".safetensors", ".json", ".npz", ".npy"):
        raise error("RS501", f"'{displayed(path.name)}' is no folder", "give the folder of a model, or its name")
    transformers_module()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=not download, allow_patterns=list(WANTED)))
    except Exception as reason:  # the hub's own errors, those of the network, and malformed names
        why = "could not be downloaded" if download else "is neither a folder nor in the local cache"
        remedy = "check the name" if download else "give a folder, or add --download to fetch it by this name"
        raise error("RS501", f"the model '{displayed(name)}' {why} ({type(reason).__name__})", remedy) from reason


def model_of(found: Directory, device: str = "cpu", dtype: str | None = None) -> Any:
    """The model, ready to run, without its output head; attention by torch's fused function where it has that.

    Raises:
        FormatError: RS213 for an architecture that the library has not, RS215 for weights that are missing or do not
            fit its configuration.
        ResourceError: RS301, the weights do not fit into memory.
    """
    transformers = transformers_module()
    import torch

    where = f"'{displayed(found.path.name)}'"
    if found.kind not in transformers.CONFIG_MAPPING:
        named = [each for each in found.ignored if not each.endswith(".bin")]
        code = f", and {', '.join(named)} would have to run" if named else ""
        given = f"{where} is of the kind '{displayed(found.kind)}', which transformers has no class for{code}"
        raise error("RS213", given, "load it yourself, where you trust its code, and use rankscope.capture(model)")
    check_memory(2 * found.size, f"the model {where} of {found.size / 2**20:.0f} MiB", "take a smaller model")
    kind = torch_dtype(dtype)
    with quietly(transformers):
        try:
            config = transformers.CONFIG_MAPPING[found.kind].from_dict(dict(found.config))
            if type(config) not in transformers.MODEL_MAPPING:
                raise ValueError(f"there is no model for {type(config).__name__}")
            own = transformers.MODEL_MAPPING[type(config)]
            own = own[0] if isinstance(own, tuple) else own
            supported = bool(getattr(own, "_supports_sdpa", False))
            model, info = own.from_pretrained(
                str(found.path), config=config, use_safetensors=True, local_files_only=True, trust_remote_code=False,
                attn_implementation="sdpa" if supported else "eager", dtype=kind, output_loading_info=True,
            )  # fmt: skip
        except Exception as reason:  # a configuration that a stranger wrote can fail in any way
            given = f"{where} could not be loaded ({type(reason).__name__}: {displayed(str(reason).splitlines()[0])})"
            raise error("RS215", given, "check it with transformers itself; --debug shows where it failed") from reason
    lacking = sorted(each for each in info["missing_keys"] if OPTIONAL not in each)
    lacking += [str(each[0]) for each in info["mismatched_keys"]]
    if lacking:
        listed = ", ".join(displayed(each) for each in lacking[:3]) + (", …" if len(lacking) > 3 else "")
        given = f"{len(lacking)} weights of {where} are missing or of another shape: {listed}"
        raise error("RS215", given, "they would be random: give a whole model that was saved by one version")
    try:
        return model.to(torch.device(device)).eval()
    except (RuntimeError, AssertionError) as reason:
        given = f"--device {device}: {displayed(str(reason).splitlines()[0])}"
        raise error("RS002", given, "take cpu, or a device that torch sees here") from reason


def torch_dtype(name: str | None) -> Any:
    """The type in which a model computes; that of its weights for none."""
    import torch

    known = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name is None:
        return "auto"
    if name not in known:
        raise error("RS001", f"there is no dtype {name!r} for a model", f"choose one of {', '.join(known)}")
    return known[name]


@contextmanager
def quietly(transformers: Any) -> Iterator[None]:
    """The library without its warnings and progress bars, and without the network."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    offline = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
        if offline is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = offline


def load_model(path: str | Path, *, device: str = "cpu", dtype: str | None = None, download: bool = False) -> Any:
    """A trained model from a folder, or by its name in the local cache; nothing in the folder is executed.

    Args:
        path: a folder with config.json and model.safetensors, or a name such as "bert-base-uncased".
        device: where it runs.
        dtype: the type in which it computes; none for that of its weights.
        download: whether the network may be asked for it.

    Returns:
        A `transformers.PreTrainedModel` in evaluation mode, without output head.

    Raises:
        FormatError: what is refused, and why: pickles, code that would be needed, links out of the folder, headers that
            lie, weights that are missing.
    """
    return model_of(directory(folder_of(str(path), download=download)), device, dtype)
