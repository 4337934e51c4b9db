// Drives the worker of a built page in Node: `node drive.js FOLDER < questions`. The questions are a list in JSON; the answers are
// printed as one, each with what was told before it. A file of a question, `{ put: NAME, at: PATH }`, is read from the disk.
"use strict";
const { readFileSync } = require("fs");
const { runInThisContext } = require("vm");

const [folder] = process.argv.slice(2);
const asked = JSON.parse(readFileSync(0, "utf8"));
let told = [];
let answered;
globalThis.postMessage = (message) => {
  if (message.output) told.push(message.output);
  else answered(message);
};
runInThisContext(readFileSync(`${folder}/worker.js`, "utf8"), { filename: "worker.js" });

async function main() {
  const answers = [];
  for (const [id, question] of asked.entries()) {
    for (const [name, path] of Object.entries(question.files ?? {})) question.files[name] = readFileSync(path);
    if (question.ask === "begin") {
      question.module = await WebAssembly.compile(readFileSync(`${folder}/engine_bg.wasm`));
    }
    const begun = performance.now();
    const answer = await new Promise((resolve) => {
      answered = resolve;
      globalThis.onmessage({ data: { id, ...question } });
    });
    answers.push({ ...answer, told, seconds: (performance.now() - begun) / 1000 });
    told = [];
  }
  console.log(JSON.stringify(answers));
}
main();
