"""Sign-in, put together: what the composition root calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from api.middleware.guard import Live
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
    sign_in: SignIn
    accounts: Accounts

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep this open while the server answers: it listens for revocations."""
        async with self.revocations.running():
            yield


def make_auth(store: Store, live: Live) -> Auth:
    """The parts, which must be kept ``running()``."""
    revocations = Revocations(store.redis)
    directory = Directory(store, revocations)
    sign_in = SignIn(store, directory, lambda: live.current.security, live.current.home)
    return Auth(directory, revocations, sign_in, Accounts(store))
