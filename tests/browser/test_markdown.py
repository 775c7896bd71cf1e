"""Markdown in pieces looks like markdown at once, and none of it can run."""

from __future__ import annotations

import random
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.actions import finished, last_text, say
from tests.browser.conftest import Watch
from tests.browser.demo import RUSSIAN_ANSWER, TABLE_ANSWER
from tests.browser.fake_state import Thread, World, answer, now, text
from tests.fixtures.nasty_markdown import CASES

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN_CASES = {
    "answer": TABLE_ANSWER,
    "russian": RUSSIAN_ANSWER,
    "list_then_rule": "- a\n---\nb\n\n- c\n---x\n",
    "list_goes_on": "1. one\n\n2. two\n\n   more of two\n\n3. three\n\nend",
    "setext": "Title\n===\n\ntext\n- \n\nSub\n---\nmore",
    "table_after_text": "words\n| a | b |\n|---|--:|\n| 1 | 2 |\nno row\n\nend",
    "quote_goes_on": "> a\nlazy\n\n> b\n\nc",
    "indented": "para\n\n    code\n\n    more code\n\nend\n\n\tcode",
    "fence_after_list": "- a\n\n```py\nx = 1\n```\n\n- b\n\n~~~\n~~~\n",
    "empty_fence": "a\n\n```\n```\nb\n```js\n",
    "reference": "see [docs][1] and [other]\n\ntext\n\n[1]: https://a.example/x\n[other]: https://b.example",
    "html": "<div>\n\n**bold**\n\n</div>\n\n<!-- a\n\nb -->\n\n<pre>\n\nx",
    "breaks": "a  \nb\\\nc\n\n\n\n* * *\n\n***\nd",
    "crlf": "# a\r\n\r\n- b\r\n- c\r\n\r\nd\r\n",
    "crlf_long": "# a\r\n\r\nsome words\r\nand more\r\n\r\n" * 12,
    "deep": f"a\n\n{'> ' * 60}b\n\n{'- ' * 60}c\n\n{'1. ' * 60}d\n\ne",
}
IN_PIECES = """async ([text, cuts]) => {
  const { MarkdownView } = await import('/static/js/markdown/view.js');
  const draw = run => {
    const root = document.createElement('div');
    const view = new MarkdownView(root);
    run(view);
    return root.innerHTML;
  };
  const whole = draw(view => view.set(text));
  for (const places of cuts) {
    const grown = draw(view => {
      for (const place of places) view.show(text.slice(0, place));
      view.show(text);
      view.end();
    });
    if (grown !== whole) return { places, grown, whole };
  }
  return null;
}"""
DRAW = """async text => {
  const { MarkdownView } = await import('/static/js/markdown/view.js');
  const root = document.createElement('div');
  document.body.append(root);
  const view = new MarkdownView(root);
  for (let i = 0; i < text.length; i += 7) view.show(text.slice(0, i));
  view.show(text);
  view.end();
  const found = {
    tags: [...new Set([...root.querySelectorAll('*')].map(e => e.localName))],
    attributes: [...new Set([...root.querySelectorAll('*')].flatMap(e => e.getAttributeNames()))],
    links: [...root.querySelectorAll('a')].map(a => a.href),
    text: root.innerText,
  };
  root.remove();
  return found;
}"""


def random_cuts(words: str, times: int) -> list[list[int]]:
    source = random.Random(7)
    length = max(len(words), 1)
    every = [list(range(1, length))] if length < 250 else []
    some = [sorted(source.sample(range(length), min(length, 30))) for _ in range(times)]
    return every + some


async def test_any_cut_draws_the_same(watch: Watch) -> None:
    page = await watch.open("/login", signed_in=False)
    for name, words in (CASES | OWN_CASES).items():
        differs: Any = await page.evaluate(IN_PIECES, [words, random_cuts(words, 4)])
        assert differs is None, name


