"""Ways to fit a network with few trained numbers, by name: wrap, count, save, load, merge alike for all.

Each is a folder with ``config.py``, its shape, and ``inject.py``, which puts it into a network.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from physioedge.adapters.bitfit.config import BiasShape
from physioedge.adapters.bitfit.inject import BiasTuned
from physioedge.adapters.dora.config import DoraShape
from physioedge.adapters.fourierft.config import FourierShape
from physioedge.adapters.ia3.config import Ia3Shape
from physioedge.adapters.ln_tuning.config import NormShape
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.plain_lora.config import PlainLoraShape
from physioedge.adapters.qlora.config import QloraShape
from physioedge.adapters.qlora.quantised import restore
from physioedge.adapters.vera.config import VeraShape
from physioedge_export.merge import CONFIG_FILE, WEIGHTS_FILE
from physioedge_runtime.errors import AdapterError

METHOD_FILE = "method.json"
Shape = (
    BiasShape | DoraShape | FourierShape | Ia3Shape | LoraShape | NormShape | PlainLoraShape | QloraShape | VeraShape
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to fit.

    Attributes
    ----------
    folder : str
        Of `physioedge.adapters`.
    shape : Shape
        How it is used where nothing else is said.
    slots : bool
        Whether a graph with slots can take it; all others ship merged.
    """

    folder: str
    shape: Shape
    slots: bool = False

    def inject(self, model: nn.Module, train_modules: tuple[str, ...]) -> Any:
        """The wrapped network; `model` is changed in place."""
        module = importlib.import_module(f"physioedge.adapters.{self.folder}.inject")
        return module.inject(model, self.shape, train_modules=train_modules)


METHODS: Mapping[str, Method] = {
    "lora": Method(folder="plain_lora", shape=PlainLoraShape(), slots=True),
    "lora_shared": Method(folder="lora", shape=LoraShape(), slots=True),
    "dora": Method(folder="dora", shape=DoraShape()),
    "bitfit": Method(folder="bitfit", shape=BiasShape()),
    "ln_tuning": Method(folder="ln_tuning", shape=NormShape()),
    "vera": Method(folder="vera", shape=VeraShape()),
    "fourierft": Method(folder="fourierft", shape=FourierShape()),
    "ia3": Method(folder="ia3", shape=Ia3Shape()),
    "qlora_int8": Method(folder="qlora", shape=QloraShape(bits=8)),
    "qlora_4bit": Method(folder="qlora", shape=QloraShape(bits=4)),
}
"""By the name of the arm; ``lora`` fits A and B, ``lora_shared`` has the frozen A a bundle's adapters share."""


def method_of(name: str, **shape: Any) -> Method:
    """The method of a name, with other values of its shape where they are given.

    Raises
    ------
    AdapterError
        There is none, or its shape has no such value.
    """
    if name not in METHODS:
        raise AdapterError(f"method {name!r}", f"one of {', '.join(METHODS)}", "Name one of them.")
    found = METHODS[name]
    try:
        return replace(found, shape=replace(found.shape, **shape))
    except TypeError as error:
        raise AdapterError(f"{name} with {error}", "values of its shape", f"See adapters/{found.folder}.") from error


def wrap(name: str, model: nn.Module, *, train_modules: tuple[str, ...] = (), **shape: Any) -> Any:
    """Make `model`, in place, one of which only the method's numbers and the named modules are trained.

    Parameters
    ----------
    name : str
        Key of `METHODS`.
    model : nn.Module
    train_modules : tuple of str
        Such as ``("projection",)``: trained in full and saved with the rest.
    shape
        Values of the method's shape, such as ``rank=8``.

    Returns
    -------
    peft.PeftModel or BiasTuned
    """
    return method_of(name, **shape).inject(model, train_modules)


def inner(wrapped: Any) -> Any:
    """The network inside what `wrap` gave, with the method in it."""
    return wrapped.model if isinstance(wrapped, BiasTuned) else wrapped.base_model.model


def trained_numbers(wrapped: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in wrapped.parameters() if p.requires_grad)


def merged(wrapped: Any) -> nn.Module:
    """A plain network in float, in evaluation mode, that gives what `wrapped` gives; `wrapped` stays as it is.

    A quantised base becomes float first: what was trained is never rounded to its levels.
    """
    plain: nn.Module = restore(copy.deepcopy(wrapped)).merge_and_unload()  # type: ignore[operator]
    return plain.eval()


def save(folder: Path, name: str, wrapped: Any, *, train_modules: tuple[str, ...] = (), **shape: Any) -> None:
    """Write what is trained: peft's two files (of BitFit alike ones) and, last, ``method.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(wrapped, BiasTuned):
        save_file({key: value.contiguous() for key, value in wrapped.trained().items()}, folder / WEIGHTS_FILE)
        (folder / CONFIG_FILE).write_text(json.dumps({"peft_type": "BITFIT"}) + "\n")
    else:
        wrapped.save_pretrained(str(folder), safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    said = {"method": name, "shape": asdict(method_of(name, **shape).shape), "train_modules": list(train_modules)}
    part = folder / f"{METHOD_FILE}.part"
    part.write_text(json.dumps(said, indent=1) + "\n")
    part.replace(folder / METHOD_FILE)


def load(folder: Path, model: nn.Module) -> Any:
    """What `save` wrote, around a network that is as the first one was before it was wrapped, in place.

    Raises
    ------
    AdapterError
        The folder is not such a one, or damaged, or of another network.
    """
    try:
        said = json.loads((folder / METHOD_FILE).read_text())
        shape = {key: tuple(v) if isinstance(v, list) else v for key, v in said["shape"].items()}
        name, train_modules = said["method"], tuple(said["train_modules"])
        wrapped = wrap(name, model, train_modules=train_modules, **shape)
        values = load_file(folder / WEIGHTS_FILE)
        if isinstance(wrapped, BiasTuned):
            wrapped.take(values)
            return wrapped.eval()
        _put(wrapped, values)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise AdapterError(
            f"{folder.name} ({type(error).__name__}: {str(error)[:200]})",
            f"{METHOD_FILE}, {CONFIG_FILE} and {WEIGHTS_FILE} of this network",
            "Name a folder that was saved with this network.",
        ) from error
    return wrapped.eval()


def _put(wrapped: Any, values: dict[str, Any]) -> None:
    """Put peft's arrays into a model wrapped alike; all of them or an error."""
    import peft

    wanted = peft.get_peft_model_state_dict(wrapped)
    if {key: value.shape for key, value in wanted.items()} != {key: value.shape for key, value in values.items()}:
        raise ValueError(f"{len(values)} arrays for {len(wanted)} places")
    peft.set_peft_model_state_dict(wrapped, values)
