"""Runs a bundle under emulated 64-bit Arm processors and compares every graph with this machine.

Makes the Arm system first, once, in a cache folder: Debian's Python and the wheels a device would install, some 430 MB.
Exit code 1 when a processor that computes right gives other results, or a wrong graph goes unnoticed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arm_check import emulator, reference, report
from arm_check.commands import COMPILER, EMULATOR, need
from arm_check.emulator import Cpu
from arm_check.system import (
    DEVICE_PACKAGES,
    Debian,
    System,
    installed,
    make_engine,
    make_folder,
    make_root,
    make_site,
    root_tools,
    suite_of_this_machine,
)
from physioedge import results
from physioedge.cli.console import SHIPPED_BUNDLE, SHIPPED_RECORD, fail, table
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import PhysioEdgeError

REPOSITORY = Path(__file__).parents[2]
FOLDER_VARIABLE, MIRROR_VARIABLE = "PHYSIOEDGE_ARM_DIR", "PHYSIOEDGE_ARM_MIRROR"
RECORDINGS = (SHIPPED_RECORD, *(REPOSITORY / "samples" / "data" / f"{name}.hea" for name in ("100", "213", "232")))
WINDOWS = 120


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = argparse.ArgumentParser(
        prog="arm_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("bundle", nargs="?", type=Path, default=SHIPPED_BUNDLE, help="the shipped one by default")
    made.add_argument("--cpu", action="append", metavar="MODEL", help=f"qemu's name of a processor; repeatable "
                      f"(default: {' '.join(emulator.DEFAULT)})")  # fmt: skip
    made.add_argument("--onnxruntime", default="", metavar="VERSION", help="default: the one installed here")
    made.add_argument("--windows", type=_positive, default=WINDOWS, metavar="N", help=f"default {WINDOWS}")
    made.add_argument("--record", action="append", type=Path, metavar="FILE", help="recording to take windows of; "
                      "repeatable (default: those that ship)")  # fmt: skip
    made.add_argument("--dir", type=Path, metavar="FOLDER", default=None,
                      help=f"the cache (default: ${FOLDER_VARIABLE}, else .arm)")  # fmt: skip
    made.add_argument("--suite", metavar="NAME", help="Debian release (default: this machine's)")
    made.add_argument("--mirror", metavar="URL", default=os.environ.get(MIRROR_VARIABLE, ""),
                      help=f"Debian mirror (default: ${MIRROR_VARIABLE}, else apt's)")  # fmt: skip
    made.add_argument("--out", type=Path, metavar="FILE", help="write the rows here (JSON)")
    made.add_argument("--prepare", action="store_true", help="only make the Arm system")
    made.add_argument("--no-probe", action="store_true", help="do not test the processor's int8 outer product")
    return made


def main(argv: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Exit code: 0 when everything holds, 1 when not, 2 for wrong options."""
    args = parser().parse_args(argv)
    try:
        system = System(folder=cache_folder(args.dir))
        paths = prepare(system, args, say)
        return 0 if args.prepare else check(system, paths, args, say)
    except PhysioEdgeError as error:
        return fail(error)


def cache_folder(named: Path | None) -> Path:
    """Where the Arm system lies: as named, by the environment, or in the checkout."""
    return (named or Path(os.environ.get(FOLDER_VARIABLE) or REPOSITORY / ".arm")).absolute()


def prepare(system: System, args: argparse.Namespace, say: Callable[[str], None]) -> list[Path]:
    """Make what is not there yet; folders for the emulated Python to import from."""
    need([EMULATOR, COMPILER, *root_tools(system)])
    debian = Debian(suite=args.suite or suite_of_this_machine(), mirror=args.mirror)
    if not (system.root / "usr").exists():
        say(f"Making a Debian {debian.suite} for Arm in {system.folder}: a minute or two")
    make_folder(system)
    make_root(system, debian)
    sites = [make_site(system, name) for name in DEVICE_PACKAGES]
    sites.append(make_site(system, "onnxruntime", args.onnxruntime or installed("onnxruntime")))
    make_engine(system)
    return [*sites, reference.RUNTIME]


def check(system: System, paths: list[Path], args: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run here, run there, compare, print, and write; 0 when nothing is wrong."""
    work = system.folder / "work"
    work.mkdir(exist_ok=True)
    copy, inputs = work / "bundle.physio", work / "inputs.npz"
    bundle = Bundle.open(args.bundle)
    shutil.copyfile(args.bundle, copy)  # all sides get the same file, whatever happens to it meanwhile
    count = reference.write_inputs(inputs, bundle, args.record or RECORDINGS, args.windows)
    here = reference.run_here(copy, inputs, work / "here.json")
    cpus = [emulator.cpu_named(model) for model in dict.fromkeys(args.cpu or emulator.DEFAULT)]
    say(f"{len(bundle.manifest.graphs)} graphs of {bundle.manifest.name}, {count} real windows, {emulator.version()}")
    graphs: list[report.Comparison] = []
    asked: list[report.Request] = []
    wrong: list[str] = []
    for cpu in cpus:
        found = _run_there(system, paths, cpu, (copy, inputs, work), say)
        graphs += (rows := report.compare(cpu.model, found, here))
        asked += (wanted := report.requests(cpu.model, found, here))
        wrong += report.faults(cpu, rows, wanted)
    probes = {} if args.no_probe else {cpu.model: emulator.outer_product(system, cpu) for cpu in cpus}
    for line in _text(graphs, asked, probes, wrong):
        say(line)
    if args.out is not None:
        extra = {"bundle": bundle.digest, "emulator": emulator.version(), "windows": count, "outer_product": probes}
        versions = {"here": _versions(here), "there": _versions(found)}
        rows_out = report.rows(bundle.contract.task, graphs, asked)
        results.write(args.out, "make arm", rows_out, **extra, versions=versions, faults=wrong)
    return 1 if wrong else 0


def _run_there(
    system: System, paths: list[Path], cpu: Cpu, files: tuple[Path, Path, Path], say: Callable[[str], None]
) -> dict[str, Any]:
    bundle, inputs, work = files
    out, start_s = work / f"{cpu.model}.json", time.monotonic()
    emulator.run_python(system, cpu, paths, [reference.GUEST, bundle, inputs, out])
    say(f"  {cpu.model}: done in {time.monotonic() - start_s:.0f} s (emulated: says nothing about speed)")
    return reference.read(out)


def _text(
    graphs: list[report.Comparison], asked: list[report.Request], probes: dict[str, str], wrong: list[str]
) -> list[str]:
    """The findings for people."""
    lines = ["", table(report.HEADER, map(report.graph_cells, graphs)), ""]
    lines += [table(report.REQUEST_HEADER, map(report.request_cells, asked)), ""]
    lines += [f"{graph.cpu}: {graph.message}" for graph in graphs if graph.message]
    lines += [f"{cpu}: int8 outer product (SMOPA) of this emulator: {said}" for cpu, said in probes.items()]
    return [*lines, "", *([f"Wrong: {fault}" for fault in wrong] or ["All as it should be."])]


def _versions(found: dict[str, Any]) -> dict[str, str]:
    engines = {part["engine"]: part.get("version", "") for part in found["graphs"]}
    return {**found["versions"], **{name: text.rpartition(" ")[2] for name, text in engines.items() if text}}


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
