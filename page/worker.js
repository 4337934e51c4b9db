// The worker of a page: holds the engine, and answers one question after the other. Behind the glue of wasm-bindgen, which it
// needs, it is one script; the page ends the worker to stop a text, and makes another.
"use strict";
let engine;
let explorer;
let report;
let asked;

// What a loop prints is told together, so that the page can keep up with it, and its Stop is heard.
const MOST_TOLD = 100;
let since = 0;
let told = 0;
let held = [];

function microtomeTells(json) {
  const output = JSON.parse(json);
  const now = performance.now();
  if (now - since > 50) [since, told] = [now, 0];
  told += 1;
  if (output.kind !== "print" || told <= MOST_TOLD) {
    tellHeld();
    return postMessage({ id: asked, output });
  }
  held.push(output.text);
  // Nobody reads all of it.
  if (held.length > 10_000) held.splice(0, 5_000, "…\n");
}

function tellHeld() {
  if (held.length) postMessage({ id: asked, output: { kind: "print", text: held.join("") } });
  held = [];
}

// What a question is answered with.
const answers = {
  // The engine, and files by the names that `put` takes.
  async begin({ module, files, width }) {
    const begun = performance.now();
    await wasm_bindgen({ module_or_path: module });
    for (const [name, bytes] of Object.entries(files)) wasm_bindgen.put(name, bytes);
    // An engine that only answers has no session of scripts.
    if (wasm_bindgen.Engine) engine = new wasm_bindgen.Engine(width);
    return { seconds: (performance.now() - begun) / 1000 };
  },
  run: ({ text }) => JSON.parse(engine.run(text)),
  complete: ({ text, cursor }) => JSON.parse(engine.complete(text, cursor)),
  help: ({ text, cursor }) => engine.help(text, cursor),
  unfinished: ({ text }) => engine.is_unfinished(text),
  file: ({ path }) => wasm_bindgen.file(path),
  explore: ({ name, question }) => JSON.parse((explorer ??= new wasm_bindgen.Explorer()).answer(name, JSON.stringify(question))),
  live: (question) => JSON.parse((report ??= new wasm_bindgen.LiveReport()).answer(JSON.stringify(question))),
  put: ({ path, bytes }) => wasm_bindgen.put(path, bytes),
  example: ({ text, form }) => JSON.parse(engine.example(text, form)),
};

onmessage = async ({ data }) => {
  asked = data.id;
  try {
    const answer = await answers[data.ask](data);
    tellHeld();
    postMessage({ id: data.id, answer });
  } catch (error) {
    // After a panic, or where the stack or the memory ends, nothing more can be asked of this engine.
    postMessage({ id: data.id, broken: String(error) });
  }
};
