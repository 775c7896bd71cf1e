"""Routes of sign-in: set-up, password, sessions and API keys."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from redis.asyncio import Redis

from api.middleware.body import json_route
from api.middleware.cookies import clear_cookie, request_token, set_cookie
from api.middleware.guard import Live
from api.middleware.principal import REAUTH_MINUTES, in_browser, signed_in
from api.middleware.problems import problems_documented
from api.routes.account_bodies import (
    KeyBody,
    KeyInfo,
    KeyList,
    Me,
    NewKey,
    PasswordBody,
    Reauth,
    SessionInfo,
    SessionList,
    SetupBody,
)
from core.accounts.api_keys import create_key, list_keys, revoke_key
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
from core.accounts.principal import OWNER, Principal
from core.accounts.sessions import (
    create_session,
    list_sessions,
    revoke_all_sessions,
    revoke_session,
)
from core.accounts.setup_token import forget_setup_token, is_setup_token
from core.errors import Conflict, Forbidden, Gone, NotFound, Unauthorized
from core.store import keys
from core.store.client import Store

logger = logging.getLogger(__name__)

User = Annotated[Principal, Depends(signed_in)]
Browser = Annotated[Principal, Depends(in_browser)]


@dataclass(frozen=True)
class Accounts:
    """What the routes of this file work with."""

    store: Store
    directory: Directory
    live: Live
    home: Path

    @property
    def redis(self) -> Redis:
        """The Redis client."""
        return self.store.redis

    def limit(self) -> LoginLimit:
        """The limit on password tries, as set now."""
        return LoginLimit(self.redis, self.live.current.security.login_per_minute)

    async def set_up(self, token: str, password: str) -> None:
        """Make the administrator. Raises Gone, Forbidden, Invalid."""
        if await is_set_up(self.redis):
            raise Gone("set-up is done; sign in", code="already_set_up")
        if not await is_setup_token(self.redis, token):
            raise Forbidden(
                "this set-up link is not valid any more; restart the assistant for a new one",
                code="wrong_setup_token",
            )
        check_length(password)
        if not await set_first_password(self.redis, password):
            raise Gone("somebody else was faster; sign in", code="already_set_up")
        await forget_setup_token(self.redis, self.home)
        logger.info("the administrator was set up")

    async def check_password(self, password: str, address: str) -> str:
        """The password's version. Raises RateLimited, Unauthorized, Conflict."""
        limit = self.limit()
        await limit.spend(address)
        version = await verify_password(self.redis, password)
        if version is not None:
            await limit.refund(address)
            return version
        if not await is_set_up(self.redis):
            raise Conflict(
                "nobody set this assistant up yet; open the link it printed when it started",
                code="not_set_up",
            )
        logger.warning("wrong password from %s", address)
        raise Unauthorized("the password is wrong", code="wrong_password")

    async def open_session(self, request: Request, response: Response) -> str:
        """Sign this browser in with a fresh token; the value is the token's digest."""
        days = self.live.current.security.session_days
        token = await create_session(
            self.redis,
            OWNER,
            days=days,
            agent=request.headers.get("user-agent", ""),
            address=address_of(request),
        )
        if old := request_token(request.scope):
            await revoke_session(self.redis, OWNER, digest(old))
        set_cookie(response, request.scope, token, days)
        return digest(token)


