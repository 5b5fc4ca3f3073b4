"""Results to an MQTT broker: ``mqtt://user@host:1883/topic``, or ``mqtts://`` with TLS."""

from __future__ import annotations

import json
import os
import threading
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from physioedge.signals.foreign import needed
from physioedge.sinks.rows import as_dict
from physioedge_runtime import Result
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import SinkError

PASSWORD_VARIABLE = "PHYSIOEDGE_MQTT_PASSWORD"
PORTS = {"mqtt": 1883, "mqtts": 8883}
CONNECT_S, DELIVER_S, KEEPALIVE_S = 5.0, 10.0, 30
MOST_WAITING = 10_000
"""Results kept while the broker is away; what comes then is dropped and counted."""
_AT_LEAST_ONCE = 1


class MqttSink:
    """One message a result on ``topic``, as JSON, delivered at least once; ``topic/meta`` keeps what the model answers.

    Parameters
    ----------
    address : str
        ``mqtt://user@host:port/topic`` or ``mqtts://``. A password in it is refused, because others can read command
        lines: it comes from `PASSWORD_VARIABLE`.
    contract : Contract

    Raises
    ------
    SinkError
        The address is none, the broker does not answer or refuses, or results could not be delivered in the end.
    MissingExtra
        The package paho-mqtt is not installed.
    """

    def __init__(self, address: str, contract: Contract) -> None:
        url = urlsplit(address)
        self._mqtt: Any = needed("paho.mqtt.client", "mqtt", "An MQTT broker")
        self._contract, self._topic = contract, unquote(url.path.strip("/"))
        self._values = [value.name for value in contract.values]
        try:
            self._host, self._port = url.hostname or "", url.port or PORTS[url.scheme]
        except ValueError as error:
            raise SinkError(f"{url.scheme} with {error}", "a port number", "Write mqtt://HOST:1883/TOPIC.") from error
        self._where = f"{url.scheme}://{self._host}:{self._port}"
        if not self._host or not self._topic or set("#+?") & set(address):
            raise SinkError(f"{self._where}/{self._topic}", "a host and a topic", "Write mqtt://HOST/TOPIC.")
        if url.password is not None:
            do = f"Put it into the variable {PASSWORD_VARIABLE}."
            raise SinkError(f"{self._where} with a password in its address", "a user alone", do)
        self._client = self._mqtt.Client(self._mqtt.CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(MOST_WAITING)
        if url.username:
            self._client.username_pw_set(unquote(url.username), os.environ.get(PASSWORD_VARIABLE))
        if url.scheme == "mqtts":
            self._client.tls_set()
        self._answered = threading.Event()
        self._refusal = ""
        self._delivered = threading.Condition()
        self._n_taken = self._n_delivered = self.dropped = 0

    def __enter__(self) -> Self:
        self._client.on_connect, self._client.on_publish = self._connected, self._published
        try:
            self._client.connect(self._host, self._port, keepalive=KEEPALIVE_S)
        except (OSError, ValueError) as error:
            do = "Start the broker, or correct the address."
            raise SinkError(f"{self._where}: {error}", "a broker that answers", do) from error
        self._client.loop_start()
        if not self._answered.wait(CONNECT_S) or self._refusal:
            self._client.loop_stop()
            why = self._refusal or f"no answer in {CONNECT_S:g} s"
            raise SinkError(f"{self._where}: {why}", "a broker that lets us in", "Check user, password and broker.")
        self._publish(f"{self._topic}/meta", self._meta(), retain=True)
        return self

    def write(self, result: Result) -> None:
        """Hand one message to the sending thread; with the broker away for long, the newest are dropped and counted."""
        text = json.dumps(as_dict(result, self._contract.labels, self._values), allow_nan=False)
        self._publish(self._topic, text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._delivered:
            self._delivered.wait_for(lambda: self._n_delivered >= self._n_taken, DELIVER_S)
            lost = self._n_taken - self._n_delivered + self.dropped
        self._client.disconnect()
        self._client.loop_stop()
        if lost > 0 and error is None:
            raise SinkError(f"{self._where}: {lost} messages not delivered", "all of them", "Check the broker.")

    def _publish(self, topic: str, text: str, *, retain: bool = False) -> None:
        # no lock of ours here: the client's thread holds its own while it calls `_published`
        sent = self._client.publish(topic, text, qos=_AT_LEAST_ONCE, retain=retain)
        if sent.rc == self._mqtt.MQTT_ERR_QUEUE_SIZE:
            self.dropped += 1
        else:
            self._n_taken += 1  # also where the connection is lost: then it is kept and sent later

    def _published(self, client: Any, data: Any, mid: Any, reason: Any, properties: Any) -> None:
        with self._delivered:
            self._n_delivered += 1
            self._delivered.notify_all()

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._refusal = str(reason) if reason.is_failure else ""
        self._answered.set()

    def _meta(self) -> str:
        contract = self._contract
        meta = {
            "task": contract.task,
            "labels": list(contract.labels),
            "values": {value.name: value.units for value in contract.values},
        }
        return json.dumps(meta)
