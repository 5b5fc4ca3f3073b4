"""A stand-in for bleak: devices in the air, connections that are lost, notifications by script."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace


class BleakError(Exception):
    pass


class Air:
    """What is in reach, and what it does. `script(client)` is a coroutine of one connection."""

    def __init__(self, *, address="AA:BB", name="Strap 1", services=(), script=None, others=()):
        self.devices = {address: (name, tuple(services)), **dict(others)}
        self.script, self.written, self.connections, self.hidden = script, [], 0, 0
        air = self

        class BleakScanner:
            @staticmethod
            async def discover(timeout, return_adv):
                assert return_adv
                if air.hidden:
                    air.hidden -= 1
                    return {}
                return {
                    address: (
                        SimpleNamespace(address=address, name=name),
                        SimpleNamespace(local_name=name, service_uuids=list(services)),
                    )
                    for address, (name, services) in air.devices.items()
                }

        class BleakClient:
            def __init__(self, device, disconnected_callback=None):
                self.device, self.lost, self.listeners = device, disconnected_callback, {}

            async def __aenter__(self):
                air.connections += 1
                self.task = None
                return self

            async def __aexit__(self, *error):
                if self.task is not None:
                    self.task.cancel()

            async def start_notify(self, uuid, callback):
                self.listeners[uuid] = callback
                if self.task is None:
                    self.task = asyncio.get_running_loop().create_task(air.script(self))

            async def write_gatt_char(self, uuid, data, response):
                air.written.append((uuid, bytes(data)))

            def notify(self, uuid, data):
                self.listeners[uuid](None, bytearray(data))

            def lose(self):
                self.lost(self)

        self.BleakScanner, self.BleakClient = BleakScanner, BleakClient
        self.exc = SimpleNamespace(BleakError=BleakError)
