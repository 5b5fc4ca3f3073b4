"""Results to a real broker on this machine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from made_results import result, results

from physioedge.sinks import mqtt as sink_module
from physioedge.sinks.mqtt import PASSWORD_VARIABLE, MqttSink
from physioedge.sinks.opening import open_sink
from physioedge_runtime.errors import SinkError
from tiny_bundle import tiny_contract

paho = pytest.importorskip("paho.mqtt.client")
MOSQUITTO = shutil.which("mosquitto") or next((p for p in ("/usr/sbin/mosquitto",) if Path(p).exists()), None)
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto here (apt-get install mosquitto)")


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Broker:
    """One mosquitto of our own, on a port of this machine alone."""

    def __init__(self, folder, extra="allow_anonymous true\n"):
        self.port, self.folder = free_port(), folder
        (folder / "broker.conf").write_text(f"listener {self.port} 127.0.0.1\n{extra}")
        self.start()

    def start(self):
        command = [str(MOSQUITTO), "-c", str(self.folder / "broker.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("mosquitto did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path)
    yield made
    made.stop()


class Listener:
    """What a subscriber gets."""

    def __init__(self, port, topic, user=None):
        self.heard = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if user:
            self.client.username_pw_set(*user)
        ready = []
        self.client.on_subscribe = lambda *_: ready.append(True)
        self.client.on_message = lambda _, __, m: self.heard.append((m.topic, json.loads(m.payload)))
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(topic, qos=1)
        self.client.loop_start()
        self.wait(lambda: ready)

    def wait(self, done, seconds=30):
        until = time.monotonic() + seconds
        while not done() and time.monotonic() < until:
            time.sleep(0.01)
        assert done()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@needs_broker
def test_every_result_arrives_in_order_and_what_it_means_is_kept(broker):
    listener = Listener(broker.port, "ward/7/#")
    with open_sink(f"mqtt://127.0.0.1:{broker.port}/ward/7", tiny_contract()) as sink:
        for i in range(300):
            sink.write(result(float(i), "N", (0.8, 0.1, 0.1)))
    listener.wait(lambda: len(listener.heard) == 301)
    meta = {"task": "arrhythmia", "labels": ["N", "S", "V"], "values": {}}
    assert listener.heard[0] == ("ward/7/meta", meta)
    assert [row["t_anchor_s"] for topic, row in listener.heard if topic == "ward/7"] == [float(i) for i in range(300)]
    listener.close()
    later = Listener(broker.port, "ward/7/#")
    later.wait(lambda: later.heard)
    assert later.heard == [("ward/7/meta", meta)]  # retained; results are not
    later.close()


@needs_broker
def test_a_broker_that_goes_away_and_comes_back(broker, monkeypatch):
    with open_sink(f"mqtt://127.0.0.1:{broker.port}/a", tiny_contract()) as sink:
        sink.write(results()[0])
        broker.stop()
        began = time.monotonic()
        for i in range(50):
            sink.write(result(float(i), "N", (0.8, 0.1, 0.1)))
        assert time.monotonic() - began < 5.0  # a stream never waits for a broker
        broker.start()
        listener = Listener(broker.port, "a")
        listener.wait(lambda: len(listener.heard) >= 50, seconds=60)
    assert {row["t_anchor_s"] for _, row in listener.heard} >= {float(i) for i in range(50)}
    listener.close()


@needs_broker
def test_what_could_not_be_delivered_is_told(broker, monkeypatch):
    monkeypatch.setattr(sink_module, "DELIVER_S", 0.2)
    sink = open_sink(f"mqtt://127.0.0.1:{broker.port}/a", tiny_contract())
    with pytest.raises(SinkError, match="4 messages not delivered"), sink:
        until = time.monotonic() + 5
        while sink._n_delivered < 1 and time.monotonic() < until:
            time.sleep(0.01)
        broker.stop()
        for i in range(4):
            sink.write(result(float(i), "N", (0.8, 0.1, 0.1)))
    broker.start()


@needs_broker
def test_users_and_passwords(tmp_path, monkeypatch):
    passwords = shutil.which("mosquitto_passwd")
    if passwords is None:
        pytest.skip("no mosquitto_passwd here")
    subprocess.run([passwords, "-b", "-c", str(tmp_path / "users"), "anna", "s3cret"], check=True, capture_output=True)
    (tmp_path / "users").chmod(0o644)
    broker = Broker(tmp_path, f"allow_anonymous false\npassword_file {tmp_path / 'users'}\nuser root\n")
    url = f"mqtt://anna@127.0.0.1:{broker.port}/a"
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    with pytest.raises(SinkError, match="expected a broker that lets us in"), open_sink(url, tiny_contract()):
        pass
    monkeypatch.setenv(PASSWORD_VARIABLE, "s3cret")
    listener = Listener(broker.port, "a", ("anna", "s3cret"))
    with open_sink(url, tiny_contract()) as sink:
        sink.write(results()[0])
    listener.wait(lambda: listener.heard)
    listener.close()
    broker.stop()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://127.0.0.1", "expected a host and a topic"),
        ("mqtt:///topic", "expected a host and a topic"),
        ("mqtt://host/a/#", "expected a host and a topic"),
        ("mqtt://host:99999/a", "expected a port number"),
        ("mqtt://anna:s3cret@host/a", f"expected a user alone. Put it into the variable {PASSWORD_VARIABLE}"),
    ],
)
def test_addresses_that_are_none(url, words):
    with pytest.raises(SinkError, match=words) as caught:
        open_sink(url, tiny_contract())
    assert "s3cret" not in str(caught.value)


def test_no_broker():
    sink = MqttSink(f"mqtt://127.0.0.1:{free_port()}/a", tiny_contract())
    with pytest.raises(SinkError, match="expected a broker that answers"), sink:
        pass
