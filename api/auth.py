"""Sign-in, put together: what the composition root calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from api.middleware.guard import Away, Guard, Live
from api.middleware.origins import Listening
from api.middleware.problems import install_problems
from api.routes.account import accounts_router
from core.accounts.accounts import Accounts
from core.accounts.directory import Directory
from core.accounts.revocations import Revocations
from core.accounts.sign_in import SignIn
from core.store.client import Store


@dataclass(frozen=True)
class Auth:
    """The parts of sign-in that others use."""

    directory: Directory
    revocations: Revocations
    router: APIRouter
    """The account routes."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep this open while the server answers: it listens for revocations."""
        async with self.revocations.running():
            yield


def install_auth(
    app: FastAPI, *, store: Store, live: Live, listening: Listening, away: Away | None = None
) -> Auth:
    """Put the guard in front of the app and add the error answers. ``away`` makes the page for
    somebody who cannot be identified because Redis is away."""
    revocations = Revocations(store.redis)
    directory = Directory(store, revocations)
    install_problems(app)
    sign_in = SignIn(store, directory, lambda: live.current.security, live.current.home)
    router = accounts_router(sign_in, Accounts(store))
    app.add_middleware(Guard, directory=directory, live=live, listening=listening, away=away)
    return Auth(directory, revocations, router)
