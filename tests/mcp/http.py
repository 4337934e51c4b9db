"""The server over HTTP by the SDK for Python: both versions of the protocol, a session that outlives its client, progress, and
a call that is given up."""

import asyncio
import json
import sys
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
    # A person sees all of it.
    with urllib.request.urlopen(page + "calls/0") as answer:
        calls = json.load(answer)["calls"]
    assert [call["tool"] for call in calls].count("run") >= 5 and calls[-1]["result"]["text"] == "7\n", calls
    print("answered")


asyncio.run(main())
