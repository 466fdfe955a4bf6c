"""API keys of a workspace, stored as hashes, each with its scopes.

A key is `crossaisle_ID_SECRET`: the id looks it up, and the secret of 256 random bits proves it. Secrets are hashed with plain SHA-256,
because slow hashes are for secrets that can be guessed. `keys.json` is readable by its owner only. It is read again when it changes, so
that a revoked key is rejected at once.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ...data.atomic_files import replacing
from ...data.errors import SettingsError, WorkspaceBusyError, WorkspaceError, storage_errors

FILE, FORMAT = "keys.json", 1
SCOPES = ("read", "events", "admin")
"""read: query the store. events: record events. admin: change items, remove users, and everything else."""
PREFIX = "crossaisle"
MAX_KEYS = 1000
_HASH_OF_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is stored of an API key.

    Attributes:
        key_id: Public part of the key.
        name: What the key is for.
        scopes: Scopes of the key, out of `SCOPES`.
        hash: SHA-256 of the secret.
        created: Time of creation (ISO 8601, UTC).
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    hash: str = field(repr=False)
    created: str

    def allows(self, scope: str) -> bool:
        """Whether the key may be used where `scope` is required."""
        return scope in self.scopes or "admin" in self.scopes


class ApiKeys:
    """The API keys of one workspace.

    Args:
        workspace: Folder of the workspace.

    Raises:
        WorkspaceError: The file cannot be read.
    """

    def __init__(self, workspace: Path) -> None:
        self.file = workspace / FILE
        self._file_version: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}
        self._read()

    def __len__(self) -> int:
        self._read()
        return len(self._keys)

    def list(self) -> list[ApiKey]:
        """All keys, oldest first."""
        self._read()
        return list(self._keys.values())

    def get(self, key_id: str) -> ApiKey | None:
        """The key of an id; None if it was revoked or never existed."""
        self._read()
        return self._keys.get(key_id)

    def verify(self, credentials: str) -> ApiKey | None:
        """The stored key that `credentials` match, or None. A wrong id takes as long as a wrong secret."""
        self._read()
        prefix, _, rest = credentials.partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._keys.get(key_id) if prefix == PREFIX else None
        matches = hmac.compare_digest(_hash(secret), key.hash if key else _HASH_OF_NOTHING)
        return key if matches and key is not None and secret else None

    def create(self, scopes: Sequence[str], name: str = "") -> str:
        """Create a key and return it. It can be shown this once: only its hash is stored.

        Args:
            scopes: Scopes of the key, at least one.
            name: What the key is for.

        Raises:
            SettingsError: An unknown scope, no scope, or too many keys.
            StorageError: The file cannot be written.
        """
        distinct = tuple(dict.fromkeys(scopes))
        unknown = [scope for scope in distinct if scope not in SCOPES]
        if unknown:
            raise SettingsError(f"unknown scope {unknown[0]!r}; the scopes are {', '.join(SCOPES)}")
        if not distinct:
            raise SettingsError(f"a key needs a scope: {', '.join(SCOPES)}")
        secret, key_id = secrets.token_urlsafe(32), secrets.token_hex(4)
        with self._writing():
            if len(self._keys) >= MAX_KEYS:
                raise SettingsError(f"the workspace has {len(self._keys):,} API keys, which is the maximum; revoke some")
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            self._write({**self._keys, key_id: ApiKey(key_id, name[:100], distinct, _hash(secret), now)})
        return f"{PREFIX}_{key_id}_{secret}"

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key immediately, also in running servers, and return it. Raises: SettingsError: there is no such key."""
        with self._writing():
            if key_id not in self._keys:
                raise SettingsError(f"there is no key {key_id!r}; `crossaisle keys list` shows the existing keys")
            key = self._keys[key_id]
            self._write({other_id: other for other_id, other in self._keys.items() if other_id != key_id})
        return key

    # ------------------------------------------------------------------ the file

    def _read(self) -> None:
        try:
            status = self.file.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if version == self._file_version:
                return
            content = json.loads(self.file.read_text("utf-8"))
            if content["format"] != FORMAT:
                raise WorkspaceError(f"{self.file} has format {content['format']}, but this version reads {FORMAT}; upgrade crossaisle")
            keys = (ApiKey(**{**fields, "scopes": tuple(fields["scopes"])}) for fields in content["keys"])
            self._keys, self._file_version = {key.key_id: key for key in keys}, version
        except FileNotFoundError:
            self._keys, self._file_version = {}, None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(
                f"{self.file} cannot be read ({type(error).__name__}); restore it, or delete it and make new keys"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Lock the file and read it. The workspace's own lock is not used, because training can hold it for hours."""
        from filelock import FileLock, Timeout

        with storage_errors(f"the keys {self.file}"):
            try:
                with FileLock(str(self.file.with_name(".keys.lock")), timeout=10):
                    self._read()
                    yield
            except Timeout:
                raise WorkspaceBusyError(f"another process is writing {self.file}; try again") from None

    def _write(self, keys: dict[str, ApiKey]) -> None:
        content = json.dumps({"format": FORMAT, "keys": [asdict(key) for key in keys.values()]}, indent=1)
        with replacing(self.file) as temporary:
            temporary.chmod(0o600)
            temporary.write_text(content, "utf-8")
        self._read()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
