// What an agent needs of the server, by an SDK for TypeScript: `sdk` with the version of the protocol before the current one,
// `client` with the current one.
import assert from "node:assert";

const [which, program] = process.argv.slice(2);
const sdk = which === "sdk";
const { Client } = sdk
    ? await import("@modelcontextprotocol/sdk/client/index.js")
    : await import("@modelcontextprotocol/client");
const { StdioClientTransport } = sdk
    ? await import("@modelcontextprotocol/sdk/client/stdio.js")
    : await import("@modelcontextprotocol/client/stdio");

async function connected() {
    const transport = new StdioClientTransport({ command: program, args: ["mcp"], env: process.env });
    const client = new Client({ name: "test", version: "1" }, sdk ? {} : { versionNegotiation: { mode: "auto" } });
    await client.connect(transport);
    return client;
}

const client = await connected();
const run = (script, options) =>
    client.callTool({ name: "run", arguments: { script } }, ...(sdk ? [undefined, options] : [options]));
let reply = await run("1 + 1");
assert.equal(reply.content[0].text, "2\n");
assert.deepEqual(reply.structuredContent.value, { type: "integer", data: 2 });
console.log(`spoken: ${sdk ? client._negotiatedProtocolVersion ?? "" : client.getNegotiatedProtocolVersion?.() ?? ""}`);
assert.equal((await client.listTools()).tools.length, 7);
assert((await client.listResources()).resources.some((one) => one.uri === "microtome://glossary"));
assert((await client.readResource({ uri: "microtome://glossary" })).contents[0].text.includes("residual stream"));
assert.equal((await client.listPrompts()).prompts.length, 5);
assert((await client.getPrompt({ name: "steer", arguments: { model: "tiny" } })).messages[0].content.text.includes("tiny"));
reply = await run("nope + 1");
assert(reply.isError && reply.structuredContent.error.line === 1);

// Progress is told, and a call that is cancelled leaves the session as it is.
const told = [];
await run(
    'let m = model::load("tiny"); let s = sae::fit(m, "resid_post.0", data::text("sample", #{ tokens: 4000 }), #{ d_sae: 256, k: 8, steps: 300, batch: 512 });',
    { onprogress: (progress) => told.push(progress) },
);
assert(told.length > 0 && told.every((one) => one.message), JSON.stringify(told));
const abort = new AbortController();
setTimeout(() => abort.abort("enough"), 500);
await assert.rejects(run("let kept = 7; loop { kept += 1; }", { signal: abort.signal }));
reply = await run("kept > 7");
assert.equal(reply.content[0].text, "true\n");
await client.close();

// Another connection is another session.
const again = await connected();
assert((await again.callTool({ name: "run", arguments: { script: "kept" } })).isError);
await again.close();
console.log("answered");
