"""The error tree. Every message says what happened and what to do next.

``code`` is stable and machine-readable, ``status`` is the HTTP status that the API answers with.
"""

from __future__ import annotations

from typing import Literal

NO_CREDENTIAL = "sign in, or send an API key as"
"""How our own server refuses a request without a credential; tells it from a model server."""


class AssistantError(Exception):
    """Base of all errors that a user may see; ``str(error)`` is safe to show."""

    code = "internal"
    status = 500
    retryable = False

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class ConfigError(AssistantError):
    """A setting, a command line or the environment is wrong; the process cannot start like this."""

    code = "bad_configuration"


class Invalid(AssistantError):
    """The request is well-formed but its content cannot be used."""

    code = "invalid"
    status = 422


class Malformed(AssistantError):
    """The request cannot be read at all (bad JSON, bad UTF-8)."""

    code = "malformed"
    status = 400


class Unauthorized(AssistantError):
    """No valid credential came with the request."""

    code = "unauthorized"
    status = 401


class Forbidden(AssistantError):
    """The credential is valid but may not do this."""

    code = "forbidden"
    status = 403


class NotFound(AssistantError):
    """No such thing, or it belongs to another user."""

    code = "not_found"
    status = 404


class Conflict(AssistantError):
    """The thing exists in a state that does not allow this."""

    code = "conflict"
    status = 409


class Gone(AssistantError):
    """It was there once and will not come back."""

    code = "gone"
    status = 410


class TooLarge(AssistantError):
    """The request is over a size limit."""

    code = "too_large"
    status = 413


class RateLimited(AssistantError):
    """Too many requests; ``retry_after`` is in seconds."""

    code = "rate_limited"
    status = 429
    retryable = True

    def __init__(self, detail: str, *, retry_after: int = 5, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class InboxFull(RateLimited):
    """The conversation already has as many waiting messages as it may have."""

    code = "inbox_full"


class StoreError(AssistantError):
    """Redis cannot do what is asked."""

    code = "store_error"
    status = 503
    retryable = True


class StoreUnavailable(StoreError):
    """Redis does not answer."""

    code = "store_unavailable"


Cause = Literal["memory", "disk", "read_only"]


class StoreFull(StoreError):
    """Redis refuses writes: memory or disk is full, or it is a read-only replica."""

    code = "store_full"

    def __init__(self, detail: str, cause: Cause = "memory") -> None:
        super().__init__(detail)
        self.cause: Cause = cause


class StoreTooOld(StoreError):
    """The Redis server lacks commands that we need."""

    code = "store_too_old"
    retryable = False


class HomeBusy(ConfigError):
    """Another assistant already runs on this data folder."""

    code = "home_busy"


class Fenced(AssistantError):
    """Another worker took this conversation over; this one must stop writing to it."""

    code = "fenced"
    status = 409


class ToolError(AssistantError):
    """A tool failed in a way that the model should hear about; the detail goes to the model."""

    code = "tool_error"
    status = 400
