// The engine inside an exported page as who answers. A worker answers one question after the other, so there are several: what
// takes long keeps nobody waiting who types. Each loads the model for itself with its first question.
import { set } from "./state.js";

// The questions of each worker. A model and dictionaries of more than so many bytes have one worker for all.
const WORKERS = [["read", "save"], ["continue", "compare", "lenses"], ["card", "tree", "heads", "head"]];
const LARGE = 256 * 2 ** 20;

// A question with the program's answer, and the time after a first reading when the page asks it, too.
const FIRST = "/explorer/first.json";
const PAUSE = 400;

export const ofWorkers = () => {
  const files = unpacked();
  const first = new Microtome({}, 80);
  // They are looked at when its worker begins, which is later.
  first.files = files;
  const lanes = new Map();

  const laneOf = async (name) => {
    const size = (await files).reduce((sum, [, bytes]) => sum + bytes.length, 0);
    const number = size > LARGE ? 0 : WORKERS.findIndex((names) => names.includes(name));
    if (!lanes.has(number)) {
      lanes.set(number, { engine: number === 0 ? first : first.beside(), turn: Promise.resolve(), hearing: new Set() });
    }
    return lanes.get(number);
  };

  // How far the page's numbers are from the program's; asked once.
  let isCompared = false;
  const compare = async () => {
    if (isCompared) return;
    isCompared = true;
    const [, bytes] = (await files).find(([name]) => name === FIRST) ?? [];
    if (!bytes) return;
    const { question, answer } = JSON.parse(new TextDecoder().decode(bytes));
    const lane = await laneOf("read");
    const answered = lane.turn.then(() => asked(lane.engine, "read", question, () => {}));
    lane.turn = answered;
    const found = await answered;
    if (!found.error) set({ apart: apart(found, answer) });
  };

  const answer = async ({ name, question }, signal, receive) => {
    const lane = await laneOf(name);
    if (signal.aborted) return null;
    // Who waits hears how far the question before is.
    lane.hearing.add(receive);
    const told = ({ kind, line, text }) => {
      if (kind === "panic") console.error(text);
      if (kind !== "line") return;
      if (line.progress) lane.hearing.forEach((hear) => hear(line));
      else receive(line);
    };
    // One that a newer question has ended while it waited is not asked.
    const answered = lane.turn.then(() => (signal.aborted ? null : asked(lane.engine, name, question, told)));
    lane.turn = answered;
    const ended = new Promise((resolve) => signal.addEventListener("abort", () => resolve(null)));
    try {
      const line = await Promise.race([answered, ended]);
      if (name === "read" && line && !line.error) setTimeout(compare, PAUSE);
      return line;
    } finally {
      lane.hearing.delete(receive);
    }
  };

  const about = async () => {
    set({ server: "begins" });
    const found = await asked(first, "start", {});
    if (!found.error) return found;
    set({ server: "broken", why: found.error.message });
    return new Promise(() => {});
  };

  return { about, answer };
};

// The last line of an answer. After a panic the engine begins anew.
const asked = async (engine, name, question, told) => {
  try {
    return await engine.ask("explore", { name, question }, told);
  } catch (error) {
    return { error: { message: `The engine of this page has ended: ${error.message}`, hint: "It begins anew; what was typed is kept." } };
  }
};

// The files that the scripts beside this page hold: gzip in base64, in pieces.
const unpacked = async () => {
  const packed = new Map();
  for (const { name, data } of explorerFiles.splice(0)) packed.set(name, [...(packed.get(name) ?? []), bytesOf(data)]);
  const unpack = async ([name, pieces]) => {
    const stream = new Blob(pieces).stream().pipeThrough(new DecompressionStream("gzip"));
    return [name, new Uint8Array(await new Response(stream).arrayBuffer())];
  };
  return Promise.all([...packed].map(unpack));
};

const bytesOf = (text) => {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = letters.charCodeAt(at);
  return bytes;
};
