"""A model from a folder that was looked through, by the transformers library: its own classes, without the network."""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from rankscope.arrays import check_memory
from rankscope.errors import RankscopeError, error
from rankscope.generators.pretrained.directory import CONFIG, SUFFIXES, Directory, directory, staged
from rankscope.generators.stored import displayed

WANTED: Final = ("*.safetensors", *(f"*{suffix}" for suffix in SUFFIXES))
"""The files of a model that are downloaded: no code, and no pickles."""

OPTIONAL: Final = ("pooler.weight", "pooler.bias", "pooler.dense.weight", "pooler.dense.bias")
"""How the names of weights end that may be lacking, because no attention passes through them."""

ALLOWANCE: Final = 4, 2**16
"""A model may be made with so many times the numbers of its files, as stacks that share theirs are, and some more."""

BUFFERS: Final = 2**26
"""The most numbers of a model's own tables, such as masks, that are believed without as many in its files."""


def transformers_module() -> Any:
    """transformers, or an error that says how to install it."""
    try:
        with warnings.catch_warnings():  # in a notebook its progress bars, which are switched off, miss a package
            warnings.filterwarnings("ignore", message="IProgress not found")
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
    if os.path.isdir(name):  # unlike pathlib's, it takes a name that no file can have
        return path
    if os.path.exists(name) or path.suffix in (".safetensors", ".json", ".npz", ".npy"):
        raise error("RS501", f"'{displayed(path.name)}' is no folder", "give the folder of a model, or its name")
    transformers_module()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=not download, allow_patterns=list(WANTED)))
    except Exception as reason:  # the hub's own errors, those of the network, and malformed names
        why = "could not be downloaded" if download else "is neither a folder nor in the local cache"
        remedy = "check the name" if download else "give a folder, or add --download to fetch it by this name"
        raise error("RS501", f"the model '{displayed(name)}' {why} ({type(reason).__name__})", remedy) from reason


def config_of(found: Directory) -> Any:
    """The configuration of a model, by a class of the library's own.

    Raises:
        FormatError: RS213 for an architecture that the library has not, RS215 for a configuration that means nothing.
    """
    transformers = transformers_module()
    if found.kind not in transformers.CONFIG_MAPPING:
        code = f", and {', '.join(map(displayed, found.code))} would have to run" if found.code else ""
        given = f"'{found.name}' is of the kind '{displayed(found.kind)}', which transformers has no class for{code}"
        raise error("RS213", given, "load it yourself, where you trust its code, and use rankscope.capture(model)")
    with quietly(transformers), blamed(found, f"the {CONFIG} of '{found.name}' cannot be used"):
        config = transformers.CONFIG_MAPPING[found.kind].from_dict(dict(found.config))
        if type(config) not in transformers.MODEL_MAPPING:
            raise ValueError(f"transformers has no model for {type(config).__name__}")
        return config


def model_of(found: Directory, device: str = "cpu", dtype: str | None = None) -> Any:
    """The model, ready to run, without its output head; attention by torch's fused function where it has that.

    Raises:
        UsageError: RS002 and RS001, a device or a type that there is not.
        FormatError: RS213 for an architecture that the library has not, RS215 for weights that are missing or do not
            fit its configuration.
        ResourceError: RS301, the weights do not fit into memory.
    """
    transformers = transformers_module()
    import torch

    check_device(device)
    kind = torch_dtype(dtype)
    config = config_of(found)
    needed = found.size if dtype is None else found.numbers * kind.itemsize
    what = f"the model '{found.name}' of {found.size / 2**20:.0f} MiB"
    check_memory(found.size + needed, what, "take a smaller model")
    own = transformers.MODEL_MAPPING[type(config)]
    own = own[0] if isinstance(own, tuple) else own
    supported = bool(getattr(own, "_supports_sdpa", False))
    with (
        quietly(transformers),
        staged(found) as folder,
        blamed(found, f"'{found.name}' could not be loaded", folder),
        no_larger(found),
    ):
        model, info = own.from_pretrained(
            str(folder), config=config, use_safetensors=True, local_files_only=True, trust_remote_code=False,
            attn_implementation="sdpa" if supported else "eager", dtype=kind, output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
    missing = {each for each in info["missing_keys"] if not each.endswith(OPTIONAL)}
    lacking = sorted(missing | {str(each[0]) for each in info["mismatched_keys"]})
    if lacking:
        listed = ", ".join(displayed(each) for each in lacking[:3]) + (", …" if len(lacking) > 3 else "")
        are = f"1 weight of '{found.name}' is" if len(lacking) == 1 else f"{len(lacking)} weights of '{found.name}' are"
        given = f"{are} missing or of another shape: {listed}"
        raise error("RS215", given, "they would be random: give a whole model that was saved by one version")
    return model.to(torch.device(device)).eval()


def check_device(name: str) -> None:
    """Refuse a device that torch does not see here, before anything is loaded."""
    import torch

    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as reason:
        given = f"--device {displayed(name)}: torch cannot compute there"
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        others = [each for each, is_there in present.items() if is_there]
        raise error("RS002", given, f"take {' or '.join(['cpu', *others])}") from reason


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
def no_larger(found: Directory) -> Iterator[None]:
    """Refuse a model that is being made with more numbers than its files can fill, before they take any memory."""
    from torch.nn.modules.module import (
        register_module_buffer_registration_hook,
        register_module_parameter_registration_hook,
    )

    times, more = ALLOWANCE
    parameters, buffers = dict[int, Any](), dict[int, Any]()

    def counted(seen: dict[int, Any], most: int) -> Any:
        def count(module: Any, name: str, values: Any) -> None:
            if values is None or not values.is_meta:
                return
            seen[id(values)] = values
            if sum(each.numel() for each in seen.values()) > most or len(seen) > times * (found.arrays + 64):
                given = f"the {CONFIG} of '{found.name}' describes a model of more than {most} numbers"
                weights = f"and its weights are {found.arrays} arrays of {found.numbers} numbers"
                raise error("RS215", f"{given} or many more arrays, {weights}", "give the model's own files")

        return count

    with ExitStack() as undo:
        most = times * found.numbers + more
        for register, count in (
            (register_module_parameter_registration_hook, counted(parameters, most)),
            (register_module_buffer_registration_hook, counted(buffers, max(most, BUFFERS))),
        ):
            undo.callback(register(count).remove)
        yield


@contextmanager
def blamed(found: Directory, what: str, folder: Path | None = None) -> Iterator[None]:
    """Whatever fails here is the fault of the files: what a stranger wrote can make a library fail in any way."""
    try:
        yield
    except (RankscopeError, MemoryError):
        raise
    except BaseException as reason:
        if (
            not isinstance(reason, Exception) and type(reason).__name__ != "PanicException"
        ):  # what a tokenizer in Rust has
            raise
        if type(reason).__name__ == "OutOfMemoryError" or "allocate memory" in str(reason):
            raise MemoryError from reason
        lines = (str(reason) if folder is None else str(reason).replace(str(folder), found.name)).split("\n")
        said = next((line.strip() for line in lines if line.strip()), "")
        given = f"{what} ({displayed(': '.join(filter(None, [type(reason).__name__, said])))})"
        raise error("RS215", given, "check it with transformers itself; --debug shows where it failed") from reason


@contextmanager
def quietly(transformers: Any) -> Iterator[None]:
    """The library without its warnings and progress bars, and without the network."""
    from huggingface_hub import constants

    logging = transformers.utils.logging
    before, bars, offline = logging.get_verbosity(), logging.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True  # the variable of this name is read once, when the hub's library is imported
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
        constants.HF_HUB_OFFLINE = offline


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
