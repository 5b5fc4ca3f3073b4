"""``physioedge doctor``: what is installed, what works here, what to do about the rest."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from physioedge.cli.console import SHIPPED_BUNDLE, SHIPPED_RECORD, print_json, table
from physioedge.cli.datasets import describe
from physioedge.cli.progress import watched
from physioedge_runtime.errors import PhysioEdgeError

OK, MISSING, BROKEN = "ok", "missing", "broken"
_BASE = {"numpy": "numpy", "onnxruntime": "onnxruntime", "nacl": "pynacl"}
_EXTRAS = {
    "train": ("torch", "safetensors", "peft", "scipy", "sklearn", "matplotlib", "physioedge_weights"),
    "export": ("torch", "safetensors", "scipy", "matplotlib", "onnx", "onnxscript", "physioedge_weights"),
    "executorch": ("executorch", "torchao"),
    "host": ("fastapi", "uvicorn", "safetensors", "physioedge_weights"),
    "edf": ("edfio",),
    "matlab": ("scipy",),
    "avro": ("fastavro",),
    "ble": ("bleak",),
    "brainflow": ("brainflow",),
    "lsl": ("pylsl",),
    "mqtt": ("paho",),
    "view": ("matplotlib", "starlette", "uvicorn"),
    "completion": ("shtab",),
    "rivals": ("scipy", "sklearn", "aeon", "neurokit2"),
    "forecast-rivals": ("statsforecast", "chronos"),
    "ray": ("ray",),
    "fleet": ("fastapi", "uvicorn", "safetensors", "physioedge_weights", "redis", "simpy", "matplotlib"),
}
CHECKOUT = Path(__file__).parents[3]
"""Where the sources lie, if this is not an installed wheel."""
_SLOW = frozenset({"aeon", "ray", "statsforecast", "chronos", "neurokit2"})
"""Importing these takes long: they are only looked for."""
_DISTRIBUTION = {"sklearn": "scikit-learn", "paho": "paho-mqtt", "chronos": "chronos-forecasting"}
_INT8_FLAGS = ("avx512_vnni", "avx_vnni", "avx512f", "avx2", "asimddp", "i8mm")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at; `needed` for the base job, which is streaming a recording through the shipped bundle."""

    part: str
    name: str
    state: str
    detail: str
    do: str = ""
    needed: bool = False


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "doctor",
        help="tell what works on this machine and what to do about the rest",
        description="Look at everything this package can use. Exit code 0 when the base job (physioedge run) works.",
    )
    parser.add_argument("--data", type=Path, help="folder that holds the datasets")
    parser.add_argument("--sbom", type=Path, metavar="FILE", help="write the bill of materials of this install "
                        "instead: every package, version and licence, as CycloneDX JSON")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 0 when everything the base job needs is there."""
    if args.sbom is not None:
        return _write_bill(args.sbom)
    parts: list[Callable[[], list[Finding]]] = [base, assets]
    parts += [partial(extra, name) for name in _EXTRAS]
    parts += [engines, lambda: [cpu(), compiler(), browser(), datasets(args.data)]]
    found = [f for part in watched("looking", len(parts), parts, lambda part: parts.index(part) + 1) for f in part()]
    works = all(f.state == OK for f in found if f.needed)
    if args.json:
        print_json({"base_job_works": works, "findings": [asdict(f) for f in found]})
        return 0 if works else 1
    print(table(("part", "what", "state", "detail"), [(f.part, f.name, f.state, f.detail) for f in found]))
    for finding in found:
        if finding.do:
            print(f"{finding.name}: {finding.do}")
    print("\nThe base job (physioedge run) works." if works else "\nThe base job (physioedge run) does not work here.")
    return 0 if works else 1


def _write_bill(path: Path) -> int:
    from physioedge.bill import bill, installed

    packages = installed()
    path.write_text(bill(packages), encoding="utf-8")
    print(f"{path}: {len(packages)} packages")
    return 0


def base() -> list[Finding]:
    """Python and what the base install brings."""
    python = Finding(
        part="base", name="python", state=OK, detail=f"{platform.python_version()} on {platform.machine()}", needed=True
    )
    return [python, *(_package(module, "base", "", needed=True) for module in _BASE)]


def extra(name: str) -> list[Finding]:
    """One finding: all packages of an extra import, or which do not."""
    return [_extra(name, _EXTRAS[name])]


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    parts = [_package(module, "extra", name) for module in modules]
    worst = next((p for p in parts if p.state == BROKEN), next((p for p in parts if p.state == MISSING), None))
    versions = ", ".join(f"{p.name} {p.detail}" for p in parts if p.state == OK)
    if worst is None:
        return Finding(part="extra", name=name, state=OK, detail=versions)
    lacking = ", ".join(p.name for p in parts if p.state == MISSING)
    detail = f"{worst.name}: {worst.detail}" if worst.state == BROKEN else f"without {lacking}"
    return Finding(part="extra", name=name, state=worst.state, detail=detail, do=_to_install(name))


def _to_install(extra: str) -> str:
    """How to get an extra: a checkout has the weights beside it, and no index need know them."""
    if not (CHECKOUT / "weights" / "pyproject.toml").exists():
        return f"pip install 'physioedge[{extra}]'"
    weights = f"{CHECKOUT / 'weights'} " if "physioedge_weights" in _EXTRAS[extra] else ""
    return f"pip install {weights}'{CHECKOUT}[{extra}]'"


def _package(module: str, part: str, extra: str, needed: bool = False) -> Finding:
    """Whether a package can be imported, not only whether it is there."""
    distribution = _BASE.get(module) or _DISTRIBUTION.get(module, module)
    do = _to_install(extra) if extra else f"pip install {distribution}"
    try:
        detail = version(distribution)
        with _quiet():
            if module not in _SLOW:
                importlib.import_module(module)
    except PackageNotFoundError:
        return Finding(part=part, name=module, state=MISSING, detail="not installed", do=do, needed=needed)
    except Exception as error:  # noqa: BLE001 - a broken package may raise anything, and that is the finding
        line = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Finding(part=part, name=module, state=BROKEN, detail=line[:100], do=do, needed=needed)
    return Finding(part=part, name=module, state=OK, detail=detail, needed=needed)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Mute what heavy packages print and warn while they are imported."""
    sys.stderr.flush()
    kept = os.dup(2)
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def assets() -> list[Finding]:
    """The shipped recording and bundle, read and verified as `run` would."""
    return [
        _asset("shipped recording", SHIPPED_RECORD, _read_record),
        _asset("shipped bundle", SHIPPED_BUNDLE, _verify),
    ]


