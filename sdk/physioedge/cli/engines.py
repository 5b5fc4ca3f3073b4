"""``physioedge engines``: which inference engines are here, and building the ExecuTorch one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from physioedge.cli.console import print_json
from physioedge.cli.progress import Expected

_ABOUT_S = 30.0
"""A guess for two cores: the line says about."""

_EPILOG = """\
examples:
  physioedge engines
  physioedge engines build --fetch
  physioedge engines build --to board/engine --compiler aarch64-linux-gnu-g++ \\
      --package unpacked-wheel/executorch --machine aarch64

The built folder is all a device needs besides numpy: copy it and point PHYSIOEDGE_ENGINE_DIR at it."""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "engines",
        help="list the inference engines, or build the ExecuTorch one",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    build = actions.add_parser("build", help="compile the torch-free ExecuTorch engine", description=__doc__)
    build.add_argument("--to", type=Path, metavar="DIR", help="folder to put it in (default: where the runtime looks)")
    build.add_argument("--compiler", metavar="NAME", help="C++17 compiler, also a cross compiler (default: this one's)")
    build.add_argument("--package", type=Path, metavar="DIR", help="folder 'executorch' of an unpacked wheel for "
                       "another processor")  # fmt: skip
    build.add_argument("--fetch", nargs="?", const="", metavar="VERSION", help="let pip fetch the executorch package "
                       "into a temporary folder (130 MB, without torch)")  # fmt: skip
    build.add_argument("--machine", metavar="NAME", help="processor family it is for (default: this one's)")
    build.add_argument("--flag", action="append", default=[], metavar="FLAG", help="more for the compiler; repeatable")
    build.add_argument("--if-possible", action="store_true", help="do nothing, and succeed, where a compiler or the "
                       "executorch package is missing or the engine is up to date")  # fmt: skip
    build.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do the action; 0 when what was asked for is there."""
    if args.action == "build":
        return _build(args)
    rows = engines()
    if args.json:
        print_json({"engines": rows})
    else:
        for row in rows:
            print(f"{row['name']:<12} {'ready' if row['ready'] else 'not here'}: {row['detail']}")
    return 0


def _build(args: argparse.Namespace) -> int:
    from contextlib import nullcontext
    from importlib.util import find_spec

    from physioedge_export.engine_build import build_engine, fetched_package, find_compiler, find_package, is_current
    from physioedge_runtime.engine.native.library import load_library

    if args.if_possible:
        missing = "a C++ compiler" if find_compiler() is None else ""
        if args.fetch is None and not find_spec("executorch"):
            missing = missing or "the executorch package"
        if missing or is_current(args.to, args.fetch):
            _say(args, {"built": False, "reason": f"without {missing}" if missing else "up to date"})
            return 0
    source = nullcontext(find_package(args.package)) if args.fetch is None else fetched_package(args.fetch or None)
    with source as package, Expected("compiling", _ABOUT_S):
        built = build_engine(
            args.to, compiler=args.compiler, package=package.folder, machine=args.machine, flags=args.flag
        )
    version = built.version
    if args.package is None and args.compiler is None:
        version = load_library(built.folder).version
    _say(args, {"built": True, "folder": str(built.folder), "version": version, "bytes": built.bytes})
    return 0


def engines() -> list[dict[str, Any]]:
    """Each engine, those of other packages too: whether it is ready here, and its version or what is missing."""
    from importlib.metadata import entry_points, version

    from physioedge_runtime.engine.native.library import load_library
    from physioedge_runtime.engine.plugged import GROUP
    from physioedge_runtime.errors import EngineError

    rows = [{"name": "onnxruntime", "ready": True, "detail": f"onnxruntime {version('onnxruntime')}"}]
    try:
        rows.append({"name": "executorch", "ready": True, "detail": load_library().version})
    except EngineError as error:
        rows.append({"name": "executorch", "ready": False, "detail": str(error)})
    for point in entry_points(group=GROUP):
        row = {"name": point.name, "ready": True, "detail": f"of {point.dist.name if point.dist else point.value}"}
        try:
            point.load()
        except Exception as error:  # noqa: BLE001 - another package's code
            row |= {"ready": False, "detail": f"{row['detail']}: {type(error).__name__}: {error}"}
        rows.append(row)
    return rows


def _say(args: argparse.Namespace, values: dict[str, Any]) -> None:
    if args.json:
        print_json(values)
    elif values["built"]:
        print(f"Engine {values['version']} in {values['folder']}, {values['bytes'] / 1e6:.1f} MB")
    else:
        print(f"ExecuTorch engine not built: {values['reason']}")
