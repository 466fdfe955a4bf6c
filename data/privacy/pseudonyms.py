"""User ids replaced by a keyed hash: who lacks the key can neither read an id nor try ids out.

HMAC-SHA256 (RFC 2104) under a key that is drawn once for a workspace and kept in `pseudonym.key`, readable by its owner alone, or given
by `CROSSAISLE_PSEUDONYM_KEY`. The same id always has the same pseudonym, so histories stay whole. Deleting the key makes the pseudonyms
final: nobody can join new events to them any more. A pseudonym is still personal data for whoever holds the key (GDPR, article 4(5)).
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from ..atomic_files import STAGING_PREFIX, flush
from ..errors import SettingsError, WorkspaceError, storing

FILE = "pseudonym.key"
LEAST = 16
"""Characters of a key that is given; the drawn ones have 64."""
_SHAPE = re.compile(r"p-[0-9a-f]{32}")


class Pseudonyms:
    """The pseudonyms of one key. What is already a pseudonym stays as it is, so that replacing twice does no harm."""

    def __init__(self, key: str) -> None:
        """Args: key: at least `LEAST` characters. Raises: SettingsError: it is shorter."""
        if len(key.strip()) < LEAST:
            raise SettingsError(
                f"the pseudonym key has {len(key.strip())} characters; give at least {LEAST} that nobody guesses, or none to have one drawn"
            )
        self._key = key.strip().encode()

    def __repr__(self) -> str:
        return "Pseudonyms(...)"  # never the key

    @classmethod
    def open(cls, folder: Path, key: str | None = None) -> Pseudonyms:
        """The pseudonyms of a workspace's folder; the key is drawn if there is none yet.

        Args: key: instead of the file's, as `Settings.pseudonym_key` has it.
        Raises: SettingsError: the key is too short. WorkspaceError: others may read the key file. StorageError: it cannot be written.
        """
        return cls(key if key is not None else _drawn(Path(folder) / FILE))

    def of(self, user_id: str) -> str:
        """The pseudonym of an id: `p-` and 32 hexadecimal digits."""
        return user_id if is_pseudonym(user_id) else f"p-{self._hash('user', user_id)}"

    def mark(self, user_id: str) -> str:
        """What the record of who was forgotten holds in place of an id or its pseudonym: 32 hexadecimal digits, unlike the pseudonym's."""
        return self._hash("forgotten", self.of(user_id))

    def _hash(self, purpose: str, text: str) -> str:
        # The purpose keeps two uses of one key from ever giving the same hash.
        return hmac.digest(self._key, f"{purpose}\0{text}".encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


def is_pseudonym(user_id: str) -> bool:
    """Whether an id has the shape of a pseudonym."""
    return _SHAPE.fullmatch(user_id) is not None


def _drawn(file: Path) -> str:
    """The key in a file, which is made if it is not there; of two processes that make it at once both get the same."""
    with storing(f"the pseudonym key {file}"):
        if not file.exists():
            fresh = file.with_name(f"{STAGING_PREFIX}{secrets.token_hex(8)}")
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(handle, "w") as out:
                    out.write(secrets.token_hex(32))
                flush(fresh)
                os.link(fresh, file)  # unlike a rename, refuses where another process was first
                flush(file.parent)
            except FileExistsError:
                pass
            finally:
                fresh.unlink(missing_ok=True)
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise WorkspaceError(f"{file} may be read by other accounts, so its pseudonyms protect nobody; run `chmod 600 {file}`")
        return file.read_text("utf-8")
