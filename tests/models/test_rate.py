import numpy as np
import pytest
import torch

from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.rate import RateNetwork, SpectralRate
from physioedge.models.spectrum import GRID_BPM
from physioedge.tasks import heart_rate
from physioedge.tasks.contracts import windowed_contract
from tiny_training import random_signals, tiny_backbone, tiny_config

WRIST = Layout(
    sensors=(
        SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=16),
        SensorLayout(sensor="acc", kind="acc", channels=3, n_tokens=8),
    )
)
PULSE = Layout(sensors=WRIST.sensors[:1])


def network_of(layout=WRIST, seed=0):
    torch.manual_seed(seed)
    network = RateNetwork(tiny_backbone(layout=layout), SpectralRate(acc=len(layout.sensors) > 1)).eval()
    torch.nn.init.normal_(network.readout.weight)
    return network


def contract_of(layout):
    channels = {"ppg": ("PPG",), "acc": ("x", "y", "z")}
    return windowed_contract(heart_rate.TASK, layout, tiny_config(), "0" * 64, channels)


def test_values_are_the_mean_of_the_sharpened_distribution():
    network, signals = network_of(), random_signals(WRIST, 3)
    with torch.no_grad():
        value, embedding = network(*signals)
        share = torch.softmax(2 * network.logits(embedding, *signals), 1)
    assert value.shape == (3, 1)
    assert embedding.shape == (3, WRIST.embedding_dim(tiny_config()))
    assert torch.allclose(value[:, 0], share @ torch.from_numpy(GRID_BPM).float(), rtol=1e-5)


def test_the_backbone_is_heard_through_the_read_out_alone():
    network, signals = network_of(), random_signals(WRIST, 2)
    with torch.no_grad():
        embedding = network.embed(*signals)
        assert not torch.allclose(network.logits(embedding, *signals), network.spectral(*signals))
        fresh = RateNetwork(network.backbone, network.spectral)
        assert torch.equal(fresh.logits(embedding, *signals), network.spectral(*signals))


def test_units_and_turns_do_not_matter_to_the_spectra():
    spectral, (ppg, acc) = SpectralRate(acc=True), random_signals(WRIST, 2)
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    with torch.no_grad():
        assert torch.allclose(spectral(ppg, acc), spectral(3000 * ppg + 500, turn @ acc), atol=1e-3)
        assert not torch.allclose(spectral(ppg, acc), spectral(ppg, 0.1 * acc), atol=1e-3)


def test_what_is_learned_at_one_rate_holds_at_another():
    """A pulse 20 bpm faster gives the same logits 10 places further on."""
    spectral = SpectralRate(acc=False)
    t = torch.arange(632) / 64

    def logits(bpm, first):
        found = spectral(torch.sin(2 * torch.pi * bpm / 60 * t)[None, None])
        return found[0, first : first + 15]  # 30 bpm, away from the peaks of half and twice the rate

    with torch.no_grad():
        for layer in spectral.over_rates[::2]:
            layer.weight *= 4.0  # so that there is something to compare before any fit
        slow, fast = logits(100.0, 25), logits(120.0, 35)
    size = float(slow.max() - slow.min())
    assert size > 1.0
    assert float((slow - fast).abs().max()) < 0.1 * size


def test_flat_signals_give_finite_answers():
    network = network_of()
    with torch.no_grad():
        for signals in ((torch.zeros(1, 1, 632), torch.zeros(1, 3, 288)),
                        (torch.full((1, 1, 632), 3e5), torch.full((1, 3, 288), 1.0))):  # fmt: skip
            assert all(bool(torch.isfinite(out).all()) for out in network(*signals))


@pytest.mark.parametrize("layout", [WRIST, PULSE], ids=["with_acc", "without_acc"])
def test_onnxruntime_gives_the_same(layout):
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from physioedge_export.to_onnx import to_onnx

    contract, network = contract_of(layout), network_of(layout)
    session = ort.InferenceSession(to_onnx(network, contract).SerializeToString())
    signals = random_signals(layout, 1, seed=3)
    found = session.run(None, dict(zip(contract.input_shapes, (x.numpy() for x in signals), strict=True)))
    with torch.no_grad():
        value, embedding = network(*signals)
    assert np.allclose(found[0], value.numpy(), atol=1e-2)
    assert np.allclose(found[1], embedding.numpy(), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "limit"), [(None, 1e-2), ("dynamic", 1.0)])
def test_executorch_takes_it_whole(scheme, limit):
    """One delegated piece and nothing left to the portable kernels; values within `limit` bpm."""
    pytest.importorskip("executorch")
    from physioedge_export.to_executorch import executorch_runner, to_executorch

    contract, network, signals = contract_of(WRIST), network_of(), random_signals(WRIST, 1, seed=3)
    with torch.no_grad():
        value = network(*signals)[0].item()
    program = to_executorch(network, contract, signals, notes={}, scheme=scheme)
    assert program.delegated_pieces == 1
    assert program.not_delegated == {}
    run = executorch_runner(program.data, list(contract.input_shapes))
    found = run(dict(zip(contract.input_shapes, (x.numpy() for x in signals), strict=True)))
    assert float(found[0][0, 0]) == pytest.approx(value, abs=limit)
