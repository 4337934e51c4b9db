"""The server over HTTP by the SDK for Python: both versions of the protocol, a session that outlives its client, progress, and
a call that is given up."""

import asyncio
import json
import sys
import time
import urllib.request

import anyio
from mcp.client import Client

server, page, mode = sys.argv[1:]

LONG = """let m = model::load("tiny");
let fitted = sae::fit(m, "resid_post.3", data::text("sample", #{ tokens: 100_000 }), #{ k: 8, d_sae: 512, steps: 1_000_000 });"""


async def main():
    async with Client(server, mode=mode) as client:
        print(client.protocol_version)
        reply = await client.call_tool("run", {"script": "1 + 1"})
        assert reply.content[0].text == "2\n", reply
        await client.call_tool("run", {"script": "let kept = 7;"})
        heard = asyncio.Event()

        async def told(progress, total, message):
            heard.set()

        async with anyio.create_task_group() as group:

            async def fit():
                await client.call_tool("run", {"script": LONG}, progress_callback=told)

            group.start_soon(fit)
            await asyncio.wait_for(heard.wait(), 60)
            group.cancel_scope.cancel()
        # The session is free again, and has what was done before.
        reply = await client.call_tool("run", {"script": "kept"})
        assert reply.content[0].text == "7\n", reply
        reply = await client.call_tool("history", {})
        assert "the call was cancelled" in reply.content[0].text, reply
    async with Client(server, mode=mode) as client:
        reply = await client.call_tool("run", {"script": "kept"})
        assert reply.content[0].text == "7\n", reply
    # A person sees all of it; a call that was given up may be told after later ones.
    begun = time.monotonic()
    runs = []
    while len(runs) < 5 and time.monotonic() - begun < 30:
        with urllib.request.urlopen(page + "calls/0") as answer:
            runs = [call for call in json.load(answer)["calls"] if call["tool"] == "run"]
        await asyncio.sleep(0.1)
    texts = sorted(call["result"]["text"] if call["result"] else call["words"] for call in runs)
    assert len(texts) == 5 and texts[:4] == ["", "2\n", "7\n", "7\n"], runs
    assert "cancelled" in texts[4] or "given up" in texts[4], runs
    print("answered")


asyncio.run(main())
