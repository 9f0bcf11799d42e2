"""Who holds a connection for longer than honest clients do loses it, and nobody else.

The application answers when it is told to, with as much as it is told to: the rest is
the server of `serve`.
"""

import asyncio
import contextlib
import http.client
import socket
import threading
import time
import urllib.parse

import pytest
import uvicorn

from keras_transfer.serving.connections import watched
from keras_transfer.serving.limits import Limits

LIMITS = Limits(read=0.3, wait=3)
# More than systems take for a client that does not read.
MUCH = 32 * 2**20


async def application(scope, _, send):
    """Wait as many seconds as the address asks for, and send as many bytes."""
    if scope["type"] == "http":
        asked = dict(urllib.parse.parse_qsl(scope["query_string"].decode()))
        await asyncio.sleep(float(asked.get("seconds", 0)))
        await send({"type": "http.response.start", "status": 200})
        body = b"x" * int(asked.get("bytes", 1))
        await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def running(limits):
    config = uvicorn.Config(
        application, port=0, log_config=None, lifespan="off", http=watched(limits)
    )
    made = uvicorn.Server(config)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    while not made.started:
        time.sleep(0.01)
    try:
        yield made
    finally:
        made.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def server():
    with running(LIMITS) as made:
        yield made


def port(server):
    return server.servers[0].sockets[0].getsockname()[1]


@contextlib.contextmanager
def client(server):
    made = http.client.HTTPConnection("127.0.0.1", port(server), timeout=30)
    with contextlib.closing(made):
        yield made


def connected(server):
    return socket.create_connection(("127.0.0.1", port(server)), timeout=10)


def ask(made, target="/", headers=()):
    made.request("GET", target, headers=dict(headers))
    return made.getresponse()


def test_an_answer_may_take_as_long_as_it_may_wait(server):
    with client(server) as made:
        assert ask(made, f"/?seconds={LIMITS.wait - 1}").read() == b"x"


def test_an_idle_connection_lives_on_whatever_was_before(server):
    with client(server) as made:
        for target in ("/", "/?seconds=1", "/"):
            time.sleep(3 * LIMITS.read if made.sock else 0)
            assert ask(made, target).read() == b"x"


def test_the_last_answer_may_be_taken_slowly():
    with running(Limits(read=3)) as server, client(server) as made:
        answer = ask(made, f"/?bytes={MUCH}", {"connection": "close"})
        time.sleep(1.2)  # Until it has been looked at.
        assert len(answer.read()) == MUCH


def test_who_does_not_take_the_answer_is_cut_off(server):
    request = f"GET /?bytes={MUCH} HTTP/1.1\r\nhost: localhost\r\n"
    for more in ("connection: close\r\n\r\n", f"\r\n{request}\r\n"):
        with connected(server) as connection:
            connection.sendall((request + more).encode())
            assert connection.recv(1, socket.MSG_PEEK)
            end = time.monotonic() + 10
            while server.server_state.connections:
                assert time.monotonic() < end
                time.sleep(0.02)


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
def test_who_says_nothing_is_cut_off(server, sent):
    with connected(server) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        assert time.monotonic() - started < 4
