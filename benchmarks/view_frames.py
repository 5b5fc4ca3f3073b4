"""Pictures a second of the live page in headless Chromium, on a two-channel recording at 250 Hz.

``python benchmarks/view_frames.py --out results/view.json``: starts ``physioedge view`` on a made-up recording, opens
its page, and counts the pictures that were drawn of the signal, beside those that the browser asked for, and the time
of the browser's main thread for each. Needs the extras ``view`` and ``dev``, and a Chromium on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from physioedge import results
from physioedge.results import Row

FS_HZ, DURATION_S, RR_S = 250.0, 120.0, 0.75
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
SPEEDS = (1, 60)
WARM_S, WINDOW_S, WINDOWS = 2.0, 2.0, 5
COUNT = "(function count() { globalThis.asked = (globalThis.asked ?? 0) + 1; requestAnimationFrame(count); })()"


def recording(path: Path) -> Path:
    """Two channels of narrow peaks and round waves, with some noise."""
    rng = np.random.default_rng(0)
    t = np.arange(round(FS_HZ * DURATION_S)) / FS_HZ
    since = (t % RR_S) - 0.3
    first = 1.2 * np.exp(-0.5 * (since / 0.011) ** 2) + 0.3 * np.exp(-0.5 * ((since - 0.28) / 0.05) ** 2)
    rows = np.stack([first, 0.6 * first + 0.1 * np.sin(t)]) + 0.01 * rng.standard_normal((2, t.size))
    np.savez(path, samples=rows.astype(np.float32), fs_hz=FS_HZ, units="mV", channels=["MLII", "V5"], name="made up")
    return path


@contextmanager
def page_of(path: Path) -> Iterator[str]:
    """The address of a page on the recording."""
    command = [sys.executable, "-m", "physioedge.cli.main", "view", str(path), "--resample", "polyphase", "--loop"]
    command += ["--no-open", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


def measured(page: Any) -> dict[str, list[float]]:
    """Pictures drawn and asked for a second, and milliseconds of the main thread for each that was drawn."""
    driver = page.context.new_cdp_session(page)
    driver.send("Performance.enable", {"timeDomain": "threadTicks"})
    found: dict[str, list[float]] = {"frames_per_s": [], "asked_per_s": [], "main_thread_ms": []}
    for _ in range(WINDOWS):
        before = _now(page, driver)
        page.wait_for_timeout(1000 * WINDOW_S)
        drawn, asked, busy_s, wall_s = (new - old for new, old in zip(_now(page, driver), before, strict=True))
        found["frames_per_s"].append(drawn / wall_s)
        found["asked_per_s"].append(asked / wall_s)
        found["main_thread_ms"].append(1000 * busy_s / max(1.0, drawn))
    return found


def _now(page: Any, driver: Any) -> tuple[float, float, float, float]:
    metrics = {one["name"]: one["value"] for one in driver.send("Performance.getMetrics")["metrics"]}
    return page.evaluate("physioedge.frames"), page.evaluate("asked"), metrics["TaskDuration"], time.perf_counter()


def rows(browser: Any, url: str) -> list[Row]:
    """All sizes and speeds: medians over windows, with the least and the most."""
    out = []
    for size, (width, height) in SIZES.items():
        page = browser.new_context(viewport={"width": width, "height": height}).new_page()
        page.goto(url)
        page.evaluate(COUNT)
        for speed in SPEEDS:
            page.select_option("#speed", str(speed))
            page.wait_for_timeout(1000 * WARM_S)
            for metric, values in measured(page).items():
                out.append(
                    Row(
                        task="view", arm=f"replay_{speed}x", group=size, metric=metric,
                        unit="ms" if metric.endswith("_ms") else "1/s", value=median(values), low=min(values),
                        high=max(values), n=WINDOWS, seeds=1,
                    )
                )  # fmt: skip
        page.context.close()
    return out


def main() -> int:
    """Measure and write; 0 when every replay was drawn at least 30 times a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="results file")
    parser.add_argument(
        "--chromium", default=shutil.which("chromium"), help="browser (default: chromium of this machine)"
    )
    args = parser.parse_args()
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    with (
        tempfile.TemporaryDirectory() as folder,
        page_of(recording(Path(folder) / "r.npz")) as url,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=args.chromium, args=sandbox)
        found, version = rows(browser, url), browser.version
        browser.close()
    load = os.getloadavg()[0]
    around = {"load_of_the_machine": round(load, 1), "niceness": os.nice(0)}
    about = {"browser": f"headless Chromium {version}", "low_and_high": "least and most of the windows", **around}
    results.write(args.out, "python benchmarks/view_frames.py", found, **about)
    for row in found:
        print(  # noqa: T201
            f"{row.group:<6} {row.arm:<11} {row.metric:<15} {row.value:6.1f} ({row.low:.1f} to {row.high:.1f})"
        )
    return int(min(row.value for row in found if row.metric == "frames_per_s") < 30)


if __name__ == "__main__":
    sys.exit(main())
