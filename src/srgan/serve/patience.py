"""Closes connections of clients that send no request or read no answer: uvicorn waits for ever."""

import logging
import socket
from asyncio import TimerHandle, Transport

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Bytes that the kernel takes before it can send them. It takes megabytes otherwise, and next to a
# slow reader nothing would seem to move meanwhile.
LEAST_UNSENT = 1 << 17
# The longest time in which a client takes nothing. The kernel tells of progress in large steps: a
# client that reads 4 KB/s may seem to take nothing for minutes, and a telephone may sleep.
READING_SECONDS = 600.0

log = logging.getLogger("srgan")


class Impatient(H11Protocol):
    """uvicorn's protocol, with limits for two more kinds of silence.

    The time for the headers of a request is that of keep-alive; `READING_SECONDS` is the time in
    which a client takes no byte of its answer.
    """

    _timer: TimerHandle | None = None
    _sending: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, LEAST_UNSENT)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()
        self._stop_sending()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_sending()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_reader()  # closing waits until the rest of an answer is sent

    def _await_reader(self, before: int = 0) -> None:
        """Close the connection when what waits for the client, once `before` bytes, stays."""
        self._stop_sending()
        waiting = self.transport.get_write_buffer_size()  # it only shrinks while we are here
        if waiting and waiting == before:
            log.warning("a client took nothing for %.0f s: connection closed", READING_SECONDS)
            self.transport.abort()
        elif waiting:
            self._sending = self.loop.call_later(READING_SECONDS, self._await_reader, waiting)

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:  # the headers are there
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
