"""Routes of sign-in: set-up, password, sessions and API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request, Response

from api.middleware.cookies import clear_cookie, request_token, set_cookie
from api.middleware.principal import REAUTH_MINUTES, in_browser, signed_in
from api.middleware.problems import also
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
from core.accounts.accounts import Accounts
from core.accounts.api_keys import create_key, list_keys, no_longer_than, revoke_key
from core.accounts.principal import Principal
from core.accounts.sessions import list_sessions, revoke_all_sessions, revoke_session
from core.accounts.sign_in import SignIn, Visitor
from core.errors import NotFound, Unauthorized

User = Annotated[Principal, Depends(signed_in)]
Browser = Annotated[Principal, Depends(in_browser)]


class HasAccounts(Protocol):
    """What the routes of this file need of all parts."""

    @property
    def sign_in(self) -> SignIn:
        """The rules of signing in."""
        ...

    @property
    def accounts(self) -> Accounts:
        """The accounts."""
        ...


class AccountRoutes:
    """The handlers; their docstrings are what OpenAPI says."""

    def __init__(self, sign_in: SignIn, accounts: Accounts) -> None:
        self._sign_in = sign_in
        self._accounts = accounts
        self._redis = sign_in.store.redis

    async def set_up(self, body: SetupBody, request: Request, response: Response) -> None:
        """Set the administrator's password, once, with the token of the printed link."""
        token = await self._sign_in.set_up(body.token, body.password, _visitor(request))
        self._hand_out(token, request, response)

    async def login(self, body: PasswordBody, request: Request, response: Response) -> None:
        """Sign this browser in."""
        token = await self._sign_in.sign_in(body.password, _visitor(request))
        self._hand_out(token, request, response)

    async def logout(self, user: Browser, request: Request, response: Response) -> None:
        """Sign this browser out."""
        await self._sign_in.sign_out(user)
        clear_cookie(response, request.scope)

    async def reauth(self, body: PasswordBody, user: Browser, request: Request) -> Reauth:
        """Enter the password again, for settings that can run commands."""
        at = await self._sign_in.confirm(user, body.password, address_of(request))
        return Reauth(until=at + timedelta(minutes=REAUTH_MINUTES))

    def _hand_out(self, token: str, request: Request, response: Response) -> None:
        set_cookie(response, request.scope, token, self._sign_in.security().session_days)

    async def me(self, user: User) -> Me:
        """Who this session or key belongs to, and what it may do."""
        account = await self._accounts.get(user.user_id)
        if account is None:
            raise Unauthorized("this account is no more")
        return Me(
            user_id=account.id,
            kind=user.kind,
            scopes=sorted(user.scopes),
            name=account.name,
            role=account.role,
            language=account.language,
            time_zone=account.zone,
        )

    async def sessions(self, user: User) -> SessionList:
        """List the browsers that are signed in."""
        found = await list_sessions(self._redis, user.user_id)
        return SessionList(items=[_session_info(fields, user) for fields in found])

    async def end_other_sessions(self, user: User) -> None:
        """Sign all other browsers out."""
        await revoke_all_sessions(self._redis, user.user_id, but=user.credential)

    async def end_session(self, session_id: str, user: User) -> None:
        """Sign one browser out."""
        for session in await list_sessions(self._redis, user.user_id):
            if session["id"] == session_id:
                await revoke_session(self._redis, user.user_id, session["digest"])
                return
        raise NotFound("there is no such session; it may have ended already")

    async def api_keys(self, user: User) -> KeyList:
        """List the API keys."""
        found = await list_keys(self._redis, user.user_id)
        return KeyList(items=[KeyInfo.model_validate(_key_info(fields)) for fields in found])

    async def make_key(self, body: KeyBody, user: User) -> NewKey:
        """Make an API key; this answer is the only one that shows it."""
        ends = no_longer_than(user, body.expires_at)
        key_id, secret = await create_key(
            self._redis, user.user_id, body.name, body.scope, expires_at=ends
        )
        found = await list_keys(self._redis, user.user_id)
        fields = next(fields for fields in found if fields["id"] == key_id)
        return NewKey.model_validate(_key_info(fields) | {"key": secret})

    async def end_key(self, key_id: str, user: User) -> None:
        """Revoke an API key at once."""
        if not await revoke_key(self._redis, user.user_id, key_id):
            raise NotFound("there is no such key; it may be revoked already")


def add_door(router: APIRouter, parts: HasAccounts) -> None:
    """Ways in."""
    routes = AccountRoutes(parts.sign_in, parts.accounts)
    router.post("/api/setup", status_code=204, responses=also(403, 410, 503))(routes.set_up)
    router.post("/api/login", status_code=204, responses=also(401, 409, 429, 503))(routes.login)


def add_me(router: APIRouter, parts: HasAccounts) -> None:
    """Who asks."""
    router.get("/api/me")(AccountRoutes(parts.sign_in, parts.accounts).me)


def add_account(router: APIRouter, parts: HasAccounts) -> None:
    """Sessions and keys."""
    routes = AccountRoutes(parts.sign_in, parts.accounts)
    router.post("/api/logout", status_code=204)(routes.logout)
    router.post("/api/reauth", responses=also(429))(routes.reauth)
    router.get("/api/sessions")(routes.sessions)
    router.delete("/api/sessions", status_code=204)(routes.end_other_sessions)
    router.delete("/api/sessions/{session_id}", status_code=204)(routes.end_session)
    router.get("/api/keys")(routes.api_keys)
    router.post("/api/keys", status_code=201)(routes.make_key)
    router.delete("/api/keys/{key_id}", status_code=204)(routes.end_key)


def address_of(request: Request) -> str:
    """The address that a request comes from; "" for a unix socket."""
    return request.client.host if request.client else ""


def _visitor(request: Request) -> Visitor:
    return Visitor(
        address=address_of(request),
        agent=request.headers.get("user-agent", ""),
        session=request_token(request.scope),
    )


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
