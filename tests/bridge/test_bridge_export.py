"""A fitted bridge goes by commands into a signed bundle that streams the new sensor, and no other weights get in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bridge_made_up import DIRECTION, PPG_HZ, TASK_LABELS, run_in, strip_of, write_all

from physioedge.bridge import directions
from physioedge.bridge.files import bridged_network
from physioedge.bridge.labelled import folder_of
from physioedge.bridge.training import train_bridge
from physioedge.cli.main import main
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.bundle.signing import make_keys, public_key, read_private_key
from tiny_training import write_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bridge_export")
    write_all(root)
    train_bridge(run_in(root), lambda line: None, progress=False)
    make_keys(root / "keys")
    return root


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up direction is one of the program's."""
    monkeypatch.setitem(directions.DIRECTIONS, DIRECTION.name, DIRECTION)


def exported(folder: Path, out: Path, weights: Path, *more: str) -> int:
    given = ["--bridge", str(folder / "out"), "--bridge-work", str(folder), "--weights", str(weights)]
    return main(["export", *given, "--key", str(folder / "keys" / "private.pem"), "--out", str(out),
                 "--precision", "fp32,int8", "--fallback", "", *more])  # fmt: skip


def test_the_bundle_verifies_and_streams_the_new_sensor_as_the_network_judges_it(folder, tmp_path, capsys):
    bundle, weights = tmp_path / "pulse.physio", folder / "backbone.safetensors"
    assert exported(folder, bundle, weights, "--channels", "finger") == 0
    assert main(["verify", str(bundle), "--trust", str(folder / "keys" / "public.pem")]) == 0
    opened = Bundle.open(bundle, trust=public_key(read_private_key(folder / "keys" / "private.pem")))
    contract = opened.contract
    assert (contract.sensor.modality, contract.sensor.channels, contract.labels) == ("ppg", ("finger",), TASK_LABELS)
    provenance = opened.manifest.provenance
    assert provenance["bridge"]["direction"] == DIRECTION.name and provenance["training_subjects"]
    signal = strip_of(7).signals["ppg"]
    with Stream(opened, fs_hz=PPG_HZ, units=contract.sensor.units, precision="fp32") as stream:
        told = [one for part in np.array_split(signal, 7, axis=1) for one in stream.push(part)] + stream.flush()
    judged = [one for one in told if one.probabilities]
    assert len(judged) >= 5
    length = contract.sensor.input_samples
    ends = [round(one.t_end_s * PPG_HZ) + 1 for one in judged]  # `t_end_s` is the last sample's own time
    whole = [end >= length for end in ends]
    windows = np.stack([signal[:, end - length : end] for end, kept in zip(ends, whole, strict=True) if kept])
    network, *_ = bridged_network(folder / "out", weights, folder_of(DIRECTION, 0, folder))
    with torch.no_grad():
        wanted = torch.softmax(network(torch.from_numpy(windows))[0], 1).numpy()
    found = np.array([one.probabilities for one in judged])[whole]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_other_weights_than_it_was_fitted_to_are_refused(folder, tmp_path, capsys):
    write_backbone(tmp_path / "other.safetensors", seed=9)
    assert exported(folder, tmp_path / "no.physio", tmp_path / "other.safetensors") == 1
    assert "a bridge for backbone" in capsys.readouterr().err
    assert not (tmp_path / "no.physio").exists()
