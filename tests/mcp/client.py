"""What an agent needs of the server, by the SDK for Python: both versions of the protocol, one after the other."""

import asyncio
import base64
import json
import os
import sys
import time

import anyio
from mcp import StdioServerParameters
from mcp.client import Client

program, mode = sys.argv[1:]
server = StdioServerParameters(command=program, args=["mcp", "--time", "30"], env=dict(os.environ))


async def main():
    begun = time.monotonic()
    async with Client(server, mode=mode) as client:
        first = await client.call_tool("run", {"script": "1 + 1"})
        print(f"first answer after {1000 * (time.monotonic() - begun):.0f} ms, {client.protocol_version}")
        assert first.content[0].text == "2\n", first
        await answers(client)
        await errors(client)
        await progress_and_cancellation(client)
        await sessions(client)
        await resources_and_prompts(client)
        saved = (await call(client, "save")).structured_content
    # Another connection is another session; what the first one had is in its folder.
    async with Client(server, mode=mode) as client:
        gone = await call(client, "run", script="kept")
        assert gone.is_error and gone.structured_content["error"]["kind"] == "syntax", gone
        look = await call(client, "look")
        assert look.structured_content["sessions"][0]["folder"] != "main", look
    assert "let kept = 7" in open(saved["script"]).read()
    print("record", saved["record"])


async def call(client, tool, **arguments):
    reply = await client.call_tool(tool, arguments)
    size = sum(len(part.text.encode()) for part in reply.content if part.type == "text")
    assert size + len(json.dumps(reply.structured_content)) < 10_000, (tool, arguments, size)
    return reply


async def answers(client):
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == ["run", "help", "check", "look", "history", "save", "reset"], tools
    assert "run" in client.instructions
    # Variables stay, and what is printed, shown and answered comes in its order.
    await call(client, "run", script="let kept = 7; fn twice(x) { 2 * x }")
    reply = await call(client, "run", script='print("a"); show([1, 2]); twice(kept)')
    assert reply.content[0].text == "a\n[1, 2]\n14\n", reply
    assert reply.structured_content["value"] == {"type": "integer", "data": 14}, reply
    # A table comes as rows with their types.
    reply = await call(client, "run", script='table([#{ a: 1, b: 0.5, c: "x" }, #{ a: 2, b: (), c: "y" }])')
    found = reply.structured_content["value"]["table"]
    assert [column["type"] for column in found["columns"]] == ["integer", "float", "text"], found
    assert found["rows"] == [[1, 0.5, "x"], [2, None, "y"]] and found["row_count"] == 2, found
    # A chart comes as a picture.
    reply = await call(client, "run", script="plot::line([1, 2, 4])")
    picture = [part for part in reply.content if part.type == "image"][0]
    assert picture.mime_type == "image/png" and base64.b64decode(picture.data)[:4] == b"\x89PNG", reply
    # What is long is cut, and its pages are the whole.
    reply = await call(client, "run", script='for i in 0..4000 { print(`line ${i}`) } (0..3000).map(|i| i)')
    number, count = reply.structured_content["number"], reply.structured_content["pages"]
    pages = [await call(client, "history", number=number, page=page + 1) for page in range(count)]
    text = "".join(page.content[0].text.split("\n[page ")[0] for page in pages)
    assert all(f"line {i}\n" in text for i in range(4000)), text[-200:]
    data = [await call(client, "history", number=number, part="data", page=page + 1) for page in range(3)]
    whole = json.loads("".join(page.content[0].text.split("\n[page ")[0] for page in data))
    assert whole == list(range(3000))
    listed = (await call(client, "history")).content[0].text
    assert "plot::line" in listed, listed
    # Help by name and by words, each with an example.
    assert "model::load(" in (await call(client, "help", query="model::load")).content[0].text
    assert "help(query:" in (await call(client, "help", query="activation patching")).content[0].text
    assert (await call(client, "help", query="sae")).structured_content["pages"] > 1


async def errors(client):
    reply = await call(client, "run", script="let a = 1;\nmodel::laod(\"tiny\")")
    error = reply.structured_content["error"]
    assert reply.is_error and error["line"] == 2 and error["column"] > 0, reply
    assert "model::load" in error["hint"] and "laod" in reply.content[0].text, reply
    found = (await call(client, "check", script="tensr([1]);\nplot::line([1], #{ titel: 1 })")).structured_content
    assert [mistake["line"] for mistake in found["mistakes"]] == [1, 2], found
    found = await call(client, "check", script="twice(kept) + 1", session="main")
    assert found.structured_content["mistakes"] == [], found
    # A call cannot ask for more than the person gave, and is told nothing of what is there.
    for script in ['data::text("/etc/passwd")', 'data::text("/etc/no-such-file")']:
        error = (await call(client, "run", script=script)).structured_content["error"]
        assert error["kind"] == "access" and "--allow-read /etc" in error["hint"], error
        assert "may not read" in error["message"], error
    error = (await call(client, "run", script='table([#{ a: 1 }]).save("/tmp/outside.csv")')).structured_content["error"]
    assert error["kind"] == "access" and "--allow-write /tmp" in error["hint"], error
    error = (await call(client, "run", script="1", seconds=3600)).structured_content["error"]
    assert error["kind"] == "access" and "--time 3600" in error["hint"], error
    for arguments in [{}, {"script": 1}, {"script": "1", "more": 2}]:
        reply = await client.call_tool("run", arguments)
        assert reply.is_error and reply.structured_content["error"]["kind"] == "argument", reply


