"""The native block of a step on 64-bit Arm, cross-compiled and emulated: with dot products, without, as plain loops.

Nothing here tells how fast an Arm processor is: of speed there is the number of executed instructions alone.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest
from numpy.typing import NDArray
from step_block_cases import BLOCKS, LAYERS, Case, answers, block_case, build, check_block, layer_case

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"
PLAIN_NEON, DOT_PRODUCTS = "cortex-a53", "cortex-a76"
"""Processors without and with SDOT."""
THERE = {PLAIN_NEON: ("plain", "neon"), DOT_PRODUCTS: ("plain", "neon", "dot")}
EACH = [(cpu, name) for cpu, names in THERE.items() for name in names]


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver for Arm."""
    missing = [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: on Debian apt-get install g++-aarch64-linux-gnu qemu-user-static")
    return build(COMPILER, tmp_path_factory.mktemp("arm"), "-static")


def emulated(driver: Path, cpu: str, name: str) -> list[str | Path]:
    return [EMULATOR, "-cpu", cpu, driver, name]


@cache
def layers() -> tuple[Case, ...]:
    return tuple(layer_case(*sizes) for sizes in LAYERS)


@cache
def blocks(int8: bool) -> tuple[Case, ...]:
    return tuple(block_case(*sizes, int8=int8) for sizes in BLOCKS)


def joined(found: Sequence[Sequence[NDArray[np.float32]]]) -> NDArray[np.float32]:
    assert found, "this processor has these instructions"
    return np.concatenate([array.ravel() for arrays in found for array in arrays])


@pytest.mark.parametrize(("cpu", "name"), EACH)
def test_sums_of_int8_layers_are_exact_and_those_of_this_machine(
    arm: Path, step_block_here: Path, cpu: str, name: str
) -> None:
    found = joined(answers(emulated(arm, cpu, name), layers()))
    np.testing.assert_array_equal(found, joined([case.expected for case in layers()]))
    np.testing.assert_array_equal(found, joined(answers([step_block_here, "plain"], layers())))


@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize(("cpu", "name"), EACH)
def test_the_block_on_arm_computes_what_torch_and_plain_loops_do(arm: Path, cpu: str, name: str, int8: bool) -> None:
    found = answers(emulated(arm, cpu, name), blocks(int8))
    for given, case, sizes in zip(found, blocks(int8), BLOCKS, strict=True):
        check_block(given, case, past=sizes[3], int8=int8)
    plain = answers(emulated(arm, PLAIN_NEON, "plain"), blocks(int8))
    np.testing.assert_array_equal(joined(found), joined(plain), "whole numbers in between are the same: so is all else")


@pytest.mark.parametrize("int8", [True, False])
def test_the_block_on_arm_computes_what_this_machine_does(arm: Path, step_block_here: Path, int8: bool) -> None:
    best = subprocess.run([step_block_here, "best", "1"], capture_output=True, text=True, check=True).stdout.strip()
    found = joined(answers(emulated(arm, DOT_PRODUCTS, "dot"), blocks(int8)))
    wanted = joined(answers([step_block_here, best], blocks(int8)))
    np.testing.assert_allclose(found, wanted, atol=0.05 if int8 else 2e-5, rtol=1e-4)
    assert np.abs(found - wanted).mean() < (2e-3 if int8 else 2e-6)


@pytest.mark.parametrize(("cpu", "best"), [(PLAIN_NEON, "neon"), (DOT_PRODUCTS, "dot")])
def test_the_best_instructions_are_found_where_it_runs(arm: Path, cpu: str, best: str) -> None:
    command = [*map(str, emulated(arm, cpu, "best")), "1"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == best
    assert not answers(emulated(arm, PLAIN_NEON, "dot"), layers()[:1]), "refused where they are not"


def executed(driver: Path, name: str, case: Case, *, repeats: int) -> int:
    """Number of instructions a run of the driver takes: the emulator tells each one, in a line of its own."""
    told = subprocess.run([EMULATOR, "--help"], capture_output=True, text=True, check=False).stdout
    each = "-one-insn-per-tb" if "one-insn-per-tb" in told else "-singlestep"
    command = [EMULATOR, "-cpu", DOT_PRODUCTS, each, "-d", "exec,nochain", str(driver), name, str(repeats)]
    with TemporaryFile() as cases:  # no pipe: it would be full while the emulator waits to be read
        cases.write(case.data)
        cases.seek(0)
        with subprocess.Popen(command, stdin=cases, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            count = sum(line.startswith(b"Trace") for line in running.stderr or ())
    assert running.returncode == 0
    return count


def instructions(driver: Path, name: str, case: Case) -> int:
    """Of one block once its memory is there: two runs less one."""
    return executed(driver, name, case, repeats=2) - executed(driver, name, case, repeats=1)


def test_instructions_of_its_own_take_fewer_of_them(arm: Path) -> None:
    case = block_case(5, 2, 16, 11, 0, int8=True)
    counts = {name: instructions(arm, name, case) for name in THERE[DOT_PRODUCTS]}
    assert 1.5 * counts["dot"] < 1.2 * counts["neon"] < counts["plain"], counts
