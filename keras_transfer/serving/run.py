"""A service on a port, from its start to its end."""

import contextlib
import ipaddress
import os
import pathlib
import signal
import socket
import time

import uvicorn

from keras_transfer.runtime.status_lines import say
from keras_transfer.serving.app import make_app
from keras_transfer.serving.connections import KEEP_ALIVE, watched
from keras_transfer.serving.limits import Limits
from keras_transfer.serving.served import load_served
from keras_transfer.serving.service import Service

# Connections at once; beyond, the answer is 503.
_CONNECTIONS = 512
_BACKLOG = 512
# Seconds for what is in flight at the end, at most.
_LAST = 30


def serve(
    path: pathlib.Path, host: str, port: int, token: str | None, limits: Limits
) -> None:
    """Serve a classifier until the process is told to end.

    Raises:
        ValueError: If the address cannot be had, or it can be reached from elsewhere
            and there is no token; or the classifier cannot be loaded.
    """
    address, family = _resolved(host, port)
    local = ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
    if token is None and not local:
        raise ValueError(
            "An address that others can reach needs a token: add --token, or set "
            "KERAS_TRANSFER_TOKEN, which other users of this machine do not see. "
            f"Received: --host {host}"
        )
    with _bound(address, family) as listening:
        shown = f"[{host}]" if ":" in host else host
        service = Service(lambda: load_served(path), limits)

        def ready():
            names = ", ".join(service.served.class_names)
            say(f"Ready: {names}. Ctrl+C ends it.", flush=True)

        app = make_app(
            service,
            token=token,
            hosts=("127.0.0.1", "localhost", "[::1]", shown) if local else ("*",),
            ready=ready,
            failed=lambda: server.end(),
        )
        config = uvicorn.Config(
            app,
            http=watched(limits),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            backlog=_BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=_LAST,
        )
        server = _Server(config, service)
        port = listening.getsockname()[1]
        say(f"Serving {path.name} on http://{shown}:{port}", flush=True)
        server.run(sockets=[listening])
    if service.failure is not None:
        raise service.failure


class _Server(uvicorn.Server):
    """End when what is in flight has been answered; meanwhile `/readyz` says no.

    Uvicorn alone takes no more connections at once, and then repeats the signal, which
    would end the process with another status.
    """

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service, self._until = service, None

    def end(self) -> None:
        self.should_exit = True

    def handle_exit(self, sig: int, frame) -> None:  # noqa: ARG002
        if self._service.closing and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        self._service.closing = True

    async def on_tick(self, counter: int) -> bool:
        if self._service.closing:
            now = time.monotonic()
            self._until = self._until or now + _LAST
            if not self._service.requests or now > self._until:
                self.end()
        return await super().on_tick(counter)


def _resolved(host: str, port: int) -> tuple[tuple, int]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(
            "host must be a name or an address of this machine, such as 127.0.0.1. "
            f"Received: --host {host}"
        ) from error
    family, *_, address = found[0]
    return address[:2], family


@contextlib.contextmanager
def _bound(address: tuple, family: int):
    # With its protocol named, or asyncio leaves it to gather small packets: an answer
    # then came 40 ms late.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # On Windows, two processes could have the same port.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ValueError(
            f"This address cannot be had ({error.strerror}). Choose another port with "
            "--port, or --port 0 for one that is free. "
            f"Received: --host {address[0]}, --port {address[1]}"
        ) from error
    with listening:
        yield listening
