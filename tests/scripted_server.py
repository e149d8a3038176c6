"""A raw server on loopback whose every connection follows a script: for all that no proper server does."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TypeAlias

Script: TypeAlias = Callable[["Connection"], None]

KEY_OWNER = b'{"ok": true, "user": "ada"}'


def answer(status: int = 200, body: bytes = KEY_OWNER, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a whole answer."""
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body


def each_request(*answers: bytes) -> Script:
    """Answer the requests of a connection in turn, the last answer for all that follow."""

    def script(connection: Connection) -> None:
        number = 0
        while connection.read_request() is not None:
            connection.send(answers[min(number, len(answers) - 1)])
            number += 1

    return script


def after_request(*steps: Callable[[Connection], None]) -> Script:
    """Read one request, then do ``steps`` and close."""

    def script(connection: Connection) -> None:
        if connection.read_request() is not None:
            for step in steps:
                step(connection)

    return script


@dataclass(frozen=True)
class Received:
    """A request as it came; header names in lower case."""

    line: str
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One accepted connection, as a script sees it."""

    def __init__(self, server: ScriptedServer, plain: socket.socket) -> None:
        self._server = server
        self._socket = plain
        self._pending = b""

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Become a TLS server on this connection."""
        plain = self._socket
        try:
            self._socket = context.wrap_socket(plain, server_side=True)
        finally:
            plain.close()

    def read_request(self) -> Received | None:
        """Return the next request, noted by the server; None at the end."""
        while b"\r\n\r\n" not in self._pending:
            if not self._more():
                return None
        head, _, self._pending = self._pending.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        while len(self._pending) < int(headers.get("content-length", 0)):
            if not self._more():
                return None
        length = int(headers.get("content-length", 0))
        received = Received(line, headers, self._pending[:length])
        self._pending = self._pending[length:]
        self._server.requests.append(received)
        return received

    def until_asked(self) -> None:
        """Wait for the first byte of a request, and leave it unread."""
        self._socket.recv(1, socket.MSG_PEEK)

    def read_slowly(self, *, size: int, interval: float) -> None:
        """Take ``size`` bytes at a time off the connection until it ends."""
        while self._socket.recv(size) and not self.pause(interval):
            pass

    def send(self, data: bytes) -> None:
        """Send at once."""
        self._socket.sendall(data)

    def drip(self, data: bytes, *, interval: float) -> None:
        """Send a byte each ``interval`` seconds."""
        for byte in data:
            self.send(bytes([byte]))
            if self.pause(interval):
                return

    def send_endlessly(self, data: bytes) -> None:
        """Send the same again and again until the other side has had enough."""
        while not self._server.is_ending:
            self.send(data)

    def pause(self, seconds: float) -> bool:
        """Wait; true when the server ends meanwhile."""
        return self._server.wait(seconds)

    def hang(self) -> None:
        """Say nothing until the other side goes."""
        while self._more():
            pass

    def half_close(self) -> None:
        """Say that no more comes, and keep listening."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """End in good order."""
        self._socket.close()

    def shut(self) -> None:
        """Wake the script, whatever it is waiting for."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _more(self) -> bool:
        data = self._socket.recv(65536)
        self._pending += data
        return bool(data)


class ScriptedServer:
    """Serves in threads of its own; the n-th connection follows the n-th script, the last one all that follow.

    ``requests`` holds what was received, ``connections`` how many there were and ``ended`` how many are over.
    """

    def __init__(
        self, *scripts: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, buffer: int | None = None
    ) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.ended = 0
        self._scripts = scripts or (each_request(answer()),)
        self._tls = tls
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._open: set[Connection] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        if buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._listener.bind((host, 0))
        self._listener.listen(128)
        self.port: int = self._listener.getsockname()[1]
        scheme, shown = "https" if tls else "http", f"[{host}]" if ":" in host else host
        self.base_url = f"{scheme}://{shown}:{self.port}"

    def __enter__(self) -> ScriptedServer:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._changed:
            for each in self._open:
                each.shut()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    @property
    def is_ending(self) -> bool:
        """Whether all scripts should come to their end."""
        return self._ending.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the server ends; true if it does."""
        return self._ending.wait(seconds)

    def until_ended(self, count: int, *, within: float = 2) -> bool:
        """Wait until so many connections are over."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended >= count, within)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                script = self._scripts[min(self.connections, len(self._scripts) - 1)]
                self.connections += 1
                connection = Connection(self, accepted)
                self._open.add(connection)
            self._run(partial(self._serve, connection, script))

    def _serve(self, connection: Connection, script: Script) -> None:
        try:
            if self._tls is not None:
                connection.start_tls(self._tls)
            script(connection)
        except OSError:
            pass  # the other side went, which is what many scripts are for
        with self._changed:
            connection.close()
            self._open.discard(connection)
            self.ended += 1
            self._changed.notify_all()

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="scripted-server", daemon=True)
        self._threads.append(thread)
        thread.start()
