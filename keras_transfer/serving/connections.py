"""Connections that are cut off where they are held for longer than they are needed."""

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from keras_transfer.serving.limits import Limits

# Seconds that a connection is kept for the next request, by Uvicorn.
KEEP_ALIVE = 5
# A connection is looked at as often as this in the time that an upload may take.
_LOOKS = 3


def watched(limits: Limits) -> type:
    """Return the protocol of a connection that is cut off when its time is up.

    One that has asked for nothing yet, or not for more, has less time than an upload.
    An answer has what upload and wait may take, and the client as long as for an upload
    to take it.
    """
    every = limits.read / _LOOKS
    most = {
        "silent": every,
        "idle": max(every, KEEP_ALIVE),
        "busy": limits.read + limits.wait + limits.read,
        # Waits for the client to take the rest.
        "closing": limits.read,
    }

    class Connection(AutoHTTPProtocol):
        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            self._state, self._since = self._found(), self.loop.time()
            self._next = self.loop.call_later(every, self._look)

        def connection_lost(self, exc: Exception | None) -> None:
            self._next.cancel()
            super().connection_lost(exc)

        def _found(self) -> tuple:
            cycle = self.cycle
            if self.transport.is_closing():
                return "closing", cycle
            if cycle is None:
                return "silent", cycle
            return "idle" if cycle.response_complete else "busy", cycle

        def _look(self) -> None:
            found, now = self._found(), self.loop.time()
            if found != self._state:
                self._state, self._since = found, now
            if now - self._since >= most[found[0]]:
                self.transport.abort()
                return
            self._next = self.loop.call_later(every, self._look)

    return Connection
