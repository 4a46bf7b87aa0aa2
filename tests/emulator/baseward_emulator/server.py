"""HTTP/1.1 with keep-alive, one thread per connection, and replies that break in the ways faults ask for."""

import select
import socket
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .call import HttpRequest, Reply, Transport
from .control import PREFIX, Control
from .emulator import Emulator


class Server(ThreadingHTTPServer):
    """The listening server."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, emulator: Emulator) -> None:
        self.emulator, self.control = emulator, Control(emulator)
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that the client or a fault has closed is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """The ledger is the log."""

    def _handle(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = HttpRequest(self.command, path, query, headers, self.rfile.read(length))
        if path.startswith(PREFIX):
            reply = self.server.control.serve(request)
        else:
            reply = self.server.emulator.serve(request)
        self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _send(self, reply: Reply) -> None:
        if reply.transport is Transport.RESET:
            self._reset()
        elif reply.transport is Transport.HANG:
            self._hang(reply.seconds)
        else:
            self._write(reply)

    def _write(self, reply: Reply) -> None:
        """Head and body in one segment where they fit."""
        head = [
            f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('',))[0]}",
            f"Content-Type: {reply.content_type}",
            f"Content-Length: {len(reply.body)}",
        ]
        if reply.request_id:
            head.append(f"x-amzn-RequestId: {reply.request_id}")
        if reply.error_type:
            head.append(f"x-amzn-ErrorType: {reply.error_type}")
        truncated = reply.transport is Transport.TRUNCATE
        body = reply.body[: len(reply.body) // 2] if truncated else reply.body
        self.wfile.write("\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n" + body)
        if truncated:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        """Close with RST instead of FIN, and end the thread."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()
        raise ConnectionResetError("closed by a fault")

    def _hang(self, seconds: float | None) -> None:
        """Say nothing until the client goes away or the time is over."""
        self.close_connection = True
        deadline = time.monotonic() + seconds if seconds else float("inf")
        while (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self.connection], [], [], min(left, 1.0))
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return
            if readable:
                time.sleep(min(left, 0.05))  # a pipelined request, to which nothing is said either
