// The text that is read while it is typed. The time from a key to its picture is measured, as `key to picture` among the
// page's performance measures and as data-picture on its body.
import { ask, complaint, stop } from "./ask.js";
import { at, on, set, state, withoutFirst } from "./state.js";
import { step } from "./steps.js";

export const TOP = 8;
// A text of so many tokens tells whether position 0 is a sink: its strongest code is then so many times that of any other.
const [ENOUGH, SINK] = [6, 2];
let pressed = null;

// The question whose answer the page shows.
export const question = () => {
  const { dictionary, opened, text } = state;
  const chosen = opened === null ? {} : { chosen: opened };
  return { text: text.toWellFormed(), dictionary, top: TOP, without_first: withoutFirst(), ...chosen };
};

// Notes whether position 0 is a sink, and tells whether the text is therefore to be read without it.
const isToLeaveOut = ({ features }, { dictionary }) => {
  if (dictionary in state.sinks || features.length < ENOUGH) return false;
  const [first, ...others] = features.map((list) => Math.abs(list[0]?.[1] ?? 0));
  const isSink = first > SINK * Math.max(...others);
  set({ sinks: { ...state.sinks, [dictionary]: isSink } });
  return isSink && state.without === null;
};

export const read = async () => {
  const [asked, since] = [question(), pressed];
  pressed = null;
  try {
    const reading = await ask("read", asked);
    if (reading === null) return;
    if (isToLeaveOut(reading, asked)) return await read();
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
  on(["text", "dictionary", "opened", "without"], read);
  on(["about"], examples);
};
