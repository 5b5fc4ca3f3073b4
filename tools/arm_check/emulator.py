"""Arm processors that qemu imitates, and running Python on one of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_check.commands import COMPILER, EMULATOR, need, run
from arm_check.system import System

GUEST_TIMEOUT_S = 1800.0
PROBE = Path(__file__).with_name("outer_product.cpp")


@dataclass(frozen=True)
class Cpu:
    """One processor.

    Attributes
    ----------
    model : str
        As qemu's ``-cpu`` takes it.
    implementer, part : int
        From the processor's identification register (MIDR_EL1); zero where they are not known.
    exact : bool
        Whether refused golden vectors are a fault of ours here: false where qemu itself computes wrongly.
    """

    model: str
    implementer: int = 0
    part: int = 0
    exact: bool = True


KNOWN = {
    cpu.model: cpu
    for cpu in (
        Cpu("cortex-a53", 0x41, 0xD03),
        Cpu("cortex-a72", 0x41, 0xD08),
        Cpu("cortex-a76", 0x41, 0xD0B),
        Cpu("neoverse-n1", 0x41, 0xD0C),
        Cpu("max,sme=off", 0, 0x51),
        Cpu("max", 0, 0x51, exact=False),
    )
}
DEFAULT = ("cortex-a53", "cortex-a76", "max,sme=off", "max")


def cpu_named(model: str) -> Cpu:
    """A known processor, or one of which only qemu knows more."""
    return KNOWN.get(model, Cpu(model))


def version() -> str:
    """Name and version of the emulator; MissingExtra where there is none."""
    need([EMULATOR])
    first = run([EMULATOR, "--version"], what="qemu's version", do="Install qemu-user-static again.").splitlines()[0]
    return first.partition("(")[0].strip()


def identify(system: System, cpu: Cpu) -> None:
    """Put an Arm processor's description where programs in the emulator look for it.

    qemu-user shows them this machine's, which is no Arm one: onnxruntime from 1.30 on dies of it at import.
    """
    cores = [
        f"processor\t: {core}\nFeatures\t: fp asimd\nCPU implementer\t: {cpu.implementer:#04x}\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {cpu.part:#05x}\nCPU revision\t: 0\n"
        for core in range(os.cpu_count() or 1)
    ]
    place = system.root / "proc" / "cpuinfo"
    place.parent.mkdir(exist_ok=True)
    place.write_text("\n".join([*cores, f"Hardware\t: {cpu.model} (emulated by qemu-user)\n"]), encoding="ascii")


def run_python(system: System, cpu: Cpu, paths: Sequence[Path], arguments: Sequence[str | Path]) -> str:
    """Output of a Python program on an emulated processor.

    Parameters
    ----------
    paths : sequence of Path
        Folders to import from.
    arguments : sequence
        The program and its arguments.

    Raises
    ------
    PhysioEdgeError
        It failed or crashed.
    """
    identify(system, cpu)
    return run(
        [EMULATOR, "-cpu", cpu.model, "-L", system.root, system.python, *arguments],
        what=f"the check on {cpu.model}",
        do="See the message; --cpu chooses other processors, --onnxruntime another version.",
        env=environment(paths, system.engine),
        timeout_s=GUEST_TIMEOUT_S,
    )


def environment(paths: Sequence[Path], engine: Path | None = None) -> dict[str, str]:
    """Environment of the checking program: nothing of this one's Python but the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_", "QEMU_"))}
    kept |= {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return kept if engine is None else kept | {"PHYSIOEDGE_ENGINE_DIR": str(engine)}


def outer_product(system: System, cpu: Cpu) -> str:
    """What the emulator makes of the int8 outer product of SME, in words."""
    need([COMPILER])
    program = system.folder / PROBE.stem
    if not program.exists() or program.stat().st_mtime < PROBE.stat().st_mtime:
        run(
            [COMPILER, "-O1", "-static", PROBE, "-o", program],
            what=f"compiling of {PROBE.name}",
            do="It needs binutils 2.39 or newer; --no-probe leaves it out.",
        )
    return run(
        [EMULATOR, "-cpu", cpu.model, program],
        what=f"{program.name} on {cpu.model}",
        do="--no-probe leaves it out.",
    ).strip()
