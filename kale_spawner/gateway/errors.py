"""What can go wrong in the gateway.

GatewayError
├── SettingsInvalid   the environment is wrong: the process does not start
├── NoAnswer          a request of the gateway's own was not answered at all
├── HubUnavailable    the hub gave no answer, or none that can be trusted: nobody gets in
└── LoginFailed       an OAuth exchange cannot be completed; the message is safe to show
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of all errors that this process raises itself."""


class SettingsInvalid(GatewayError):
    """Names the environment variable and what is wrong with it."""


class NoAnswer(GatewayError):
    """The message says what happened to the connection."""


class HubUnavailable(GatewayError):
    """The message says what the hub did; it is for the log, not for the page."""


class LoginFailed(GatewayError):
    """`status` is what the browser is answered."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
