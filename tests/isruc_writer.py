"""Nights of ISRUC-Sleep for tests, as the archives hold them, written with edfio."""

from __future__ import annotations

import edfio
import numpy as np

EPOCHS = 34


def write_night(root, record="subgroupI/1", *, reference="A", epochs=EPOCHS, leave="", unit="uV"):
    folder = root / "isruc" / record
    folder.mkdir(parents=True)
    number = record.rpartition("/")[2]
    time_s = np.arange(int(30 * epochs * 200)) / 200
    labels = [f"C3-{reference}2", f"O1-{reference}2", "X1", "X2"]
    signals = [
        edfio.EdfSignal(100 * (i + 1) * np.sin(time_s), 200, label=label, physical_dimension=unit,
                        physical_range=(-500, 500))
        for i, label in enumerate(labels) if label != leave
    ]  # fmt: skip
    edfio.Edf(signals).write(folder / f"{number}.edf")
    (folder / f"{number}.edf").rename(folder / f"{number}.rec")
    stages = [0, 1, 2, 5] + [3] * (EPOCHS - 4)
    for scorer in (1, 2):
        (folder / f"{number}_{scorer}.txt").write_text("\n".join(map(str, stages)) + "\n\n")
    return root
