"""``physioedge view`` on the command line: what it refuses, what it prints, and that it ends when told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from made_up_view import session_of, two_channels
from physioedge.cli.main import main
from physioedge_runtime.errors import ChannelMismatch, SampleRateMismatch, UnitMismatch


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--speed", "3"], "--speed 3: one of 1, 2, 5, 10, 20, 60"),
        (["--host", "http://127.0.0.1:1"], "--host needs --device and --token-file"),
        (["--port", "70000"], "no port"),
        (["--host", "http://127.0.0.1:1", "--local", "shipped"], "not allowed with"),
    ],
)
def test_options_that_do_not_go_together(options, said, capsys):
    assert main(["view", "--no-open", *options]) == 2
    assert said in capsys.readouterr().err


def test_nothing_is_converted_unasked(tmp_path):
    path = two_channels(tmp_path / "two.npz", duration_s=5.0)
    with pytest.raises(SampleRateMismatch, match="125"), session_of(str(path)):
        pass
    np.savez(tmp_path / "v.npz", samples=np.zeros((1, 500), np.float32), fs_hz=125.0, units="V", channels=["MLII"])
    with pytest.raises(UnitMismatch), session_of(str(tmp_path / "v.npz")):
        pass
    with session_of(str(tmp_path / "v.npz"), "--convert-units"):
        pass
    np.savez(tmp_path / "c.npz", samples=np.zeros((1, 500), np.float32), fs_hz=125.0, units="mV", channels=["II"])
    with pytest.raises(ChannelMismatch), session_of(str(tmp_path / "c.npz")):
        pass
    with session_of(str(tmp_path / "c.npz"), "--channel", "MLII=II") as session:
        assert session._feed.sensors["ecg"].channels == ("MLII",)


def test_all_channels_are_shown(tmp_path):
    path = two_channels(tmp_path / "two.npz", duration_s=5.0)
    with session_of(str(path), "--resample", "polyphase") as session:
        assert session._feed.sensors["ecg"].channels == ("MLII", "V5")


def test_a_store_keeps_what_was_made(tmp_path):
    with session_of("--store", str(tmp_path / "store")) as session:
        session._person.store.pin()
    with session_of("--store", str(tmp_path / "store")) as session:
        assert session._person.store.pinned


@pytest.mark.skipif(find_spec("brainflow") is None, reason="brainflow is not installed (extra brainflow)")
def test_a_live_board():
    options = ("--channel", "MLII=ecg1", "--convert-units", "--resample", "polyphase")
    with session_of("brainflow:synthetic", *options) as session:
        assert session._feed.live and not session._do("pause", 0.0).done
        ends_s = 0.0
        for _ in range(100):
            for piece in session._feed.take(0.0):
                ends_s = max(ends_s, session._end_of(piece))
            if ends_s > 0.5:
                break
            time.sleep(0.05)
        assert ends_s > 0.5


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(number, tmp_path):
    command = [sys.executable, "-m", "physioedge.cli.main", "view", "--no-open", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        url = json.loads(process.stdout.readline())["url"]
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url.split("?")[0], timeout=10)
        process.send_signal(number)
        assert process.wait(30) in (0, -number)
        assert "Traceback" not in process.stderr.read()
    assert list(Path(tmp_path).iterdir()) == []
