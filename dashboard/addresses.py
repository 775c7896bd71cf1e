"""Where sign-in leads: there and back, never to another site."""

from __future__ import annotations

import re
from urllib.parse import quote

HOME = "/"
SIGN_IN = "/login"
SET_UP = "/setup"

OURS = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of ours, with its query. Browsers read a backslash as a slash and drop tabs and line ends,
so that //host would hide behind them; other characters than these are escaped in an address."""


def sign_in_address(path: str, query: str = "") -> str:
    """The sign-in page that leads back to a page of ours."""
    target = f"{quote(path)}?{query}" if query else quote(path)
    return SIGN_IN if target == HOME else f"{SIGN_IN}?next={quote(target, safe='')}"


def destination(wanted: str) -> str:
    """Where a user who is signed in goes from the sign-in page: the page they wanted, if it is one
    of ours."""
    own = OURS.fullmatch(wanted) is not None
    back = wanted == SIGN_IN or wanted.startswith((f"{SIGN_IN}?", f"{SIGN_IN}#"))
    return wanted if own and not back else HOME