class AccountRoutes:
    """The handlers; their docstrings are what OpenAPI says."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def set_up(self, body: SetupBody, request: Request, response: Response) -> None:
        """Set the administrator's password, once, with the token of the printed link."""
        await self._accounts.set_up(body.token, body.password)
        await self._accounts.open_session(request, response)

    async def login(self, body: PasswordBody, request: Request, response: Response) -> None:
        """Sign this browser in."""
        version = await self._accounts.check_password(body.password, address_of(request))
        session = await self._accounts.open_session(request, response)
        if await password_version(self._accounts.redis) != version:
            # The password was reset while we checked the old one.
            await revoke_session(self._accounts.redis, OWNER, session)
            raise Unauthorized("the password was changed just now", code="wrong_password")

    async def logout(self, user: Browser, request: Request, response: Response) -> None:
        """Sign this browser out."""
        await revoke_session(self._accounts.redis, user.user_id, user.credential)
        self._accounts.directory.forget(user.credential)
        clear_cookie(response, request.scope)

    async def reauth(self, body: PasswordBody, user: Browser, request: Request) -> Reauth:
        """Enter the password again, for settings that can run commands."""
        await self._accounts.check_password(body.password, address_of(request))
        at = now()
        name = keys.session(user.credential)
        await self._accounts.store.script("touch", [name], ["reauth_at", at.isoformat(), ""])
        self._accounts.directory.forget(user.credential)
        return Reauth(until=at + timedelta(minutes=REAUTH_MINUTES))

    async def me(self, user: User) -> Me:
        """Who this session or key belongs to, and what it may do."""
        return Me(user_id=user.user_id, kind=user.kind, scopes=sorted(user.scopes))

    async def sessions(self, user: User) -> SessionList:
        """List the browsers that are signed in."""
        found = await list_sessions(self._accounts.redis, user.user_id)
        return SessionList(items=[_session_info(fields, user) for fields in found])

    async def end_other_sessions(self, user: User) -> None:
        """Sign all other browsers out."""
        redis = self._accounts.redis
        await revoke_all_sessions(redis, user.user_id, but=user.credential)

    async def end_session(self, session_id: str, user: User) -> None:
        """Sign one browser out."""
        redis = self._accounts.redis
        for session in await list_sessions(redis, user.user_id):
            if session["id"] == session_id:
                await revoke_session(redis, user.user_id, session["digest"])
                return
        raise NotFound("there is no such session; it may have ended already")

    async def api_keys(self, user: User) -> KeyList:
        """List the API keys."""
        found = await list_keys(self._accounts.redis, user.user_id)
        return KeyList(items=[KeyInfo.model_validate(_key_info(fields)) for fields in found])

    async def make_key(self, body: KeyBody, user: User) -> NewKey:
        """Make an API key; this answer is the only one that shows it."""
        redis = self._accounts.redis
        key_id, secret = await create_key(
            redis, user.user_id, body.name, body.scope, expires_at=body.expires_at
        )
        found = await list_keys(redis, user.user_id)
        fields = next(fields for fields in found if fields["id"] == key_id)
        return NewKey.model_validate(_key_info(fields) | {"key": secret})

    async def end_key(self, key_id: str, user: User) -> None:
        """Revoke an API key at once."""
        if not await revoke_key(self._accounts.redis, user.user_id, key_id):
            raise NotFound("there is no such key; it may be revoked already")


def accounts_router(accounts: Accounts) -> APIRouter:
    """All routes of this file."""
    routes = AccountRoutes(accounts)
    router = APIRouter(
        prefix="/api",
        tags=["account"],
        route_class=json_route(),
        responses=problems_documented(),
    )
    router.post("/setup", status_code=204)(routes.set_up)
    router.post("/login", status_code=204)(routes.login)
    router.post("/logout", status_code=204)(routes.logout)
    router.post("/reauth")(routes.reauth)
    router.get("/me")(routes.me)
    router.get("/sessions")(routes.sessions)
    router.delete("/sessions", status_code=204)(routes.end_other_sessions)
    router.delete("/sessions/{session_id}", status_code=204)(routes.end_session)
    router.get("/keys")(routes.api_keys)
    router.post("/keys", status_code=201)(routes.make_key)
    router.delete("/keys/{key_id}", status_code=204)(routes.end_key)
    return router


def address_of(request: Request) -> str:
    """The address that a request comes from; "" for a unix socket."""
    return request.client.host if request.client else ""


def _key_info(fields: dict[str, str]) -> dict[str, str | None]:
    names = ("id", "name", "prefix", "scope", "created_at")
    shown: dict[str, str | None] = {name: fields[name] for name in names}
    return shown | {
        "last_used_at": fields["used_at"] or None,
        "expires_at": fields["expires_at"] or None,
    }


def _session_info(fields: dict[str, str], user: Principal) -> SessionInfo:
    names = ("id", "created_at", "agent", "address")
    shown: dict[str, object] = {name: fields[name] for name in names}
    current = fields["digest"] == user.credential
    return SessionInfo.model_validate(
        shown | {"last_used_at": fields["used_at"], "current": current}
    )
