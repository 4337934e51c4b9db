// The text that is read while it is typed. The time from a key to its picture is measured, as `key to picture` among the
// page's performance measures and as data-picture on its body.
import { ask, complaint, stop } from "./ask.js";
import { at, on, set, state } from "./state.js";
import { step } from "./steps.js";

const TOP = 8;
let pressed = null;

// The question whose answer the page shows.
export const question = () => {
  const { dictionary, opened, text } = state;
  return { text: text.toWellFormed(), dictionary, top: TOP, ...(opened === null ? {} : { chosen: opened }) };
};

export const read = async () => {
  const [asked, since] = [question(), pressed];
  pressed = null;
  try {
    const reading = await ask("read", asked);
    if (reading === null) return;
    at("refused").replaceChildren();
    set({ reading: { ...reading, of: asked } });
    step("read", asked);
    if (since !== null) painted(since);
  } catch (error) {
    at("refused").replaceChildren(complaint(error));
  }
};

// After the frame in which the answer is drawn.
const painted = (since) => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    const { duration } = performance.measure("key to picture", { start: since, end: performance.now() });
    document.body.dataset.picture = duration.toFixed(1);
  };
  port2.postMessage(null);
});

const typed = (event) => {
  pressed = event.timeStamp;
  // What continues the text as it was is of no use, and would slow the reading.
  stop("continue");
  set({ text: at("text").value });
};

const examples = () => {
  const button = (text) => make("button", { type: "button", dir: "auto", on: { click: () => set({ text }) } }, text);
  at("examples").replaceChildren(...state.about.examples.map(button));
};

export const start = () => {
  at("text").addEventListener("input", typed);
  on(["text"], () => { if (at("text").value !== state.text) at("text").value = state.text; });
  on(["text", "dictionary", "opened"], read);
  on(["about"], examples);
};
