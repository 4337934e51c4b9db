// The server of the page as who answers: line by line. A question that found nobody is asked again once the server is back, so
// that nothing is lost.
import { set, state } from "./state.js";

const SLOW = 4000;

export const ofServer = () => {
  const page = crypto.randomUUID();
  const answer = async ({ name, question, slot }, signal, receive) => {
    const body = JSON.stringify({ ...question, page, slot });
    for (;;) {
      try {
        return await once(name, body, signal, receive);
      } catch {
        if (signal.aborted) return null;
        await back();
        if (signal.aborted) return null;
        receive({ again: true });
      }
    }
  };
  return { about, answer };
};

// Until the server answers for the first time.
const about = async () => {
  for (;;) {
    try {
      const response = await fetch("start");
      if (response.ok) return await response.json();
      set({ server: "other" });
    } catch {
      set({ server: "gone" });
    }
    await new Promise((next) => setTimeout(next, 1000));
  }
};

const once = async (name, body, signal, receive) => {
  const slow = setTimeout(() => set({ server: "slow" }), SLOW);
  const reached = () => {
    clearTimeout(slow);
    if (state.server === "slow") set({ server: "here" });
  };
  try {
    const headers = { "content-type": "application/json" };
    const response = await fetch(name, { method: "POST", headers, body, signal });
    reached();
    if (!response.ok) return { error: await refused(response) };
    for await (const line of lines(response)) {
      if (line.error || line.cancelled || line.done) return line;
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
