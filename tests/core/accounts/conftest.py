"""Sign-in without HTTP, as any channel could use it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from core.accounts.directory import Directory
from core.accounts.revocations import Revocations
from core.accounts.sign_in import SignIn
from core.settings.groups import SecuritySettings
from core.store.client import Store


@pytest.fixture
async def revocations(store: Store) -> AsyncGenerator[Revocations]:
    """What this process hears of ended credentials."""
    heard = Revocations(store.redis)
    async with heard.running():
        yield heard


@pytest.fixture
def directory(store: Store, revocations: Revocations) -> Directory:
    """Who the credentials belong to."""
    return Directory(store, revocations)


@pytest.fixture
def sign_in(store: Store, directory: Directory, tmp_path: Path) -> SignIn:
    """The ways in, on a fresh data folder."""
    return SignIn(store, directory, SecuritySettings, tmp_path)
