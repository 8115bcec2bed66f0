"""Everything that this package raises on purpose.

    KaleError                    status 500
    ├── SettingsInvalid          the administrator's configuration; raised when the hub starts
    ├── ChoiceInvalid            400  what the user asked for; `errors` has one entry per field
    ├── Missing                  404  neither the user's own nor shared with them, or not there
    ├── Busy                     409  it is in use, on its way out, or the name is taken
    ├── StartFailed              424  the cluster cannot do it; `cause` names the kind of failure
    │   ├── DiskFull             424  a volume has no room left; `volume` names it
    │   └── Refused              403  quota or policy said no to what would have been created
    └── ClusterError             502  a call to the API server did not succeed
        ├── NotFound             404
        ├── Conflict             409
        ├── Denied               403  (rights, quota or admission)
        ├── Rejected             422  the API server finds the object wrong
        └── Unreachable          503  no answer, or "too busy", after all retries

A message is safe to show to the user who asked: it says the cause and the way out, and
nothing of other users. Errors of libraries are translated once, where they enter
(`kube/client.py`), with `from`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class KaleError(Exception):
    """Base class. `status` is the HTTP status that fits, `str()` is safe to show."""

    status = 500


class SettingsInvalid(KaleError):
    """A setting is missing or wrong; the message begins with the trait's name."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with a choice.

    field: its path in the choice, "data_volumes.0.size"; "" for the choice as a whole.
    message: what is wrong, the limit, and the way out.
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class ChoiceInvalid(KaleError):
    """The choice cannot be done; nothing was created. `errors` holds all that is wrong."""

    status = 400

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(str(error) for error in self.errors))


class Missing(KaleError):
    """Not there, or another user's: one answer for both, so that nobody learns of others'."""

    status = 404


class Busy(KaleError):
    """It cannot be done now; the message says what has to end first, or which name is free."""

    status = 409


class StartFailed(KaleError):
    """A start that cannot succeed any more. `cause` is a short word for metrics and tests."""

    status = 424

    def __init__(self, message: str, cause: str = "failed") -> None:
        self.cause = cause
        super().__init__(message)


class DiskFull(StartFailed):
    """The app could not start since a volume is full. volume: its claim, "" when in doubt."""

    def __init__(self, volume: str) -> None:
        self.volume = volume
        which = f'Volume "{volume}" is full' if volume else "A volume of this server is full"
        super().__init__(
            f"{which}, so the server's program cannot start. Start it again and make the volume "
            'larger ("Grow to" on the page), or start another server with it and delete files.',
            "disk-full",
        )


class Refused(StartFailed):
    """The cluster's quota or policy does not allow what the choice needs."""

    status = 403


class ClusterError(KaleError):
    """A call to the API server failed. `detail` is the server's own text, for the log."""

    status = 502

    def __init__(self, message: str, detail: str = "", code: int = 0) -> None:
        self.detail = detail
        self.code = code
        super().__init__(message)


class NotFound(ClusterError):
    """There is no such object."""

    status = 404


class Conflict(ClusterError):
    """An object of this name exists already, or changed meanwhile."""

    status = 409


class Denied(ClusterError):
    """The API server understood and refused: rights, quota or admission."""

    status = 403


class Rejected(ClusterError):
    """The API server finds the object invalid."""

    status = 422


class Unreachable(ClusterError):
    """No answer from the API server, or too many requests, after all retries."""

    status = 503
