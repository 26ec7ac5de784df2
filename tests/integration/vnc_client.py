"""A VNC client of a few lines: RFB 3.8 without security, over a unix socket."""

import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Optional, Type

HANG_S = 60.0
NO_SECURITY = 1
RAW = 0  # what it gets who asks for no other encoding
PIXEL = 4  # bytes, of a server's own format


class VncClient:
    """Connected, and the server has told the size of its screen."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(HANG_S)
        try:
            self.socket.connect(str(path))
            assert self.read(12) == b"RFB 003.008\n"
            self.socket.sendall(b"RFB 003.008\n")
            assert NO_SECURITY in self.read(self.read(1)[0])
            self.socket.sendall(bytes([NO_SECURITY]))
            assert self.read(4) == bytes(4)
            self.socket.sendall(b"\1")  # shared
            self.width, self.height, length = struct.unpack("!HH16xI", self.read(24))
            self.name = self.read(length).decode()
        except BaseException:
            self.socket.close()
            raise

    def read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, "the VNC server hung up"
            data += more
        return bytes(data)

    def update(self) -> int:
        """Asks for the whole screen; the number of rectangles that the answer has."""
        self.socket.sendall(struct.pack("!BBHHHH", 3, 0, 0, 0, self.width, self.height))
        kind, rectangles = struct.unpack("!BxH", self.read(4))
        assert kind == 0
        return int(rectangles)

    def picture(self) -> int:
        """Asks for the whole screen and takes all of it, as plain pixels; its bytes."""
        size = 0
        for _ in range(self.update()):
            *_, width, height, encoding = struct.unpack("!HHHHi", self.read(12))
            assert encoding == RAW
            size += len(self.read(width * height * PIXEL))
        return size

    def __enter__(self) -> "VncClient":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.socket.close()
