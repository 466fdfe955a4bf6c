"""API keys of a workspace: random, known to the server only by their hashes, each with what it may do.

A key is `crossaisle_ID_SECRET`: the id finds it, 256 random bits prove it. They are hashed by plain SHA-256; stretching a hash is for
secrets that can be guessed. `keys.json` is read by its owner only and re-read when it changes, so that revoking takes effect at once.
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
from ...data.errors import SettingsError, WorkspaceBusyError, WorkspaceError, storing

FILE, FORMAT = "keys.json", 1
SCOPES = ("read", "events", "admin")
"""read: whatever answers. events: tells what shoppers did. admin: changes items, removes users, and all the others do."""
PREFIX = "crossaisle"
MOST_KEYS = 1000
_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; `hash` is the SHA-256 of its secret, `created` a moment in UTC."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    hash: str = field(repr=False)
    created: str

    def may(self, scope: str) -> bool:
        """Whether it may do what needs a scope."""
        return scope in self.scopes or "admin" in self.scopes


class Keys:
    """The keys of one workspace."""

    def __init__(self, workspace: Path) -> None:
        """Raises: WorkspaceError: the file cannot be read."""
        self.file = workspace / FILE
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}
        self._read()

    def __len__(self) -> int:
        self._read()
        return len(self._keys)

    def list(self) -> list[Key]:
        """All keys, the oldest first."""
        self._read()
        return list(self._keys.values())

    def get(self, key_id: str) -> Key | None:
        """The key of an id, None where it was revoked or never was."""
        self._read()
        return self._keys.get(key_id)

    def find(self, told: str) -> Key | None:
        """The key that somebody shows, None where it is none of ours; takes as long for a wrong id as for a wrong secret."""
        self._read()
        prefix, _, rest = told.partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._keys.get(key_id) if prefix == PREFIX else None
        same = hmac.compare_digest(_hash(secret), key.hash if key else _NOTHING)
        return key if same and key is not None and secret else None

    def create(self, scopes: Sequence[str], name: str = "") -> str:
        """A new key, to be shown once: only its hash is kept.

        Raises: SettingsError: a scope is none, or there are too many keys. StorageError: the disk refuses.
        """
        wanted = tuple(dict.fromkeys(scopes))
        strange = [scope for scope in wanted if scope not in SCOPES]
        if strange or not wanted:
            raise SettingsError(f"a scope is {', '.join(SCOPES)}, not {strange[0]!r}" if strange else f"give a scope: {', '.join(SCOPES)}")
        secret, key_id = secrets.token_urlsafe(32), secrets.token_hex(4)
        with self._writing():
            if len(self._keys) >= MOST_KEYS:
                raise SettingsError(f"there are {len(self._keys):,} keys already; revoke some")
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            self._write({**self._keys, key_id: Key(key_id, name[:100], wanted, _hash(secret), now)})
        return f"{PREFIX}_{key_id}_{secret}"

    def revoke(self, key_id: str) -> Key:
        """Takes a key's rights away; returns what it was. Raises: SettingsError: there is no such key."""
        with self._writing():
            if key_id not in self._keys:
                raise SettingsError(f"there is no key {key_id!r}; `crossaisle keys list` shows those that there are")
            key = self._keys[key_id]
            self._write({other: kept for other, kept in self._keys.items() if other != key_id})
        return key

    # ------------------------------------------------------------------ the file

    def _read(self) -> None:
        try:
            about = self.file.stat()
            seen = (about.st_mtime_ns, about.st_ino, about.st_size)
            if seen == self._seen:
                return
            content = json.loads(self.file.read_text("utf-8"))
            if content["format"] != FORMAT:
                raise WorkspaceError(f"{self.file} has format {content['format']}, this crossaisle reads {FORMAT}; upgrade crossaisle")
            found = (Key(**{**one, "scopes": tuple(one["scopes"])}) for one in content["keys"])
            self._keys, self._seen = {key.key_id: key for key in found}, seen
        except FileNotFoundError:
            self._keys, self._seen = {}, None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(
                f"{self.file} cannot be read ({type(error).__name__}); restore it, or delete it and make new keys"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Alone with the file; not by the workspace's lock, which a training may hold for hours."""
        from filelock import FileLock, Timeout

        with storing(f"the keys {self.file}"):
            try:
                with FileLock(str(self.file.with_name(".keys.lock")), timeout=10):
                    self._read()
                    yield
            except Timeout:
                raise WorkspaceBusyError(f"another process is writing {self.file}; try again") from None

    def _write(self, keys: dict[str, Key]) -> None:
        content = json.dumps({"format": FORMAT, "keys": [asdict(key) for key in keys.values()]}, indent=1)
        with replacing(self.file) as fresh:
            fresh.chmod(0o600)
            fresh.write_text(content, "utf-8")
        self._read()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
