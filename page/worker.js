// The worker of a page: holds the engine, and answers one question after the other. Behind the glue of wasm-bindgen, which it
// needs, it is one script; the page ends the worker to stop a text, and makes another.
"use strict";
let engine;
let asked;

function microtomeTells(json) {
  postMessage({ id: asked, output: JSON.parse(json) });
}

// What a question is answered with.
const answers = {
  // The engine, and files by the names that `put` takes.
  async begin({ module, files, width }) {
    const begun = performance.now();
    await wasm_bindgen({ module_or_path: module });
    for (const [name, bytes] of Object.entries(files)) wasm_bindgen.put(name, bytes);
    engine = new wasm_bindgen.Engine(width);
    return { seconds: (performance.now() - begun) / 1000 };
  },
  run: ({ text }) => JSON.parse(engine.run(text)),
  complete: ({ text, cursor }) => JSON.parse(engine.complete(text, cursor)),
  help: ({ text, cursor }) => engine.help(text, cursor),
  unfinished: ({ text }) => engine.is_unfinished(text),
  file: ({ path }) => wasm_bindgen.file(path),
};

onmessage = async ({ data }) => {
  asked = data.id;
  try {
    postMessage({ id: data.id, answer: await answers[data.ask](data) });
  } catch (error) {
    // After a panic, or where the stack or the memory ends, nothing more can be asked of this engine.
    postMessage({ id: data.id, broken: String(error) });
  }
};
