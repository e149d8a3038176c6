"""A gate before a database server: it can be shut, or have nothing get through."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Gate:
    """Forwards connections from a port of its own, as long as it is open."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._sockets: list[socket.socket] = []
        self._passes = threading.Event()
        self.holds = threading.Event()
        """Set when somebody waits for what does not get through."""
        self._is_open = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._passes.set()
        threading.Thread(target=self._listen, daemon=True).start()

    def shut(self) -> None:
        """End all connections, and refuse new ones."""
        self._is_open = False
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let connections through again."""
        self._is_open = True
        self._passes.set()

    def block(self) -> None:
        """Keep all connections, and let nothing through: the database hangs."""
        self.holds.clear()
        self._passes.clear()

    def close(self) -> None:
        """End everything."""
        self.shut()
        self._passes.set()
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self._is_open:
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._passes.is_set():
                    self.holds.set()
                    self._passes.wait()
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
