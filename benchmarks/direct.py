"""The floor: the `openai` client asks the model server and nothing else happens.

Reads one message a line, answers each with a line of JSON: seconds to the first token and in all.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from openai import AsyncOpenAI


async def turn(client: AsyncOpenAI, text: str) -> dict[str, float]:
    """One streamed completion."""
    started, first, pieces = time.perf_counter(), 0.0, 0
    stream = await client.chat.completions.create(
        model="scripted-demo", messages=[{"role": "user", "content": text}], stream=True
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.perf_counter() - started
            pieces += 1
    return {"first": first, "total": time.perf_counter() - started, "pieces": pieces}


async def main(base_url: str) -> None:
    """Answer until the input ends."""
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await turn(client, line.strip())), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
