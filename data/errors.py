"""All errors meant for users, as one tree.

    CrossaisleError                 the user's input or environment is at fault: exit code 2, HTTP 4xx
    ├── QueryError                  an invalid request
    │   ├── UnknownUserError
    │   ├── UnknownItemError
    │   ├── EmptyHistoryError
    │   └── PrivacyError            an answer that would disclose a small group
    │       ├── SuppressedError
    │       └── BudgetSpentError
    ├── FormatError                 a file does not have the expected format
    ├── SettingsError               an environment variable or option is invalid
    ├── WorkspaceError              the workspace is unusable in its present state
    │   ├── NoWorkspaceError
    │   ├── NoIndexError
    │   ├── StaleIndexError
    │   ├── NotTrainedError
    │   ├── StaleTrainingError
    │   ├── NewerFormatError
    │   └── WorkspaceBusyError
    ├── ModelError                  a model cannot be loaded or used
    │   ├── ModelMissingError
    │   ├── HashMismatchError
    │   ├── StaleAdapterError
    │   ├── TooLongError            a text longer than the model's context
    │   └── EndpointError           a model endpoint cannot be used
    │       └── RefusedError        the endpoint refused one request; others may succeed
    ├── TrainingError               too little training data, or training diverged
    ├── JudgingError                an evaluation by a judge that ended without a result
    ├── LeakError                   test data leaked into the training data of an evaluation
    ├── StorageError                the disk is full or not writable
    ├── UnavailableError            a service is temporarily unavailable
    │   ├── BusyError
    │   └── TimedOutError
    └── MissingExtraError           an optional dependency is not installed

Every message states the problem, the expected input and the remedy. Any other exception that escapes is a bug (exit code 1).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CrossaisleError(Exception):
    """Base class of errors that the user can fix; `str(error)` is one sentence that may be displayed."""


class QueryError(CrossaisleError):
    """Invalid request, for example k below 1, an inverted price range or a text over the length limit."""


class UnknownUserError(QueryError):
    """User id missing from the snapshot."""


class UnknownItemError(QueryError):
    """Item id missing from the snapshot."""


class EmptyHistoryError(QueryError):
    """A request with neither a history nor a text."""


class PrivacyError(QueryError):
    """An answer that would disclose too much about a small group."""


class SuppressedError(PrivacyError):
    """A group of fewer than `min_users` users, or one that differencing with an earlier answer would reveal."""


class BudgetSpentError(PrivacyError):
    """The remaining privacy budget does not cover the query."""


class FormatError(CrossaisleError):
    """A file that does not have the format given by `--format`; the message contains path, line and cause.

    Args:
        path: File with the error.
        line: Line (or row) number from 1; None if the error concerns the whole file.
        cause: Description of the error, without a full stop.
    """

    def __init__(self, path: Path | str, line: int | None, cause: str) -> None:
        self.path, self.line, self.cause = Path(path), line, cause
        where = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{where}: {cause}")


class SettingsError(CrossaisleError):
    """Unknown name or invalid value of an option or a `CROSSAISLE_*` variable."""


class WorkspaceError(CrossaisleError):
    """The workspace is unusable in its present state."""


class NoWorkspaceError(WorkspaceError):
    """The folder contains no workspace."""


class NoIndexError(WorkspaceError):
    """The workspace has a snapshot but no index."""


class StaleIndexError(WorkspaceError):
    """The index was built from another snapshot or with another embedder."""


class NotTrainedError(WorkspaceError):
    """A required trained model is missing or damaged."""


class StaleTrainingError(WorkspaceError):
    """A model was trained on another snapshot, or on vectors of another embedder."""


class NewerFormatError(WorkspaceError):
    """The workspace was written by a later version of crossaisle."""


class WorkspaceBusyError(WorkspaceError):
    """Another process is writing to the workspace."""


class ModelError(CrossaisleError):
    """A model cannot be loaded or used."""


class ModelMissingError(ModelError):
    """A model that is neither cached nor downloadable."""


class HashMismatchError(ModelError):
    """The hash of a downloaded file differs from the published one."""


class StaleAdapterError(ModelError):
    """An adapter trained for another base model or for an unknown prompt."""


class TooLongError(ModelError):
    """A text longer than the model's context."""


class EndpointError(ModelError):
    """A model endpoint that is unreachable or rejects the API key or the model name."""


class RefusedError(EndpointError):
    """An endpoint refused one request; other requests may succeed."""


class TrainingError(CrossaisleError):
    """Not enough training data, or the loss became NaN; the last good state is kept."""


class JudgingError(CrossaisleError):
    """A judge evaluation that ended without a result; the answers received so far are kept."""


class LeakError(CrossaisleError):
    """Test data leaked into the training data of an evaluation, which invalidates its metrics."""


class StorageError(CrossaisleError):
    """The disk is full or not writable."""


class UnavailableError(CrossaisleError):
    """Temporary failure of a service.

    Args:
        message: Text for the user.
        retry_after: Seconds to wait before a retry.
    """

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BusyError(UnavailableError):
    """The request queue is full."""


class TimedOutError(UnavailableError):
    """The request exceeded its deadline, or the client disconnected."""


class MissingExtraError(CrossaisleError):
    """An optional dependency is not installed; the message names the extra to install."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# polars, SQLite and Chroma report a full disk by message only, without an errno.
_FULL_MESSAGES = ("no space left on device", "disk is full", "disk quota exceeded", "file too large")
_NOT_WRITABLE = (errno.EROFS, errno.EIO)
_NOT_WRITABLE_MESSAGES = ("readonly database", "unable to open database file", "disk i/o error")


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Convert errors about a full disk or missing permissions, from any library, into a `StorageError`.

    Args:
        what: Name of the data being written, for the message ("the snapshot in shop").

    Raises:
        StorageError: The disk is full or not writable.
    """
    try:
        yield
    except CrossaisleError:
        raise
    except Exception as error:
        message = str(error).lower()
        disk_full = (isinstance(error, OSError) and error.errno in _FULL) or any(text in message for text in _FULL_MESSAGES)
        if disk_full:
            raise StorageError(
                f"the disk is full: {what} was not written and the last good state is untouched; free some space and run it again"
            ) from error
        if isinstance(error, PermissionError):
            raise StorageError(f"no permission to write {what} ({error.filename or error})") from error
        if (isinstance(error, OSError) and error.errno in _NOT_WRITABLE) or any(text in message for text in _NOT_WRITABLE_MESSAGES):
            raise StorageError(
                f"{what} cannot be written ({error}); check that the folder and its files may be written and that the disk is sound"
            ) from error
        raise