def _asset(name: str, path: Path, check: Callable[[Path], str]) -> Finding:
    try:
        detail = check(path)
    except (PhysioEdgeError, OSError, ImportError) as error:
        state = BROKEN if path.exists() else MISSING
        do = "install physioedge again; its files are incomplete or changed"
        return Finding(part="assets", name=name, state=state, detail=str(error)[:160], do=do, needed=True)
    return Finding(part="assets", name=name, state=OK, detail=detail, needed=True)


def _read_record(path: Path) -> str:
    from physioedge.signals.read import read_recording

    return read_recording(path).describe()


def _verify(path: Path) -> str:
    from physioedge_runtime import Bundle
    from physioedge_runtime.engine import load_engine

    bundle = Bundle.open(path)
    load_engine(bundle)  # runs the golden vectors on this machine
    return f"signature, digests and golden vectors hold; labels {', '.join(bundle.contract.labels)}"


def engines() -> list[Finding]:
    """Both engines: what onnxruntime can run on, and whether the ExecuTorch one is built and loads."""
    return [_onnxruntime(), _executorch()]


def _onnxruntime() -> Finding:
    try:
        import onnxruntime
    except ImportError:
        return Finding(part="engine", name="onnxruntime", state=MISSING, detail="-", do="", needed=True)
    providers = ", ".join(onnxruntime.get_available_providers())
    return Finding(part="engine", name="onnxruntime", state=OK, detail=f"runs on {providers}")


def _executorch() -> Finding:
    from physioedge_runtime.engine.native.library import is_built, load_library

    name, do = "executorch, without torch", "physioedge engines build --fetch   (faster and smaller; not needed)"
    if not is_built():
        return Finding(part="engine", name=name, state=MISSING, detail="not built", do=do)
    try:
        return Finding(part="engine", name=name, state=OK, detail=load_library().version)
    except PhysioEdgeError as error:
        return Finding(part="engine", name=name, state=BROKEN, detail=str(error)[:160], do=do)


def cpu() -> Finding:
    """Instructions that make int8 fast; without them int8 may be slower than fp32."""
    flags = cpu_flags()
    found = [flag for flag in _INT8_FLAGS if flag in flags]
    dot = any(flag in found for flag in ("avx512_vnni", "avx_vnni", "asimddp", "i8mm"))
    detail = f"{os.cpu_count()} cores; " + (", ".join(found) if found else "no int8 instructions known")
    do = "" if dot else "no int8 dot products seen: measure with 'physioedge bench' whether int8 is faster here"
    return Finding(part="machine", name="cpu", state=OK, detail=detail, do=do)


def cpu_flags() -> frozenset[str]:
    """Flags as Linux names them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(flag for line in flags for flag in line)


def compiler() -> Finding:
    """A C++ compiler, which only building the ExecuTorch engine needs."""
    from physioedge_export.engine_build import find_compiler

    found = find_compiler()
    if found:
        return Finding(part="machine", name="c++ compiler", state=OK, detail=Path(found).name)
    do = (
        "to build the ExecuTorch engine, which alone needs one: apt install g++ (Debian, Ubuntu), dnf install gcc-c++ "
        "(Fedora), xcode-select --install (macOS)"
    )
    return Finding(part="machine", name="c++ compiler", state=MISSING, detail="not found", do=do)


def browser() -> Finding:
    """A browser for the live page; on a machine without a screen the page is looked at from another one."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "firefox"))), None)
    if found:
        return Finding(part="machine", name="browser", state=OK, detail=Path(found).name)
    do = "physioedge view prints an address for any browser, also through ssh -L; tests of pages: apt install chromium"
    return Finding(part="machine", name="browser", state=MISSING, detail="none that is known by name", do=do)


def datasets(root: Path | None) -> Finding:
    """How much of MIT-BIH is here; training and evaluation need it, running does not."""
    entry = describe("mitbih", root)
    here, total = entry["records_here"], entry["records"]
    detail = f"{here} of {total} records" + (f" in {entry['folder']}" if entry["folder"] else "")
    do = "" if here == total else "training and evaluation need it: see docs/datasets.md"
    return Finding(part="data", name="mitbih", state=OK if here == total else MISSING, detail=detail, do=do)
