"""Pseudonyms: keyed hashes of user ids, which cannot be inverted or guessed without the key.

HMAC-SHA256 (RFC 2104) under a key that is generated once per workspace and stored in `pseudonym.key`, readable only by its owner, or
set by `CROSSAISLE_PSEUDONYM_KEY`. An id always maps to the same pseudonym, so that histories stay complete. After the key is deleted,
new events can no longer be linked to existing pseudonyms. For the holder of the key a pseudonym is personal data (GDPR, article 4(5)).
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from ..atomic_files import STAGING_PREFIX, flush
from ..errors import SettingsError, WorkspaceError, storage_errors

FILE = "pseudonym.key"
MIN_KEY_LENGTH = 16
"""Minimum number of characters of a configured key; generated keys have 64."""
_SHAPE = re.compile(r"p-[0-9a-f]{32}")


class Pseudonyms:
    """Maps user ids to pseudonyms under one key. Pseudonyms map to themselves, so the mapping is idempotent."""

    def __init__(self, key: str) -> None:
        """Set the key.

        Args:
            key: At least `MIN_KEY_LENGTH` characters.

        Raises:
            SettingsError: The key is too short.
        """
        if len(key.strip()) < MIN_KEY_LENGTH:
            raise SettingsError(
                f"the pseudonym key has {len(key.strip())} characters; use at least {MIN_KEY_LENGTH}, or set none to generate one"
            )
        self._key = key.strip().encode()

    def __repr__(self) -> str:
        return "Pseudonyms(...)"  # never show the key

    @classmethod
    def open(cls, folder: Path, key: str | None = None) -> Pseudonyms:
        """Pseudonyms of a workspace; generate the key file if there is none.

        Args:
            folder: Folder of the workspace.
            key: Key to use instead of the file (`Settings.pseudonym_key`).

        Raises:
            SettingsError: The key is too short.
            WorkspaceError: Other accounts can read the key file.
            StorageError: The key file is not writable.
        """
        return cls(key if key is not None else _stored_key(Path(folder) / FILE))

    def of(self, user_id: str) -> str:
        """Pseudonym of an id: `p-` and 32 hexadecimal digits."""
        return user_id if is_pseudonym(user_id) else f"p-{self._hash('user', user_id)}"

    def mark(self, user_id: str) -> str:
        """Hash of an id (or of its pseudonym) for the record of erasures: 32 hexadecimal digits, different from the pseudonym."""
        return self._hash("forgotten", self.of(user_id))

    def _hash(self, purpose: str, text: str) -> str:
        # Domain separation: two uses of one key never give the same hash.
        return hmac.digest(self._key, f"{purpose}\0{text}".encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


def is_pseudonym(user_id: str) -> bool:
    """Whether an id has the format of a pseudonym."""
    return _SHAPE.fullmatch(user_id) is not None


def _stored_key(file: Path) -> str:
    """The key in a file, generated if missing; two processes that generate it at once get the same key."""
    with storage_errors(f"the pseudonym key {file}"):
        if not file.exists():
            fresh = file.with_name(f"{STAGING_PREFIX}{secrets.token_hex(8)}")
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(handle, "w") as out:
                    out.write(secrets.token_hex(32))
                flush(fresh)
                os.link(fresh, file)  # unlike a rename, fails if another process was first
                flush(file.parent)
            except FileExistsError:
                pass
            finally:
                fresh.unlink(missing_ok=True)
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise WorkspaceError(f"other accounts can read {file}, so its pseudonyms give no protection; run `chmod 600 {file}`")
        return file.read_text("utf-8")
