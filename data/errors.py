"""The errors a person may see, as one tree.

    CrossaisleError                 the user's input or surroundings are at fault: exit code 2, HTTP 4xx
    ├── QueryError                  a request that cannot be answered as it was asked
    │   ├── UnknownUserError
    │   ├── UnknownItemError
    │   ├── EmptyHistoryError
    │   └── PrivacyError            an answer that would say too much about too few people
    │       ├── SuppressedError
    │       └── BudgetSpentError
    ├── FormatError                 a file is not what it was said to be
    ├── SettingsError               an environment variable or option is off
    ├── WorkspaceError              the workspace cannot be used as it is
    │   ├── NoWorkspaceError
    │   ├── NoIndexError
    │   ├── StaleIndexError
    │   ├── NotTrainedError
    │   ├── StaleTrainingError
    │   ├── NewerFormatError
    │   └── WorkspaceBusyError
    ├── ModelError                  a model cannot be had
    │   ├── ModelMissingError
    │   ├── HashMismatchError
    │   ├── StaleAdapterError
    │   ├── TooLongError            a text that the model's context does not hold
    │   └── EndpointError           a model at an address cannot be used
    │       └── RefusedError        it does not answer one question; it may answer others
    ├── TrainingError               there is too little to learn from, or it did not go well
    ├── JudgingError                a judging that ended before it could say anything
    ├── LeakError                   an evaluation in which the test is known beforehand
    ├── StorageError                the disk is full or refuses to be written
    ├── UnavailableError            a service cannot answer now; later it can
    │   ├── BusyError
    │   └── TimedOutError
    └── MissingExtraError           an optional dependency is not installed

Every message says what was found, what was wanted, and what to do. Anything else that escapes is a bug (exit code 1).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CrossaisleError(Exception):
    """Whatever the user can mend; `str()` of it is one sentence fit to show."""


class QueryError(CrossaisleError):
    """The request itself is off (k below 1, price range upside down, a text far too long)."""


class UnknownUserError(QueryError):
    """A user id that the snapshot does not hold."""


class UnknownItemError(QueryError):
    """An item id that the snapshot does not hold."""


class EmptyHistoryError(QueryError):
    """Neither a history nor a text to go by."""


class PrivacyError(QueryError):
    """An answer that would say too much about too few people."""


class SuppressedError(PrivacyError):
    """A group of fewer than `min_users` users, or one that subtraction from an earlier answer would lay bare."""


class BudgetSpentError(PrivacyError):
    """What is left of the privacy budget does not cover the question."""


class FormatError(CrossaisleError):
    """A file that is not what `--format` says; names path, line and cause.

    Args:
        path: the file. line: 1-based line (or row) number, None when the whole file is meant.
        cause: what was wrong, without a full stop.
    """

    def __init__(self, path: Path | str, line: int | None, cause: str) -> None:
        self.path, self.line, self.cause = Path(path), line, cause
        where = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{where}: {cause}")


class SettingsError(CrossaisleError):
    """An option or a `CROSSAISLE_*` variable has a name or value that means nothing."""


class WorkspaceError(CrossaisleError):
    """The workspace cannot be used as it is."""


class NoWorkspaceError(WorkspaceError):
    """The folder holds no workspace."""


class NoIndexError(WorkspaceError):
    """The workspace has a snapshot but was never indexed."""


class StaleIndexError(WorkspaceError):
    """The index was made from another snapshot or by another embedder."""


class NotTrainedError(WorkspaceError):
    """Something that training makes is asked for and was never trained, or is damaged."""


class StaleTrainingError(WorkspaceError):
    """What was trained knows another snapshot, or vectors of another embedder."""


class NewerFormatError(WorkspaceError):
    """The workspace was written by a later version of crossaisle."""


class WorkspaceBusyError(WorkspaceError):
    """Another process is writing to the workspace."""


class ModelError(CrossaisleError):
    """A model cannot be loaded or used."""


class ModelMissingError(ModelError):
    """A model that is neither in the cache nor reachable."""


class HashMismatchError(ModelError):
    """A downloaded file is not the one that was published."""


class StaleAdapterError(ModelError):
    """An adapter that was trained on another model or for a prompt that is not known."""


class TooLongError(ModelError):
    """A text that does not fit the model's context."""


class EndpointError(ModelError):
    """A model at an address cannot be reached, or refuses the key or the model's name."""


class RefusedError(EndpointError):
    """An endpoint does not answer one question; it may answer others."""


class TrainingError(CrossaisleError):
    """Too little to learn from, or a loss that is no number any more; the last good state is kept."""


class JudgingError(CrossaisleError):
    """A judging that ended before it could say anything; what was answered is kept."""


class LeakError(CrossaisleError):
    """An evaluation in which something of the test is known beforehand; its figures would be worth nothing."""


class StorageError(CrossaisleError):
    """The disk is full, or refuses to be written."""


class UnavailableError(CrossaisleError):
    """A service that cannot answer now. Args: retry_after: seconds after which to ask again."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BusyError(UnavailableError):
    """As many requests wait as may wait."""


class TimedOutError(UnavailableError):
    """The time that a request may take is over, or whoever asked has gone."""


class MissingExtraError(CrossaisleError):
    """An optional dependency that is not installed; the message names the extra."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# polars, SQLite and Chroma report a full disk in words of their own, without an errno.
_FULL_WORDS = ("no space left on device", "disk is full", "disk quota exceeded", "file too large")
_REFUSED = (errno.EROFS, errno.EIO)
_REFUSED_WORDS = ("readonly database", "unable to open database file", "disk i/o error")


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turns "the disk is full" and "not allowed", in whichever library's words, into one `StorageError`.

    Args: what: the thing being written, as the message names it ("the snapshot in shop").
    """
    try:
        yield
    except CrossaisleError:
        raise
    except Exception as error:
        words = str(error).lower()
        full = (isinstance(error, OSError) and error.errno in _FULL) or any(w in words for w in _FULL_WORDS)
        if full:
            raise StorageError(
                f"the disk is full: {what} was not written and the last good state is untouched; free some space and run it again"
            ) from error
        if isinstance(error, PermissionError):
            raise StorageError(f"no permission to write {what} ({error.filename or error})") from error
        if (isinstance(error, OSError) and error.errno in _REFUSED) or any(w in words for w in _REFUSED_WORDS):
            raise StorageError(
                f"{what} cannot be written ({error}); check that the folder and its files may be written and that the disk is sound"
            ) from error
        raise
