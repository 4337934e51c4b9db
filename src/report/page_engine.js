// The engine as a page sees it: unpacked from the page itself, in a worker that Stop ends.
"use strict";

// Returns the bytes that a text has in base64. They are millions: a call for each letter would take a second.
function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// Unpacks what `page/build` put into an element: gzip in base64.
async function unpacked(id) {
  const text = document.getElementById(id).textContent.trim();
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns how many numbers two answers have, and how far they are apart at most: from 1 on as a share of the number. One that only one
// of the answers has is apart by itself.
function apart(found, expected) {
  if (typeof found === "number" || typeof expected === "number") {
    return [1, Math.abs((found ?? 0) - (expected ?? 0)) / Math.max(1, Math.abs(expected ?? 0))];
  }
  if (expected === null || typeof expected !== "object") return [0, 0];
  const each = Object.keys(expected).map((key) => apart(found?.[key], expected[key]));
  return each.reduce(([count, most], [more, one]) => [count + more, Math.max(most, one)], [0, 0]);
}

// Says that of a page.
function nearness(count, most) {
  const far = most === 0 ? "none differs from" : `none is further than ${most.toExponential(1)} from`;
  return `Of a first question's ${count} numbers ${far} that of the program which wrote this page; from 1 on as a share of the number.`;
}

class Microtome {
  // `files` are those of the page that the engine is given, as ids of elements by their names.
  constructor(files, width) {
    this.source = unpacked("engine-script").then((bytes) => URL.createObjectURL(new Blob([bytes], { type: "text/javascript" })));
    this.module = unpacked("engine").then((bytes) => WebAssembly.compile(bytes));
    this.files = Promise.all(Object.entries(files).map(async ([name, id]) => [name, await unpacked(id)]));
    this.width = width;
    this.number = 0;
    this.begin();
  }

  begin() {
    this.waiting = new Map();
    this.ready = (async () => {
      const worker = new Worker(await this.source);
      worker.onmessage = ({ data }) => this.heard(data);
      worker.onerror = (event) => this.end(event.message);
      this.worker = worker;
      const files = Object.fromEntries(await this.files);
      return this.post("begin", { module: await this.module, files, width: this.width });
    })();
    // Who asks before it is ready hears why it is not.
    this.ready.catch(() => {});
  }

  post(ask, rest, output) {
    const id = ++this.number;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, output });
      this.worker.postMessage({ id, ask, ...rest });
    });
  }

  // Another worker of the same engine and files, for what is to be answered beside this one.
  beside() {
    const other = Object.assign(Object.create(Microtome.prototype), this, { worker: undefined });
    other.begin();
    return other;
  }

  // Asks the engine; `output` takes what is told before the answer.
  async ask(ask, rest, output) {
    await this.ready;
    return this.post(ask, rest, output);
  }

  heard({ id, output, answer, broken }) {
    const asked = this.waiting.get(id);
    if (!asked) return;
    if (output) return asked.output?.(output);
    this.waiting.delete(id);
    if (broken === undefined) return asked.resolve(answer);
    asked.reject(new Error(broken));
    this.end(broken);
  }

  // Ends the worker, and all that it was asked; the next one begins anew, with no variables.
  end(why) {
    this.worker?.terminate();
    for (const { reject } of this.waiting.values()) reject(new Error(why));
    this.begin();
  }
}
