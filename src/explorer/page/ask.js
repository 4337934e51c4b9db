// Questions to the server, whose answers come line by line. A newer question of a slot ends the older one; a question
// that found nobody is asked again once the server is back, so that nothing is lost.
import { set, state } from "./state.js";

const page = crypto.randomUUID();
const running = new Map();
const SLOW = 4000;

// What the server would not do, and its hint.
export class Refusal extends Error {
  constructor({ message, hint }) {
    super(message);
    this.hint = hint;
  }
}

// Ends what is asked in a slot.
export const stop = (slot) => {
  running.get(slot)?.abort();
  running.delete(slot);
};

// The last line of the answer, or null where another question took its place. Lines before it go to `receive`, and
// `{ again: true }` where the answer begins anew.
export const ask = async (name, question, receive = () => {}, slot = name) => {
  stop(slot);
  const control = new AbortController();
  running.set(slot, control);
  const body = JSON.stringify({ ...question, page, slot });
  try {
    for (;;) {
      try {
        return await answer(name, body, control.signal, receive);
      } catch (error) {
        if (control.signal.aborted) return null;
        if (error instanceof Refusal) throw error;
        await back();
        if (control.signal.aborted) return null;
        receive({ again: true });
      }
    }
  } finally {
    if (running.get(slot) === control) running.delete(slot);
  }
};

const answer = async (name, body, signal, receive) => {
  const slow = setTimeout(() => set({ server: "slow" }), SLOW);
  const reached = () => {
    clearTimeout(slow);
    if (state.server === "slow") set({ server: "here" });
  };
  try {
    const headers = { "content-type": "application/json" };
    const response = await fetch(name, { method: "POST", headers, body, signal });
    reached();
    if (!response.ok) throw new Refusal(await refused(response));
    for await (const line of lines(response)) {
      if (line.error) throw new Refusal(line.error);
      if (signal.aborted || line.cancelled) return null;
      if (line.done) return line;
      receive(line);
    }
    throw new TypeError("the answer broke off");
  } finally {
    reached();
  }
};

const refused = async (response) => {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return { message: `The server answers with status ${response.status}.`, hint: text.slice(0, 200) };
  }
};

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part !== "") yield JSON.parse(part);
  }
  if (rest.trim() !== "") yield JSON.parse(rest);
}

let waiting = null;

// Waits until the server answers again.
const back = () => {
  waiting ??= comes().finally(() => { waiting = null; });
  return waiting;
};

const comes = async () => {
  set({ server: "gone" });
  for (;;) {
    await new Promise((next) => setTimeout(next, 1000));
    try {
      const response = await fetch("start");
      set({ server: response.ok ? "here" : "other" });
      if (response.ok) return;
    } catch { /* not yet */ }
  }
};

// A refusal where it belongs, with its hint.
export const complaint = (error) => make("p", { class: "warning", role: "alert" }, error.message,
  error.hint ? make("small", {}, ` ${error.hint}`) : null);

// How far a long answer is.
export const progress = ([done, total, what]) => make("p", { class: "progress muted" }, `${what} `,
  make("progress", { max: Math.max(1, total), value: done, "aria-label": what }), ` ${digits(done)} of ${digits(total)}`);
