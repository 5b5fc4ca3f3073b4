from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from physioedge.cli.main import main as physioedge
from physioedge_runtime.__main__ import main as device
from physioedge_runtime.bundle.signing import key_id, make_keys, public_key
from tiny_bundle import PRIVATE_KEY, tiny_contract, tiny_model, tiny_pair, write_tiny_bundle

SAMPLE = Path(__file__).parents[2] / "samples" / "read_bundle_without_sdk.py"
WRONG_GRAPH = tiny_model(tiny_contract(), slots=False, metadata="{}").SerializeToString()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "tiny.physio")
    return tmp_path / "tiny.physio"


@pytest.fixture
def pem(tmp_path: Path) -> str:
    """Public key file of the tests' bundles."""
    der = bytes.fromhex("302a300506032b6570032100") + public_key(PRIVATE_KEY)
    path = tmp_path / "tests.pem"
    path.write_text(f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n")
    return str(path)


@pytest.mark.parametrize("command", [physioedge, device])
def test_inspect(command, bundle: Path, pem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["inspect", str(bundle), "--trust", pem]) == 0
    page = capsys.readouterr().out
    for word in ("tiny 1", "N, S, V", "125 Hz", "mV", key_id(public_key(PRIVATE_KEY)), "graphs/slots.fp32.onnx"):
        assert word in page
    assert command(["inspect", str(bundle), "--trust", pem, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["manifest"]["contract"] == tiny_contract().to_dict()


def test_inspect_and_diff_know_several_sensors_and_values(
    tmp_path: Path, pem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one.physio", tmp_path / "other.physio"
    pair = tiny_pair()
    write_tiny_bundle(one, contract=pair)
    ppg, acc = pair.sensors
    write_tiny_bundle(other, contract=replace(pair, sensors=(ppg, replace(acc, low=-4.0))))
    assert device(["inspect", str(one), "--trust", pem]) == 0
    page = capsys.readouterr().out
    for words in ("ppg: ppg, 64 Hz, a.u.", "acc: acc, 32 Hz, g, channels x, y, z, -8 to 8 g", "every 1 s of ppg"):
        assert words in page
    assert (
        "heart_rate (-1000 to 1000 bpm), steps" in page and "window of 2 s after 0.5 s of context (80 samples)" in page
    )
    assert physioedge(["diff", str(one), str(other), "--trust", pem]) == 1
    assert "contract.sensors.acc.low" in capsys.readouterr().out


@pytest.mark.parametrize("command", [physioedge, device])
def test_verify_a_good_bundle(command, bundle: Path, pem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["verify", str(bundle), "--trust", pem]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * 7
    assert lines[-1].endswith("holds")


@pytest.mark.parametrize(
    ("damage", "step"),
    [
        (lambda data: data[:-1], "structure"),
        (lambda data: data.replace(b'"version":"1"', b'"version":"2"'), "signature"),
        (lambda data: data.replace(b"# A model for tests", b"# A model for TESTS"), "digests"),
    ],
)
def test_verify_names_the_step_that_failed(
    bundle: Path, pem: str, capsys: pytest.CaptureFixture[str], damage, step: str
) -> None:
    bundle.write_bytes(damage(bundle.read_bytes()))
    assert physioedge(["verify", str(bundle), "--trust", pem, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["holds"]
    assert [(check["name"], check["state"]) for check in report["checks"]] == [(step, "failed")]
    assert physioedge(["inspect", str(bundle), "--trust", pem]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error[") and captured.err.count("\n") == 1


def test_verify_runs_every_graph(tmp_path: Path, pem: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.physio"
    write_tiny_bundle(path, files={"graphs/merged.fp32.onnx": WRONG_GRAPH})
    assert physioedge(["verify", str(path), "--trust", pem]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]].count("failed") == 1
    assert lines[-1].endswith("DOES NOT HOLD")


def test_untrusted_key_is_one_message(bundle: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert physioedge(["verify", str(bundle), "--trust", str(keys / "public.pem")]) == 1
    assert "error[untrusted-key]" in capsys.readouterr().out
    for command in (physioedge, device):
        assert command(["inspect", str(bundle), "--trust", str(keys / "absent.pem")]) == 1
        assert "absent.pem" in capsys.readouterr().err


def test_diff(bundle: Path, tmp_path: Path, pem: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.physio"
    write_tiny_bundle(other, version="2", files={"MODEL_CARD.md": b"# Another\n"})
    assert physioedge(["diff", str(bundle), str(bundle), "--trust", pem]) == 0
    assert capsys.readouterr().out == "the same\n"
    assert physioedge(["diff", str(bundle), str(other), "--trust", pem, "--json"]) == 1
    names = {change["name"] for change in json.loads(capsys.readouterr().out)["changes"]}
    assert names == {"digest", "version", "files.MODEL_CARD.md.sha256", "files.MODEL_CARD.md.bytes"}
    assert physioedge(["diff", str(bundle), str(other), "--trust", pem]) == 1
    assert 'version: "1" -> "2"' in capsys.readouterr().out


def test_diff_shows_the_contract(bundle: Path, tmp_path: Path, pem: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.physio"
    write_tiny_bundle(other, contract=tiny_contract(slots=tiny_contract().slots, backbone_digest="1" * 64))
    assert physioedge(["diff", str(bundle), str(other), "--trust", pem]) == 1
    assert "contract.backbone_digest" in capsys.readouterr().out


def test_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "made"
    assert physioedge(["keys", "make", str(folder), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert physioedge(["keys", "show", made["public"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["key_id"] == made["key_id"]
    assert physioedge(["keys", "make", str(folder)]) == 1
    assert "never overwritten" in capsys.readouterr().err
    assert physioedge(["keys", "revoke", made["public"]]) == 0
    assert made["key_id"] in capsys.readouterr().out and (folder / "public.pem.revoked").exists()


def test_device_info_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert device(["info", "--json"]) == 0
    assert "onnxruntime" in json.loads(capsys.readouterr().out)
    for words in ([], ["fly"], ["inspect"]):
        with pytest.raises(SystemExit) as stop:
            device(words)
        assert stop.value.code == 2


def sample(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(SAMPLE), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_sample_reader_agrees(bundle: Path, pem: str) -> None:
    ours = sample(bundle, pem)
    assert ours.returncode == 0, ours.stderr
    assert key_id(public_key(PRIVATE_KEY)) in ours.stdout
    assert "graphs/slots.fp32.onnx" in ours.stdout and "ecg at 125.0 Hz in mV" in ours.stdout
    assert "(not checked)" in sample(bundle).stdout


def test_the_sample_reader_refuses_too(bundle: Path, pem: str, keys: Path) -> None:
    assert sample(bundle, keys / "public.pem").returncode != 0
    bundle.write_bytes(bundle.read_bytes().replace(b"# A model", b"# A MODEL"))
    assert "refused" in sample(bundle, pem).stderr


def test_the_sample_is_short_and_needs_no_sdk() -> None:
    text = SAMPLE.read_text()
    assert len(text.splitlines()) < 60
    assert "physioedge" not in text
