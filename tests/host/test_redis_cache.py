"""Answers shared through a real Redis server on this machine."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("redis", reason="needs the extra fleet")

from made_up_host import DEVICE, LinearGenerator, answers, condition_bytes, free_port, link_to, served, until
from physioedge.host.redis_cache import PREFIX, RedisCache
from physioedge_runtime.adaptation.request import Request

SERVER = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(SERVER is None, reason="needs redis-server: apt-get install redis-server")
ANSWER = b"an adapter, which is somebody's" * 40


@contextmanager
def redis_server(folder: Path, port: int) -> Iterator[str]:
    """A server that keeps nothing on disk unless told to; gives its address."""
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        child = subprocess.Popen([str(SERVER), *words], stdout=log, stderr=log)
    try:
        until(lambda: answers(port), 60.0)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        child.kill()
        child.wait()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis"), free_port()) as address:
        yield address


@needs_redis
def test_the_first_answer_is_everybodys(url: str) -> None:
    async def ask() -> None:
        one, other = RedisCache(url, 60.0), RedisCache(url, 60.0)
        assert await one.get("a") is None
        assert await one.put("a", ANSWER) == ANSWER
        assert await other.put("a", b"made at the same time") == ANSWER
        assert await other.get("a") == ANSWER
        await one.close()
        await other.close()

    asyncio.run(ask())


@needs_redis
def test_an_answer_is_erased_in_time(url: str) -> None:
    async def ask() -> None:
        cache = RedisCache(url, 0.3)
        await cache.put("b", ANSWER)
        assert await cache.get("b") == ANSWER
        await asyncio.sleep(0.6)
        assert await cache.get("b") is None
        await cache.close()

    asyncio.run(ask())


@needs_redis
def test_the_server_learns_nothing_and_changes_nothing(url: str) -> None:
    async def ask() -> None:
        from redis.asyncio import Redis

        cache, server = RedisCache(url, 60.0), Redis.from_url(url)
        await cache.put("c" * 64, ANSWER)
        await server.save()
        dump = (Path((await server.config_get("dir"))["dir"]) / "dump.rdb").read_bytes()
        assert PREFIX.encode() in dump
        assert b"somebody" not in dump and b"c" * 16 not in dump
        places = [place async for place in server.scan_iter(PREFIX + "*")]
        for place in places:
            sealed = await server.get(place)
            await server.set(place, sealed[:-1] + bytes([sealed[-1] ^ 1]))
        assert await cache.get("c" * 64) is None
        await server.aclose()
        await cache.close()

    asyncio.run(ask())


@needs_redis
def test_two_hosts_give_one_answer_and_make_it_once(url: str) -> None:
    first, second = LinearGenerator(), LinearGenerator()
    with served(first, cache=RedisCache(url, 60.0)) as one, served(second, cache=RedisCache(url, 60.0)) as other:
        request = Request.new(device=DEVICE, counter=3, condition=condition_bytes(5))
        answer = link_to(one.state.port).send(request)
        assert link_to(other.state.port).send(request) == answer
        assert (first.batches, second.batches) == ([1], [])
        assert other.state.service.metrics.repeated == 1


@needs_redis
def test_two_hosts_asked_at_the_same_time_give_one_answer(url: str) -> None:
    slow = [LinearGenerator(slow_s=0.3) for _ in range(2)]
    clocks = iter((1000.0, 2000.0))
    lock = threading.Lock()

    def clock() -> float:
        """Answers made in different seconds are different bytes."""
        with lock:
            return next(clocks)

    with (
        served(slow[0], cache=RedisCache(url, 60.0), clock=clock) as one,
        served(slow[1], cache=RedisCache(url, 60.0), clock=clock) as other,
        ThreadPoolExecutor(2) as pool,
    ):
        request = Request.new(device=DEVICE, counter=3, condition=condition_bytes(6))
        sent = [pool.submit(link_to(app.state.port).send, request) for app in (one, other)]
        assert sent[0].result() == sent[1].result()
        assert slow[0].batches == slow[1].batches == [1]


@needs_redis
def test_a_host_goes_on_without_its_server(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port) as address:
        cache = RedisCache(address, 60.0, timeout_s=0.2)
    generator = LinearGenerator()
    with served(generator, cache=cache) as app:
        request = Request.new(device=DEVICE, counter=0, condition=condition_bytes(7))
        link_to(app.state.port).send(request)
        link_to(app.state.port).send(request)
    assert generator.batches == [1, 1]
