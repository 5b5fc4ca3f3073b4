"""A Bluetooth Low Energy device that is lost and found again: notifications out of bleak's loop, into a queue."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from physioedge.signals.foreign import needed
from physioedge_runtime.errors import PhysioEdgeError, SourceError

SCAN_S, PATIENCE_S = 10.0, 3600.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
_QUEUED = 10_000
Heard = tuple[str, bytes, float]
"""Characteristic, value, and when it came by `time.time`."""


class BleLink:
    """Notifications of some characteristics, across losses of the connection.

    Parameters
    ----------
    service : str
        What a device must offer to be found where none is named.
    address : str
        Address or name of the device; empty takes the only one in reach that offers `service`.
    listen : tuple of str
        Characteristics to be notified of.
    commands : mapping of str to tuple of bytes
        What to write to which characteristic after each connection.
    bleak : module, optional
        For tests; by default the package bleak.
    patience_s : float
        How long a lost device is looked for.

    Raises
    ------
    MissingExtra
        bleak is not installed.
    """

    def __init__(
        self,
        service: str,
        address: str,
        listen: tuple[str, ...],
        *,
        commands: Mapping[str, tuple[bytes, ...]] | None = None,
        bleak: Any = None,
        patience_s: float = PATIENCE_S,
        scan_s: float = SCAN_S,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._bleak = bleak if bleak is not None else needed("bleak", "ble", "A Bluetooth sensor")
        self._service, self._address, self._listen = service, address, listen
        self._commands = dict(commands or {})
        self._patience_s, self._scan_s, self._first_wait_s = patience_s, scan_s, first_wait_s
        self._heard: queue.Queue[Heard | PhysioEdgeError | None] = queue.Queue(_QUEUED)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ble", daemon=True)
        self._met = False
        self.losses = 0

    def start(self) -> None:
        """Look for the device in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Disconnect."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def values(self, pause_s: float = 1.0) -> Iterator[Heard | None]:
        """What the device sends, as it comes; None after every `pause_s` of silence.

        Raises
        ------
        SourceError
            There is no such device, it refuses, or it is lost for good.
        """
        while True:
            try:
                item = self._heard.get(timeout=pause_s)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, PhysioEdgeError):
                raise item
            yield item

    def fail(self, error: PhysioEdgeError) -> None:
        """End the stream of values with an error, from a callback."""
        self._put(error)
        self._stop.set()

    def _put(self, item: Heard | PhysioEdgeError | None) -> None:
        try:
            self._heard.put_nowait(item)
        except queue.Full:  # nobody takes them: the oldest is the least use
            self._heard.get_nowait()
            self._heard.put_nowait(item)

    def _work(self) -> None:
        try:
            asyncio.run(self._keep())
        except PhysioEdgeError as error:
            self._put(error)
        except Exception as error:  # noqa: BLE001 - the thread ends here; whoever takes values is told
            came = f"Bluetooth that fails ({' '.join(str(error).split())[:160]})"
            do = "Switch Bluetooth on; on Linux start bluetoothd."
            self._put(SourceError(came, "an adapter", do))
        else:
            self._put(None)

    async def _keep(self) -> None:
        """Connect again and again, with growing pauses, until told to stop or out of patience."""
        wait_s, lost_at = self._first_wait_s, time.monotonic()
        while not self._stop.is_set():
            try:
                await self._once()
                wait_s, lost_at = self._first_wait_s, time.monotonic()
                self.losses += not self._stop.is_set()
            except (self._bleak.exc.BleakError, OSError, TimeoutError) as error:
                if not self._met:
                    raise
                if time.monotonic() - lost_at > self._patience_s:
                    came = f"{self._named()}, lost for {time.monotonic() - lost_at:.0f} s ({error})"
                    raise SourceError(came, "the device in reach", "Bring it back and start anew.") from error
            await self._pause(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _pause(self, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while not self._stop.is_set() and time.monotonic() < until:
            await asyncio.sleep(min(0.05, wait_s))

    async def _once(self) -> None:
        """One connection, from finding the device to losing it."""
        lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        device = await self._find()
        client = self._bleak.BleakClient(device, disconnected_callback=lambda _: loop.call_soon_threadsafe(lost.set))
        async with client:
            for uuid in self._listen:
                await client.start_notify(uuid, self._callback(uuid))
            for uuid, values in self._commands.items():
                for value in values:
                    await client.write_gatt_char(uuid, value, response=True)
            self._met = True
            while not (self._stop.is_set() or lost.is_set()):
                await asyncio.sleep(0.02)

    def _callback(self, uuid: str) -> Callable[[Any, bytearray], None]:
        return lambda _, data: self._put((uuid, bytes(data), time.time()))

    async def _find(self) -> Any:
        found = await self._bleak.BleakScanner.discover(timeout=self._scan_s, return_adv=True)
        named = {address: device for address, (device, _) in found.items()}
        offers = [a for a, (_, advert) in found.items() if self._service in (advert.service_uuids or [])]
        names = {a: (advert.local_name or device.name or "") for a, (device, advert) in found.items()}
        wanted = self._address.lower()
        hits = [a for a in named if a.lower() == wanted or names[a].lower() == wanted] if wanted else offers
        if len(hits) == 1:
            return named[hits[0]]
        listed = ", ".join(f"{names[a] or '?'} {a}" for a in offers) or "none"
        came = f"{len(hits)} devices for {self._named()}" if hits else f"no {self._named()} in reach"
        if hits or not self._met:
            raise SourceError(came, f"one; in reach with this service: {listed}", "Name one by its address, wear it.")
        raise self._bleak.exc.BleakError(came)

    def _named(self) -> str:
        return f"Bluetooth device {self._address or 'with service ' + self._service[4:8]}"
