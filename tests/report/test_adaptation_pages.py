"""The code of the pages about adapters, hosts and conditions runs as it stands, block after block.

Around it: the bundle that ships as ``mine.physio``, its recording as `sensor`, and a host that is a function. The page
about hosts goes on from what the first block of the page about adapters opens, as it says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_doc_blocks import NEEDS_A_SENSOR, blocks

from physioedge.host.making import AdapterMaker, Job
from physioedge.signals.read import read_recording
from physioedge_runtime import Bundle
from physioedge_runtime.__main__ import SHIPPED_BUNDLE
from physioedge_runtime.adaptation import Condition, ConditionSpec, Link
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.bundle.signing import _PUBLIC_PREFIX, _to_pem, public_key
from tiny_bundle import PRIVATE_KEY

FS_HZ, STEP = 360, 180
Page = Callable[..., dict[str, Any]]


class Unchanged:
    """A generator whose adapters change nothing."""

    kind = "zeros"

    def __init__(self, bundle: Bundle) -> None:
        contract = bundle.contract
        self.task, self.backbone_digest = contract.task, contract.backbone_digest
        self.source = ConditionSpec.all_of(bundle)["embedding"].source
        self._arrays = {slot.name: np.zeros(slot.shape, np.float32) for slot in contract.slots}

    def generate(self, conditions: Any) -> Any:
        return [self._arrays for _ in conditions]


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the host's public key and the device's token, and a host that no network is needed for."""
    opened = Bundle.open
    monkeypatch.setattr(Bundle, "open", lambda path, **more: opened(SHIPPED_BUNDLE, **more))
    maker = AdapterMaker(Unchanged(Bundle.open("mine.physio")), PRIVATE_KEY, 3600, time.time)

    def attempt(link: Link, request: Request) -> bytes:
        made = maker.make([Job(request=request, condition=Condition.from_bytes(request.condition))])[0]
        assert isinstance(made, bytes), made
        return made

    monkeypatch.setattr(Link, "attempt", attempt)
    (tmp_path / "host-public.pem").write_bytes(_to_pem(_PUBLIC_PREFIX + public_key(PRIVATE_KEY), "PUBLIC KEY"))
    (tmp_path / "watch-7.token").write_text("t" * 40 + "\n")
    with chdir(tmp_path):
        yield tmp_path


def chunks() -> list[np.ndarray]:
    samples = read_recording(SHIPPED_BUNDLE.parent / "excerpt.npz").samples[:1]
    return [samples[:, at : at + STEP] for at in range(0, samples.shape[1], STEP)]


def ran(page: str, names: dict[str, Any], first: int = 0, last: int | None = None) -> dict[str, Any]:
    for text in [text for name, text in blocks("python") if name == page][first:last]:
        exec(compile(text, page, "exec"), names)
    return names


def test_these_are_the_pages_that_are_not_run_elsewhere() -> None:
    assert {"adapter.md", "host.md", "condition.md"} == NEEDS_A_SENSOR


@pytest.mark.usefixtures("around")
def test_conditions(capsys: pytest.CaptureFixture[str]) -> None:
    names = ran("condition.md", {"sensor": chunks()})
    assert names["condition"].windows >= 30 and names["less"].noise == 3.0
    assert len(names["data"]) <= 8192 and "windows: " in capsys.readouterr().out


@pytest.mark.usefixtures("around")
def test_adapters(capsys: pytest.CaptureFixture[str]) -> None:
    sensor = [(chunk, i * STEP / FS_HZ) for i, chunk in enumerate(chunks())]
    names = ran("adapter.md", {"sensor": sensor, "time_to_level": False, "time_to_ask": False}, last=2)
    try:
        assert names["adaptation"].level().windows > 60  # collected in the loop of the page
        names["adaptation"].unlevel()
        names["stream"].reset()
        ran("adapter.md", {**names, "sensor": sensor[:3], "time_to_level": True}, first=1, last=2)
        assert "waiting, " in capsys.readouterr().out
        names["stream"].reset()
        ran("adapter.md", names | {"time_to_ask": True}, first=2)
        history = [event.what for event in names["store"].history]
        assert history[:2] == ["staged", "trying"], history
    finally:
        names["store"].close(), names["outbox"].close(), names["stream"].close()


@pytest.mark.usefixtures("around")
def test_hosts() -> None:
    names = ran("adapter.md", {}, last=1)
    try:
        for first, last in ((0, 1), (1, None)):  # under another adapter a condition begins anew
            for chunk in chunks():
                names["stream"].push(chunk)
            ran("host.md", names, first, last)
        history = [event.what for event in names["store"].history]
        assert history == ["staged", "trying", "confirmed", "staged", "trying"]
        assert names["outcome"].step == "trying" and names["outbox"].pending is None
    finally:
        names["store"].close(), names["outbox"].close(), names["stream"].close()