ATTACKS = (
    '<img src=x onerror="window.__xss=1">',
    "<script>window.__xss=1</script>",
    "<svg onload=window.__xss=1><animate onbegin=window.__xss=1>",
    "<iframe srcdoc='<script>parent.__xss=1</script>'></iframe>",
    "<style>body{display:none}</style><link rel=stylesheet href=//evil.example/x.css>",
    "<form action=/api/logout><button hx-get=/api/me data-hx-trigger=load>x</button></form>",
    "<p style='position:fixed;inset:0' data-action=theme id=message>over</p>",
    "[a](javascript:window.__xss=1) [b](JaVaScRiPt:window.__xss=1) <javascript:window.__xss=1>",
    "[c](data:text/html,<script>window.__xss=1</script>) [d](vbscript:x) [e](/api/logout)",
    "[f](https://ok.example/?q=%22onmouseover=window.__xss=1) [g](java\nscript:window.__xss=1)",
    '[h](https://ok.example "t\\" onmouseover=\\"window.__xss=1")',
    "![i](https://evil.example/pixel.png) ![j](javascript:window.__xss=1)",
    '![k"onerror="window.__xss=1](x)',
    '```"><img src=x onerror=window.__xss=1>\n<script>window.__xss=1</script>\n```',
    "`<img src=x onerror=window.__xss=1>` <math><mtext></mtext><mglyph><svg><mtext>",
    "| <img src=x onerror=window.__xss=1> | b |\n|-|-|\n| <script>window.__xss=1</script> | x |",
    "# <img src=x onerror=window.__xss=1>\n\n> <svg/onload=window.__xss=1>",
    "[l]: javascript:window.__xss=1\n\n[l] [x][l]",
    "<details open ontoggle=window.__xss=1><summary>x</summary></details>",
    "<noscript><p title='</noscript><img src=x onerror=window.__xss=1>'>",
)
HARMLESS = {
    "a", "blockquote", "br", "button", "code", "del", "div", "em", "figcaption", "figure", "h3",
    "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "span", "strong", "table", "tbody", "td", "th",
    "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {
    "align",
    "class",
    "dir",
    "href",
    "rel",
    "start",
    "tabindex",
    "target",
    "title",
    "type",
}


LONG = {
    "paragraph": "word " * 13_000,
    "astral": "a" + "\N{GRINNING FACE}" * 30_000,
    "list": "before\n\n" + "- item of a list\n" * 4_000 + "\nafter\n\nend",
    "table": "| a | b |\n|--|--|\n" + "| one | two |\n" * 5_000 + "\nafter",
    "code": "before\n\n```py\n" + "x = '*a* [b](c)'\n" * 4_000 + "```\n\nafter *it*\n",
    "open_code": "~~~\n" + "x = 1\n" * 12_000,
    "code_to_the_end": "```\n" + "x = 1\n" * 12_000 + "```",
}


async def test_long_blocks_are_drawn_the_same_however_they_come(watch: Watch) -> None:
    page = await watch.open("/login", signed_in=False)
    for name, words in LONG.items():
        cuts = [[1, 10_000, 49_999, 50_001, 55_000, len(words) - 1], [30_000, 60_000]]
        differs: Any = await page.evaluate(IN_PIECES, [words, cuts])
        assert differs is None, name


TIMED = """async ([text, step]) => {
  const { MarkdownView } = await import('/static/js/markdown/view.js');
  const root = document.createElement('div');
  document.body.append(root);
  const view = new MarkdownView(root);
  const start = performance.now();
  for (let i = step; i < text.length; i += step) view.show(text.slice(0, i));
  view.show(text);
  view.end();
  const letters = root.textContent.length;
  const took = performance.now() - start;
  root.remove();
  return { took, letters };
}"""
WILD = {
    "quotes": ">", "numbers": "1. ", "dashes": "- - - x ", "bold": "***a** ", "under": "__a_ ",
    "rules": "---\n", "headings": "a\n-\n", "addresses": "a.", "brackets": "[",
    "ticks": "`a ", "quoted": ">a\nb\n", "paragraphs": "a\n\n", "mixed": "*_[`~", "angles": "<a ",
    "half_links": "[a](", "strikes": "~~a ", "mails": "a@a.", "cells": "|a", "fences": "```\n",
    "deep": "> - 1. ",
}  # fmt: skip
WILD_SIZE = 60_000
WILD_MS = 15_000
"""On an idle machine all take less than two seconds; before, some took that long in each of many
drawings, and some never ended."""