async def progress_and_cancellation(client):
    told = []

    async def progress(done, total, message):
        told.append((done, message))

    fit = """let m = model::load("tiny");
let s = sae::fit(m, "resid_post.0", data::text("sample", #{ tokens: 4000 }), #{ d_sae: 256, k: 8, steps: STEPS, batch: 512 });
print("fitted");"""
    reply = await client.call_tool("run", {"script": fit.replace("STEPS", "300")}, progress_callback=progress)
    assert not reply.is_error and told and told == sorted(told, key=lambda one: one[0]), told
    assert any("of 300" in (message or "") for _, message in told), told
    # A call that is cancelled keeps what there is: a training ends early, and the script goes on with it.
    begun = time.monotonic()
    with anyio.move_on_after(2):
        await client.call_tool("run", {"script": 'print("before");' + fit.replace("STEPS", "100000")})
    look = await call(client, "look")
    while look.structured_content["sessions"][0]["running_seconds"] is not None:
        assert time.monotonic() - begun < 25
        await asyncio.sleep(0.1)
        look = await call(client, "look")
    assert [one["name"] for one in look.structured_content["dictionaries"]] == ["s"], look
    kept = (await call(client, "history", number=await last(client))).content[0].text
    assert "before" in kept and "cancelled" in kept, kept
    # A call that takes too long is stopped with what it has.
    reply = await call(client, "run", script='let n = 0; print("begun"); loop { n += 1; }', seconds=0.5)
    assert reply.is_error and reply.structured_content["error"]["kind"] == "interrupted", reply
    assert "begun" in reply.content[0].text and "--time" in reply.content[0].text, reply
    assert (await call(client, "run", script="n > 0")).content[0].text == "true\n"


async def last(client):
    listed = (await call(client, "history")).content[0].text
    return int(listed.split()[0])


async def sessions(client):
    # Two sessions work side by side, each with its own variables.
    scripts = {"a": "let x = 1; let n = 0; while n < 200000 { n += 1; } x", "b": "let x = 2; x"}
    replies = await asyncio.gather(*[call(client, "run", script=script, session=name) for name, script in scripts.items()])
    assert [reply.structured_content["value"]["data"] for reply in replies] == [1, 2], replies
    # A model that one of them has loaded is the other's, too.
    took = []
    for name in "ab":
        begun = time.monotonic()
        reply = await call(client, "run", script='let m = model::load("tiny");', session=name)
        took.append(time.monotonic() - begun)
    reply = await call(client, "reset", session="a")
    assert "begins anew" in reply.content[0].text, reply
    reply = await call(client, "run", script="x", session="a")
    assert reply.is_error and reply.structured_content["number"] == 3, reply
    error = (await call(client, "look", session="none")).structured_content["error"]
    assert error["kind"] == "name" and "main" in error["hint"], error
    error = (await call(client, "run", script="1", session="../x")).structured_content["error"]
    assert error["kind"] == "argument", error


async def resources_and_prompts(client):
    listed = (await client.list_resources()).resources
    addresses = [str(resource.uri) for resource in listed]
    for address in ["microtome://skill", "microtome://glossary", "microtome://guide/sweeps", "microtome://guide/agents",
                    "microtome://experiments/ioi_heads.rhai", "microtome://experiments/ioi_heads.png"]:
        assert address in addresses, address
        content = (await client.read_resource(address)).contents[0]
        assert getattr(content, "text", None) or getattr(content, "blob", None), address
    await call(client, "run", script='report("first", ["# One", plot::line([1, 2])]).save()')
    await call(client, "save")
    for address in ["microtome://runs/main", "microtome://reports/main/first/index.html", "microtome://reference/README"]:
        assert (await client.read_resource(address)).contents[0].text, address
    for address in ["microtome://runs/../..", "microtome://reports/../Cargo.toml", "microtome://none", "file:///etc/passwd"]:
        try:
            await client.read_resource(address)
        except Exception as error:
            assert "microtome" in str(error) or "resource" in str(error) or "output folder" in str(error), error
        else:
            raise AssertionError(address)
    templates = (await client.list_resource_templates()).resource_templates
    assert "microtome://guide/{page}" in [template.uri_template for template in templates]
    prompts = (await client.list_prompts()).prompts
    assert len(prompts) == 5, prompts
    prompt = await client.get_prompt("trace_token", {"text": 'The "king" of'})
    script = prompt.messages[0].content.text.split("```rhai\n")[1].split("```")[0]
    reply = await call(client, "run", script=script, session="prompt")
    assert not reply.is_error and reply.structured_content["value"]["table"]["rows"], reply


asyncio.run(main())
print("answered")
