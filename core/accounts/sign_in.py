"""Set-up, sign-in and sessions: the rules, for every way in; HTTP is one of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from redis.exceptions import RedisError

from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.credentials import digest, now
from core.accounts.directory import Directory
from core.accounts.limits import LoginLimit
from core.accounts.passwords import (
    check_length,
    is_set_up,
    password_version,
    set_first_password,
    verify_password,
)
from core.accounts.principal import Principal
from core.accounts.sessions import create_session, revoke_session
from core.accounts.setup_token import forget_setup_token, is_setup_token
from core.errors import Conflict, Forbidden, Gone, StoreUnavailable, Unauthorized
from core.settings.groups import SecuritySettings
from core.store import keys, scripts
from core.store.client import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a sign-in comes from; lists of sessions show it. "" when it is not known."""

    address: str = ""
    agent: str = ""
    session: str = ""
    """Token of the session that was open there; a new one takes its place."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """The ways in. ``security`` gives the settings as they are now."""

    store: Store
    directory: Directory
    security: Callable[[], SecuritySettings]
    home: Path

    async def is_set_up(self) -> bool:
        """Whether there is an administrator who can sign in. Raises StoreUnavailable."""
        try:
            return await is_set_up(self.store.redis)
        except (RedisError, OSError) as error:
            raise StoreUnavailable("Redis does not answer") from error

    async def set_up(self, token: str, password: str, visitor: Visitor) -> str:
        """Make the administrator; the value is the token of a session.

        Raises Gone, Forbidden, Invalid.
        """
        redis = self.store.redis
        if await is_set_up(redis):
            raise Gone("set-up is done; sign in", code="already_set_up")
        if not await is_setup_token(redis, token):
            raise Forbidden(
                "this set-up link is not valid any more; restart the assistant for a new one",
                code="wrong_setup_token",
            )
        check_length(password)
        if not await set_first_password(redis, password):
            raise Gone("another browser was faster; sign in", code="already_set_up")
        await forget_setup_token(redis, self.home)
        logger.info("the administrator was set up")
        return await self.open_session(FIRST_ACCOUNT, visitor)

    async def sign_in(
        self, password: str, visitor: Visitor, *, account_id: str = FIRST_ACCOUNT
    ) -> str:
        """Open a session by password; the value is its token.

        Raises RateLimited, Unauthorized, Conflict.
        """
        redis = self.store.redis
        version = await self.check_password(password, visitor.address, account_id=account_id)
        token = await self.open_session(account_id, visitor)
        if await password_version(redis, account_id) != version:
            # The password was reset while we checked the old one.
            await revoke_session(redis, account_id, digest(token))
            raise Unauthorized("the password was changed just now", code="wrong_password")
        return token

    async def check_password(self, password: str, address: str, *, account_id: str) -> str:
        """The password's version, if it is right. Every wrong one counts against the address.

        Raises RateLimited, Unauthorized, Conflict.
        """
        redis = self.store.redis
        limit = LoginLimit(redis, self.security().login_per_minute)
        await limit.spend(address)
        version = await verify_password(redis, password, account_id=account_id)
        if version is not None:
            await limit.refund(address)
            return version
        if not await is_set_up(redis):
            raise Conflict(
                "nobody set this assistant up yet; open the link it printed when it started",
                code="not_set_up",
            )
        logger.warning("wrong password from %s", address)
        raise Unauthorized("the password is wrong", code="wrong_password")

    async def open_session(self, account_id: str, visitor: Visitor) -> str:
        """A new session of the account, in place of the one that was open there; its token."""
        redis = self.store.redis
        token = await create_session(
            redis,
            account_id,
            days=self.security().session_days,
            agent=visitor.agent,
            address=visitor.address,
        )
        if visitor.session:
            await revoke_session(redis, account_id, digest(visitor.session))
        return token

    async def confirm(self, user: Principal, password: str, address: str) -> datetime:
        """Note that the session's user has just entered the password; the value is when.

        Raises RateLimited, Unauthorized.
        """
        await self.check_password(password, address, account_id=user.user_id)
        at = now()
        name = keys.session(user.credential)
        touch = scripts.touch(credential=name, field="reauth_at", value=at.isoformat(), ttl="")
        await self.store.script(touch)
        self.directory.forget(user.credential)
        return at

    async def sign_out(self, user: Principal) -> None:
        """End the session."""
        await revoke_session(self.store.redis, user.user_id, user.credential)
        self.directory.forget(user.credential)
