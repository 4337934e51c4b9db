// Questions, and who answers them: the server of the page, or the engine inside an exported one. A newer question of a slot ends
// the older one.
import { ofServer } from "./server.js";
import { ofWorkers } from "./workers.js";

export const isExported = typeof Microtome !== "undefined";
const source = isExported ? ofWorkers() : ofServer();
const running = new Map();

// What is said of the model and its dictionaries, once somebody answers.
export const about = () => source.about();

// What was not done, and its hint.
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
  const { signal } = control;
  const heard = (line) => { if (!signal.aborted) receive(line); };
  try {
    const line = await source.answer({ name, question, slot }, signal, heard);
    if (signal.aborted || line === null || line.cancelled) return null;
    if (line.error) throw new Refusal(line.error);
    return line;
  } finally {
    if (running.get(slot) === control) running.delete(slot);
  }
};

// A refusal where it belongs, with its hint.
export const complaint = (error) => make("p", { class: "warning", role: "alert" }, error.message,
  error.hint ? make("small", {}, ` ${error.hint}`) : null);

// How far a long answer is.
export const progress = ([done, total, what]) => make("p", { class: "progress muted" }, `${what} `,
  make("progress", { max: Math.max(1, total), value: done, "aria-label": what }), ` ${digits(done)} of ${digits(total)}`);
