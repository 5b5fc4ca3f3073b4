"""One way of loading a model, in a process of its own: resident memory after each stage, times, as one Python literal.

``python footprint_stage.py {bare|ours|executorch} FILE WINDOW.npy [OPTION ...]``: FILE is a graph for ``bare``, whose
options are those of `OPTIONS`, and a bundle for the others. Imports nothing that the way itself does not need.
"""

import os
import sys
import time

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
RUNS = 200
OPTIONS = {
    "arena_off": "no arena: each buffer from the allocator",
    "pattern_off": "no memory pattern: no plan of all buffers as one block",
    "device_allocator": "session.use_device_allocator_for_initializers",
    "prepacking_off": "session.disable_prepacking",
    "optimise_none": "graph as it is",
    "optimise_basic": "basic graph optimisations only",
    "optimise_extended": "no layout optimisations",
    "direct": "session.use_ort_model_bytes_directly",
    "direct_weights": "session.use_ort_model_bytes_for_initializers",
    "bytes": "from bytes in memory, which the session then keeps",
    "dropped": "from bytes that the session is made to forget",
    "sealed": "from a sealed file in memory (memfd) that holds verified bytes",
}
_ENTRIES = {
    "device_allocator": "session.use_device_allocator_for_initializers",
    "prepacking_off": "session.disable_prepacking",
    "direct": "session.use_ort_model_bytes_directly",
    "direct_weights": "session.use_ort_model_bytes_for_initializers",
}
stages = {}


def note(stage: str) -> None:
    """Peak and resident memory now, in bytes."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - pathlib is not free
        lines = dict(line.split(":", 1) for line in status)
    stages[stage] = tuple(1024 * int(lines[name].split()[0]) for name in ("VmHWM", "VmRSS"))


def bare(path: str, window: np.ndarray, chosen: list[str]) -> tuple:
    """Plain onnxruntime on a graph; gives the run and milliseconds of loading."""
    import onnxruntime

    note("imports")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = "arena_off" not in chosen
    options.enable_mem_pattern = "pattern_off" not in chosen
    levels = onnxruntime.GraphOptimizationLevel
    for name, level in (("none", "DISABLE_ALL"), ("basic", "ENABLE_BASIC"), ("extended", "ENABLE_EXTENDED")):
        if f"optimise_{name}" in chosen:
            options.graph_optimization_level = getattr(levels, f"ORT_{level}")
    for name in set(_ENTRIES) & set(chosen):
        options.add_session_config_entry(_ENTRIES[name], "1")
    began = time.perf_counter()
    in_memory = {"bytes", "dropped", "sealed", "direct"} & set(chosen)
    if in_memory:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            model = file.read()
    else:
        model = path
    if "sealed" in chosen:
        model = sealed(model)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if "dropped" in chosen:
        session._model_bytes = None
    del model
    load_ms = 1e3 * (time.perf_counter() - began)
    name = session.get_inputs()[0].name
    return (lambda: session.run(None, {name: window})), load_ms


def sealed(data: bytes) -> str:
    """Path of a file in memory that nobody can change any more."""
    import fcntl

    handle = os.memfd_create("model", os.MFD_ALLOW_SEALING)
    os.write(handle, data)
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return f"/proc/self/fd/{handle}"


def ours(path: str, window: np.ndarray, engine: str) -> tuple:
    """Our runtime on a bundle, every check included."""
    if engine == "executorch":
        import physioedge_runtime.engine.et
    else:
        import physioedge_runtime.engine.ort  # noqa: F401 - counted as import
    from physioedge_runtime import Bundle
    from physioedge_runtime.engine import load_engine

    note("imports")
    began = time.perf_counter()
    bundle = Bundle.open(path)
    note("open")
    loaded = load_engine(bundle, engine=engine)
    ours.bundle = bundle  # as a stream would, the program keeps it
    return (lambda: loaded.run(window)), 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Load, run, print."""
    kind, path, window_file, *chosen = sys.argv[1:]
    note("python, numpy")
    window = np.load(window_file, allow_pickle=False)
    if kind == "bare":
        run, load_ms = bare(path, window, chosen)
    else:
        run, load_ms = ours(path, window, "onnxruntime" if kind == "ours" else kind)
    note("load")
    run()
    note("first run")
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    note("runs")
    sys.stdout.write(repr({"stages": stages, "load_ms": load_ms, "p50_ms": 1e3 * sorted(times)[RUNS // 2]}) + "\n")


if __name__ == "__main__":
    main()
