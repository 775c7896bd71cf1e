"""What may stand in no committed file: secrets, registries, paths of somebody's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style import tree

ALLOWED = "not-a-secret"
"""A line with this mark holds a made-up value that only looks like a secret."""

SECRETS = {
    "Telegram bot token": r"(?<!\d)\d{8,10}:AA[\w-]{33}(?![\w-])",
    "OpenAI-style key": r"(?<![\w-])sk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}",
    "GitHub token": r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,})",
    "AWS access key": r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])",
    "Google key": r"(?<!\w)AIza[\w-]{35}",
    "Slack token": r"(?<!\w)xox[abprs]-[A-Za-z0-9-]{10,}",
    "our API key": r"(?<!\w)ak_[A-Za-z0-9_-]{24,}",
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "password in a URL": r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"'<>{}$]*:[^\s/:@\"'<>{}$%]{6,}@",
}

# Split, so that this file passes its own check.
REGISTRIES = (
    "py" "pi.org", "python" "hosted.org", "npm" "js.org", "npm" "js.com", "yarn" "pkg.com",
    "deb." "debian.org", "security." "debian.org", "archive." "ubuntu.com", "hugging" "face.co",
    "hf." "co/", "download." "pytorch.org", "crates" ".io", "proxy." "golang.org", "gh" "cr.io",
    "quay" ".io", "cdn.js" "delivr.net", "unp" "kg.com",
)  # fmt: skip
MACHINE_PATHS = (
    r"(?<![\w.}])/wo" r"rk/",
    r"(?<![\w.}])/ro" r"ot/",
    r"/opt/(?:py" r"pi|wheels)",
    r"\.lib" r"rary/",
)


def hits(path: Path, patterns: dict[str, str]) -> Iterator[str]:
    """Where a pattern occurs in the file, unless the line is marked as allowed."""
    for number, line in enumerate(tree.text(path).splitlines(), 1):
        if ALLOWED in line:
            continue
        for what, pattern in patterns.items():
            if re.search(pattern, line):
                yield f"{tree.name(path)}:{number} {what}"


def everywhere(patterns: dict[str, str]) -> list[str]:
    """All hits in all committed files."""
    return [hit for path in tree.committed() for hit in hits(path, patterns)]


def test_no_secret_is_committed() -> None:
    assert everywhere(SECRETS) == []


def test_no_package_registry_is_named() -> None:
    assert everywhere({host: re.escape(host) for host in REGISTRIES}) == []


def test_no_path_of_a_machine_is_named() -> None:
    assert everywhere({path: path for path in MACHINE_PATHS}) == []


@pytest.mark.parametrize(
    "planted",
    [
        "1234567890:AA" + "h" * 33,
        "sk-" + "a1" * 12,
        "AKIA" + "A1" * 8,
        "ghp_" + "a" * 36,
        "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
        "redis://user:" + "hunter22@host:6379",
    ],
)
def test_the_check_sees_planted_secrets(planted: str) -> None:
    assert [what for what, pattern in SECRETS.items() if re.search(pattern, f"key = {planted}")]
