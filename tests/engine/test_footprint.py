"""What stays in memory after loading: the graph in the engine's own form, and nothing else of the bundle."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from physioedge import results
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.ort import OrtEngine
from physioedge_runtime.stream import Stream

ROOT = Path(__file__).parents[2]
STAGE, RESULTS = ROOT / "benchmarks" / "footprint_stage.py", ROOT / "results"
SHIPPED = Path(sys.modules["physioedge_runtime"].__path__[0]) / "assets" / "arrhythmia.physio"


# In a process of its own: threads that other tests left behind allocate too, and tracemalloc counts for all of them.
METER = """
import gc, sys, tracemalloc
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine import load_engine

load_engine(Bundle.open(sys.argv[1]))  # imports are not what is measured
gc.collect()
tracemalloc.start()
figures = {}
bundle = Bundle.open(sys.argv[1])
figures["opened"], figures["most_in_opening"] = tracemalloc.get_traced_memory()
figures["read"] = len(bundle.read(bundle.graph().file))
figures["most_in_reading"] = tracemalloc.get_traced_memory()[1]
before = tracemalloc.get_traced_memory()[0]
tracemalloc.reset_peak()
engine = load_engine(bundle)
figures["most_in_loading"] = tracemalloc.get_traced_memory()[1] - before
gc.collect()
figures["loaded"] = tracemalloc.get_traced_memory()[0] - before
files = bundle.manifest.files
figures["engine"] = type(engine).__name__
figures["smallest_graph"] = min(files[graph.file].bytes for graph in bundle.manifest.graphs)
figures["graph"], figures["golden"] = files[bundle.graph().file].bytes, files[bundle.manifest.golden_file].bytes
print(figures)
"""


@pytest.fixture(scope="module")
def traced() -> dict[str, int]:
    """Bytes that Python and numpy held, and the most they held, in a fresh process that opens, reads and loads."""
    done = subprocess.run([sys.executable, "-c", METER, str(SHIPPED)], capture_output=True, text=True, check=True)
    return ast.literal_eval(done.stdout)


def test_opening_a_bundle_never_holds_its_contents(traced: dict[str, int]) -> None:
    assert SHIPPED.stat().st_size > 7e6
    # the manifest, whose list of people is the largest part, and a piece of a file
    assert traced["most_in_opening"] < 0.65 * traced["smallest_graph"]
    assert traced["opened"] < 0.4 * traced["smallest_graph"]
    assert traced["most_in_reading"] > traced["read"] > 1.3e6  # the meter sees contents where they are held


def test_after_loading_no_graph_is_held_neither_the_one_in_use_nor_another(traced: dict[str, int]) -> None:
    assert traced["loaded"] < 0.2 * traced["smallest_graph"]
    assert traced["engine"] == OrtEngine.__name__


def test_loading_holds_one_graph_at_a_time(traced: dict[str, int]) -> None:
    assert traced["graph"] < traced["most_in_loading"] < traced["graph"] + 4 * traced["golden"]


def test_the_session_keeps_no_model_and_still_runs(tmp_path: Path) -> None:
    bundle = Bundle.open(SHIPPED)
    engine = load_engine(bundle)
    session = engine._session
    held = {name: _bytes(value) for name, value in vars(session).items()}
    assert max(held.values()) < 10_000, held
    with Stream(bundle, fs_hz=bundle.contract.sensors[0].fs_hz, units="mV", engine=engine) as stream:
        assert stream.engine is engine


def _bytes(value: object) -> int:
    return len(value) if isinstance(value, (bytes, bytearray, memoryview)) else getattr(value, "nbytes", 0)


def test_nothing_is_imported_that_loading_and_judging_do_not_need() -> None:
    """Each of these takes half a megabyte or more; a fresh process says what it has after its first inference."""
    code = (
        "import sys, physioedge_runtime\n"
        "first = sorted({m.partition('.')[0] for m in sys.modules} & {'numpy', 'onnxruntime', 'nacl', 'json'})\n"
        "from physioedge_runtime import Bundle, Stream\n"
        "bundle = Bundle.open(sys.argv[1])\n"
        "with Stream(bundle, fs_hz=125, units='mV') as stream:\n"
        "    window = bundle.golden()['signal'][:1]\n"
        "    stream.engine.run(window)\n"
        "unneeded = {'logging', 'numpy.fft', 'numpy.random', 'numpy.ma', 'numpy.polynomial', 'asyncio', 'ssl',"
        " 'socket', 'subprocess', 'tempfile', 'argparse', 'multiprocessing', 'http', 'xml', 'email', 'torch', 'onnx'}\n"
        "print(first, sorted(unneeded & set(sys.modules)), 'nacl' in sys.modules, 'onnxruntime' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(SHIPPED)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] [] True True", done.stdout


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_peak_memory_of_a_process_beside_bare_onnxruntime(tmp_path: Path) -> None:
    """Fresh processes that load the same graph and run it; results/footprint.json has the figures, 1.29 before."""
    bundle = Bundle.open(SHIPPED)
    graph, window = tmp_path / "graph.onnx", tmp_path / "window.npy"
    graph.write_bytes(bundle.read(bundle.graph().file))
    np.save(window, bundle.golden()["signal"][:1])
    peaks = []
    for kind, file in (("bare", graph), ("ours", SHIPPED)):
        done = subprocess.run(
            [sys.executable, str(STAGE), kind, str(file), str(window)], capture_output=True, text=True, check=True
        )
        peaks.append(ast.literal_eval(done.stdout)["stages"]["runs"][0])
    assert peaks[0] > 40e6
    assert peaks[1] / peaks[0] < 1.2


def test_the_committed_page_is_that_of_the_committed_figures(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("footprint_pages", STAGE.with_name("footprint_pages.py"))
    assert spec is not None and spec.loader is not None
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    rows = results.read(RESULTS / "footprint.json")
    pages.write_page(tmp_path / "page.md", rows)
    assert (tmp_path / "page.md").read_text() == (RESULTS / "footprint.md").read_text()
    (ratio,) = [row for row in rows if (row.arm, row.metric) == ("ours", "peak_rss_mb_over_bare")]
    assert ratio.value <= 1.15 and ratio.n >= 5
