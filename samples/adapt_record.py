"""Make a model a person's own while it runs: python samples/adapt_record.py [RECORD].

A recording is streamed as a sensor would be. After a hundred beats an adapter is asked for and tried on those that
follow, and in the end the person is levelled. The host is a generator in this process, of the extra `host`; a device
far from one passes a `Link` to `Adaptation.adapt`. Without an argument it takes a recording that comes along.
"""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import physioedge_runtime
from physioedge.generator.files import load_generator
from physioedge.host.making import AdapterMaker, Job
from physioedge.models.shipped import generator_of
from physioedge.signals.read import read_recording
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.adaptation import Adaptation, AdapterStore, Condition, Target, request_for
from physioedge_runtime.bundle.signing import public_key

BUNDLE = Path(physioedge_runtime.__file__).parent / "assets" / "arrhythmia.physio"
DEVICE, BEATS = "watch-7", 100


def main(record: Path) -> None:
    """Print what becomes of the adapter and of the bias."""
    recording, bundle, key = read_recording(record, channels=["MLII"]), Bundle.open(BUNDLE), secrets.token_bytes(32)
    maker = AdapterMaker(load_generator(generator_of(bundle.contract.task)), key, 3600, time.time)  # the host
    chunk_samples = round(0.2 * recording.fs_hz)
    with (
        TemporaryDirectory() as folder,  # a device keeps its own: what is confirmed serves after a restart
        AdapterStore.open(folder, target=Target.of(bundle, device=DEVICE), trust=public_key(key)) as store,
        Stream(
            bundle, fs_hz=recording.fs_hz, units=recording.units, channels=recording.channels, resample="polyphase",
            adapters="slots", collect="embedding",
        ) as stream,
    ):  # fmt: skip
        adaptation, asked, beats = Adaptation.of(bundle, stream, store), False, 0
        for start in range(0, recording.samples.shape[1], chunk_samples):
            results = stream.push(recording.samples[:, start : start + chunk_samples])
            ended = adaptation.step(results)  # judges a trial, and collects for `level`
            beats += sum(result.judged for result in results)
            if ended is not None:
                print(f"{stream.now_s:6.1f} s  {ended.what}: {ended.verdict.reason}; {ended.adapter_id} serves")
                break
            if not asked and beats >= BEATS:
                request = request_for(stream, store, DEVICE)  # statistics and no signal
                answer = maker.make([Job(request=request, condition=Condition.from_bytes(request.condition))])[0]
                assert isinstance(answer, bytes), answer
                asked, outcome = True, adaptation.install(answer)  # verified, staged, and tried from the next beat on
                print(f"{stream.now_s:6.1f} s  {outcome}: {outcome.adapter_id} serves")
        print(f"{stream.now_s:6.1f} s  {adaptation.level()}")  # asks nobody


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data" / "213.hea")