@pytest.mark.timeout(180)
async def test_no_text_freezes_the_page_or_vanishes(watch: Watch) -> None:
    page = await watch.open("/login", signed_in=False)
    for name, unit in WILD.items():
        wild = unit * (WILD_SIZE // len(unit))
        for step in (WILD_SIZE, WILD_SIZE // 20):
            found: Any = await page.evaluate(TIMED, [wild, step])
            assert found["took"] < WILD_MS, (name, step, found)
            if name not in ("rules", "headings", "fences"):
                assert found["letters"] > 0, (name, step)


async def test_attacks_become_text(watch: Watch) -> None:
    page = await watch.open("/login", signed_in=False)
    for attack in ATTACKS:
        found: Any = await page.evaluate(DRAW, f"before {attack}\n\n{attack}\n\nafter")
        assert set(found["tags"]) <= HARMLESS, attack
        assert set(found["attributes"]) <= ATTRIBUTES, attack
        for link in found["links"]:
            assert link.startswith(("https://", "http://", "mailto:")), attack


async def test_attacks_everywhere_in_a_conversation(watch: Watch, world: World) -> None:
    attack = " ".join(ATTACKS[:6])
    call = {"call_id": "<img src=x onerror=window.__xss=1>", "name": attack[:60]}
    world.threads["t1"] = Thread("t1", attack)
    world.model = attack
    world.scripts = {
        attack: [
            ("reasoning_delta", {"text": attack}),
            ("tool_started", {**call, "arguments": {attack: attack}}),
            ("tool_finished", {**call, "status": "ok", "summary": attack}),
            ("notice", {"level": "warning", "text": attack}),
            *answer(*attack),
        ]
    }
    page = await watch.open("/t/t1")
    await expect(page.locator("h1")).to_contain_text("onerror")
    await say(page, attack)
    await finished(page)
    await expect(page.locator(".message img, .message script, .message iframe")).to_have_count(0)
    await page.reload()
    await finished(page)
    await expect(last_text(page)).to_contain_text("<script>window.__xss=1</script>")


async def test_links_open_elsewhere_and_show_where(watch: Watch, world: World) -> None:
    world.scripts = {
        "go": answer("[here](https://a.example/b?c=1&d=2) ![a cat](https://x.example/cat.png)")
    }
    page = await watch.open()
    await say(page, "go")
    await finished(page)
    link, picture = await last_text(page).locator("a").all()
    await expect(link).to_have_attribute("title", "https://a.example/b?c=1&d=2")
    await expect(link).to_have_attribute("target", "_blank")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(picture).to_have_text("🖼 a cat")


async def test_info_string_in_pieces_gives_the_language(watch: Watch, world: World) -> None:
    world.scripts = {"go": [*(text(c) for c in "```py"), *(text(c) for c in "thon\nx = 1\n```\n")]}
    page = await watch.open()
    await say(page, "go")
    await finished(page)
    await expect(last_text(page).locator("figcaption span")).to_have_text("python")
    await expect(last_text(page).locator("code .hljs-number")).to_have_text("1")


async def test_code_and_messages_can_be_copied(watch: Watch, world: World) -> None:
    world.scripts = {"go": answer("Look:\n\n```py\nx = 1 < 2\n```\n")}
    page = await watch.open()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await say(page, "go")
    await finished(page)
    button = last_text(page).locator("button.copy")
    await button.click()
    await expect(button).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "x = 1 < 2"
    await page.locator(".assistant").get_by_role("button", name="Copy message").click()
    await expect(page.locator(".assistant .copied")).to_have_count(2)
    copied: Any = await page.evaluate("navigator.clipboard.readText()")
    assert copied == "Look:\n\n```py\nx = 1 < 2\n```\n"


async def test_stored_messages_are_drawn_alike(watch: Watch, world: World, thread: Thread) -> None:
    thread.messages = [
        {"id": "m1", "role": "user", "text": "**not bold**", "created_at": now(), "tools": []},
        {"id": "m2", "role": "assistant", "text": "**bold**", "created_at": now(), "tools": []},
    ]
    page = await watch.open("/t/t1")
    await expect(page.locator(".bubble")).to_have_text("**not bold**")
    await expect(last_text(page).locator("strong")).to_have_text("bold")
