"""The lines of a text file, plain or gzip, in blocks, each with its exact number.

Knows nothing of csv or JSON. What is wrong with the file as a whole (missing, empty, binary, cut off) is a `FormatError`; what is
wrong with one line (not UTF-8, a null byte) is noted beside the block, for the reader above to reject.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ...errors import FormatError

NOT_UTF8 = "lines that are not UTF-8"
UNREADABLE = "unreadable lines"

_BLOCK_BYTES = 1 << 20
_LONGEST_LINE = 64 << 20
_GZIP = b"\x1f\x8b"
_KINDS = {
    _GZIP: "gzip data though its name does not end in .gz; rename it",
    b"PAR1": "a parquet file by its content, wanted text; name it .parquet",
    b"PK\x03\x04": "a zip or Excel file by its content, wanted text; export it as csv",
}
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_STRAY = 8
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Block:
    """Some lines in a row.

    Attributes:
        first: the 1-based number of the first line.
        lines: their text with the line ends as they are; a line in `bad` is there with replacement characters.
        bad: line number to (problem, cause) of the lines that are no text.
    """

    first: int
    lines: list[str]
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)


class LineReader:
    """The blocks of one file, oldest line first; iterate once.

    Attributes:
        size: bytes of the file on disk. done: bytes of it read so far (compressed bytes where it is gzip).
    Raises: FormatError: the file is missing, empty, not text, or not the gzip that its name says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = checked_size(path)
        self.done = 0

    def __iter__(self) -> Iterator[Block]:
        first = 1
        for data in self._whole_lines():
            block = _decoded(first, data)
            first += len(block.lines)
            yield block

    def _whole_lines(self) -> Iterator[bytes]:
        """Bytes that end where a line ends; the byte order mark is gone."""
        rest: list[bytes] = []
        waiting = 0
        for number, data in enumerate(self._data()):
            if number == 0:
                data = self._checked_start(data)
            cut = data.rfind(b"\n") + 1
            if cut:
                yield b"".join([*rest, data[:cut]])
                rest, waiting = [], 0
            rest.append(data[cut:])
            waiting += len(data) - cut
            if waiting > _LONGEST_LINE:
                raise FormatError(self.path, None, "a line is longer than 64 MB; wanted one record a line")
        if waiting:
            yield b"".join(rest)

    def _data(self) -> Iterator[bytes]:
        with self.path.open("rb") as raw:
            zipped = self.path.name.lower().endswith(".gz")
            stream: BinaryIO = gzip.GzipFile(fileobj=raw) if zipped else raw  # type: ignore[assignment]
            found = False
            while True:
                try:
                    data = stream.read(_BLOCK_BYTES)
                except EOFError as error:
                    raise FormatError(self.path, None, "the gzip data ends early (was the download or copy cut off?)") from error
                except (gzip.BadGzipFile, zlib.error) as error:
                    cause = f"the gzip data is damaged ({error})" if found else "named .gz but not gzip data; rename it"
                    raise FormatError(self.path, None, cause) from error
                self.done = raw.tell()
                if not data:
                    break
                found = True
                yield data
            if not found:
                raise FormatError(self.path, None, "the file is empty")

    def _checked_start(self, data: bytes) -> bytes:
        for mark, cause in _KINDS.items():
            if data.startswith(mark):
                raise FormatError(self.path, None, cause)
        head = data[:65536]
        if data.startswith(_WIDE):
            raise FormatError(self.path, None, "UTF-16 text, wanted UTF-8; save it as UTF-8")
        # A stray null byte spoils a line; many control characters mean that this was never text.
        controls = len(head) - len(head.translate(None, _CONTROL))
        if 0 in head and controls > max(_STRAY, len(head) // 100):
            raise FormatError(self.path, None, "binary data, wanted UTF-8 text")
        return data.removeprefix(_BOM)


def checked_size(path: Path) -> int:
    """The bytes of a file that can be read and is not empty.

    Raises: FormatError: there is no such file, it is a folder, it is empty, or reading it is not permitted.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
    except FileNotFoundError as error:
        raise FormatError(path, None, "no such file") from error
    except IsADirectoryError as error:
        raise FormatError(path, None, "a folder, wanted a file") from error
    except PermissionError as error:
        raise FormatError(path, None, "no permission to read it") from error
    if size == 0:
        raise FormatError(path, None, "the file is empty")
    return size


def _decoded(first: int, data: bytes) -> Block:
    raw = data.splitlines(keepends=True)  # of bytes: ends only at \n, \r and \r\n, never at the other marks of Unicode
    try:
        block = Block(first, [line.decode() for line in raw])
    except UnicodeDecodeError:
        block = Block(first, [])
        for number, line in enumerate(raw, first):
            try:
                block.lines.append(line.decode())
            except UnicodeDecodeError as error:
                block.lines.append(line.decode(errors="replace"))
                block.bad[number] = (NOT_UTF8, f"not UTF-8 text (byte 0x{line[error.start]:02X} at character {error.start + 1})")
    if 0 in data:
        for number, line in enumerate(raw, first):
            if 0 in line:
                block.bad.setdefault(number, (UNREADABLE, "holds a null byte"))
    return block
