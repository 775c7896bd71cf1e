"""What the routes of sign-in read and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from core.accounts.accounts import Role
from core.accounts.api_keys import MAX_NAME
from core.accounts.principal import Scope

MAX_TEXT = 4096
"""Characters of a password or token that are read at all."""


class Input(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SetupBody(Input):
    """The token of the set-up link, and the password to set."""

    token: str = Field(max_length=MAX_TEXT)
    password: str = Field(max_length=MAX_TEXT, description="8 to 1024 characters.")


class PasswordBody(Input):
    """The password."""

    password: str = Field(max_length=MAX_TEXT)


class KeyBody(Input):
    """A key to make."""

    name: str = Field(min_length=1, max_length=MAX_NAME)
    scope: Scope = "chat"
    expires_at: AwareDatetime | None = None


class Me(BaseModel):
    """Who is asking."""

    user_id: str
    kind: Literal["session", "key"]
    scopes: list[str]
    name: str = Field(description="What the profile calls the user, else the id.")
    role: Role
    language: str = Field(description='From the profile; "" when it says nothing.')
    time_zone: str = Field(description='From the profile; "" when it says nothing.')


class Reauth(BaseModel):
    """Until when the password counts as just entered."""

    until: datetime


class KeyInfo(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    prefix: str = Field(description="The first characters, to tell keys apart.")
    scope: Scope
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class NewKey(KeyInfo):
    """A new API key with its secret, which is never shown again."""

    key: str


class KeyList(BaseModel):
    """All keys; there is never a next page."""

    items: list[KeyInfo]
    next: None = None


class SessionInfo(BaseModel):
    """A signed-in browser."""

    id: str
    created_at: datetime
    last_used_at: datetime
    agent: str
    address: str
    current: bool


class SessionList(BaseModel):
    """All signed-in browsers; there is never a next page."""

    items: list[SessionInfo]
    next: None = None
