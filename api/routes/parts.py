"""What routes work with."""

from __future__ import annotations

from dataclasses import dataclass

from api.condition import Condition
from api.stream import Streams
from core.accounts.accounts import Accounts
from core.accounts.sign_in import SignIn
from core.asks.client import Asks
from core.conversations.conversations import Conversations
from core.jobs.jobs import Jobs
from core.services import Services
from core.telemetry.share import Sharing


@dataclass(frozen=True)
class Parts:
    """Opened once and handed to every entry of ``ROUTES``, which takes what it needs."""

    services: Services
    sign_in: SignIn
    accounts: Accounts
    conversations: Conversations
    streams: Streams
    jobs: Jobs
    asks: Asks
    condition: Condition
    shared: Sharing
