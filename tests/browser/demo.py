"""Answers to look at: what the pages are worked on with, and what the pictures show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.browser.fake_state import Pause, Script, Step, Thread, answer, failing, text, think

TABLE_ANSWER = """Here is a short comparison of **three ways** to keep backups at home.

| Way | Cost a year | Restore time | Off-site |
|:----|-----------:|:------------:|:--------:|
| USB disk in a drawer | €12 | minutes | no |
| NAS in the hall | €95 | minutes | no |
| Encrypted cloud copy | €60 | hours | yes |

### What I would do

1. Keep the **USB disk** for quick mistakes.
2. Add the cloud copy for fire and theft.
3. Test a restore twice a year — see the [3-2-1 rule](https://example.com/backup-rule).

```python
from pathlib import Path

def newest(folder: Path) -> Path:
    \"\"\"The newest backup in a folder.\"\"\"
    files = sorted(folder.glob("*.tar.zst"), key=lambda p: p.stat().st_mtime)
    if not files:
        raise FileNotFoundError(f"no backup in {folder}")
    return files[-1]  # newest last
```

> A backup nobody has restored is a hope, not a backup.
"""

RUSSIAN_ANSWER = """Конечно! Вот **план на вечер**:

- 18:30 — прогулка до парка и обратно, примерно *4 км*;
- 19:30 — ужин: гречка с грибами, салат;
- 21:00 — час на книгу.

| Дело | Время | Готово |
|------|------:|:------:|
| Прогулка | 45 мин | ☐ |
| Ужин | 40 мин | ☐ |

Напомнить за `15` минут до начала?
"""

XSS = """Attack: <img src=x onerror="window.__xss=1"> <script>window.__xss=1</script>
[click](javascript:window.__xss=1) ![pixel](https://evil.example/p.png)
"""


def _words(words: str, pause: float) -> list[Step]:
    steps: list[Step] = []
    for i in range(0, len(words), 6):
        steps += [text(words[i : i + 6]), Pause(pause)]
    return steps


def _streamed(words: str, pause: float = 0.02) -> list[Step]:
    return [*_words(words, pause), ("message_completed", {"text": words})]


THOUGHT = (
    "The user wants to compare backup options at home. I should think of cost, restore time "
    "and whether a copy lies elsewhere. A table suits that. Then one clear recommendation, "
    "and a snippet that finds the newest backup, since they mentioned a script before. "
)

_TOOL: list[Step] = [
    (
        "tool_started",
        {"call_id": "c1", "name": "current_time", "arguments": {"zone": "Europe/Berlin"}},
    ),
    Pause(0.8),
    (
        "tool_finished",
        {"call_id": "c1", "status": "ok", "summary": "Sunday, 22 November 2026, 16:42"},
    ),
    (
        "tool_started",
        {"call_id": "c2", "name": "web_fetch", "arguments": {"url": "https://example.com/news"}},
    ),
    Pause(0.4),
    (
        "tool_finished",
        {"call_id": "c2", "status": "refused", "summary": "this site is not on the allowed list"},
    ),
]

DEMO_SCRIPTS: dict[str, Script] = {
    "backups": [
        *[step for word in THOUGHT.split(" ") for step in (think(f"{word} "), Pause(0.02))],
        *_streamed(TABLE_ANSWER),
    ],
    "time": [*_TOOL, *_streamed("It is **16:42** in Berlin. The news page could not be read.")],
    "вечер": _streamed(RUSSIAN_ANSWER),
    "xss": _streamed(XSS),
    "fail": [
        text("I begin to "),
        failing("unreachable", "The model server cannot be reached. Check that it runs."),
    ],
}
FALLBACK: Script = answer("You said something that no script knows. ", "Still, **hello**!")

TITLES = (
    ("Backups at home", 0),
    ("Вечер пятницы", 0),
    ("Trip to Lisbon in March", 1),
    ("Unit tests for the parser", 3),
    ("Рецепт борща для восьми человек и ещё очень длинное название", 5),
    ("Letter to the landlord", 20),
)


def old_threads() -> dict[str, Thread]:
    """Threads of the last weeks, the first with an answer in it."""
    threads: dict[str, Thread] = {}
    for number, (title, days) in enumerate(TITLES, 1):
        at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        threads[f"t{number}"] = Thread(f"t{number}", title, at, at)
    return threads
