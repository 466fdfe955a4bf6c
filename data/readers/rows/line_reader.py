"""Lines of a text file, plain or gzip, in blocks with line numbers.

Knows nothing of CSV or JSON. An error of the whole file (missing, empty, binary, truncated) raises `FormatError`; an error of one line
(not UTF-8, a null byte) is recorded in the block, for the calling reader to reject.
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
_MAX_LINE_BYTES = 64 << 20
_GZIP = b"\x1f\x8b"
_KINDS = {
    _GZIP: "gzip data, but the name does not end in .gz; rename it",
    b"PAR1": "a parquet file by its content, expected text; name it .parquet",
    b"PK\x03\x04": "a zip or Excel file by its content, expected text; export it as csv",
}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_MAX_STRAY_CONTROLS = 8
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Block:
    """Consecutive lines.

    Attributes:
        first: Number of the first line, from 1.
        lines: Text of the lines with their line ends; lines in `bad` contain replacement characters.
        bad: Line number to (problem, cause) of the lines that are not text.
    """

    first: int
    lines: list[str]
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)


class LineReader:
    """Iterator over the blocks of one file; iterate once.

    Attributes:
        path: The file.
        size: Bytes of the file on disk.
        done: Bytes read so far (compressed bytes for gzip).

    Raises:
        FormatError: The file is missing, empty, not text, or not gzip data although its name ends in .gz.
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
        """Blocks of bytes that end at a line end, without the byte order mark."""
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
            if waiting > _MAX_LINE_BYTES:
                raise FormatError(self.path, None, "a line is longer than 64 MB; expected one record per line")
        if waiting:
            yield b"".join(rest)

    def _data(self) -> Iterator[bytes]:
        with self.path.open("rb") as raw:
            zipped = self.path.name.lower().endswith(".gz")
            stream: BinaryIO = gzip.GzipFile(fileobj=raw) if zipped else raw  # type: ignore[assignment]
            has_data = False
            while True:
                try:
                    data = stream.read(_BLOCK_BYTES)
                except EOFError as error:
                    raise FormatError(self.path, None, "the gzip data ends early (was the download or copy cut off?)") from error
                except (gzip.BadGzipFile, zlib.error) as error:
                    cause = f"the gzip data is damaged ({error})" if has_data else "named .gz but not gzip data; rename it"
                    raise FormatError(self.path, None, cause) from error
                self.done = raw.tell()
                if not data:
                    break
                has_data = True
                yield data
            if not has_data:
                raise FormatError(self.path, None, "the file is empty")

    def _checked_start(self, data: bytes) -> bytes:
        for mark, cause in _KINDS.items():
            if data.startswith(mark):
                raise FormatError(self.path, None, cause)
        head = data[:65536]
        if data.startswith(_UTF16_MARKS):
            raise FormatError(self.path, None, "UTF-16 text, expected UTF-8; save it as UTF-8")
        # A single null byte invalidates its line; many control characters mean that the file is binary.
        controls = len(head) - len(head.translate(None, _CONTROL))
        if 0 in head and controls > max(_MAX_STRAY_CONTROLS, len(head) // 100):
            raise FormatError(self.path, None, "binary data, expected UTF-8 text")
        return data.removeprefix(_BOM)


def checked_size(path: Path) -> int:
    """Size in bytes of a readable, non-empty file.

    Raises:
        FormatError: The file does not exist, is a folder, is empty or is not readable.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
    except FileNotFoundError as error:
        raise FormatError(path, None, "no such file") from error
    except IsADirectoryError as error:
        raise FormatError(path, None, "a folder, expected a file") from error
    except PermissionError as error:
        raise FormatError(path, None, "no permission to read it") from error
    if size == 0:
        raise FormatError(path, None, "the file is empty")
    return size


def _decoded(first: int, data: bytes) -> Block:
    raw = data.splitlines(keepends=True)  # on bytes: splits only at \n, \r and \r\n, never at other Unicode line separators
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
                block.bad.setdefault(number, (UNREADABLE, "contains a null byte"))
    return block
