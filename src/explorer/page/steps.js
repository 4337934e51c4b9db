// What was done, step by step: gone back to, and saved as a script. A step is what the page then showed, and the
// questions whose answers it showed.
import { ask, complaint, isExported } from "./ask.js";
import { at, KEPT, nameOf, on, set, state } from "./state.js";
import { show } from "./tabs.js";
import { visible } from "./words.js";

// Typing, and dragging a slider, is one step until it rests so long.
const REST = 1500;
const PLACE = "explorer";
let steps = [];
let here = -1;
let saved = null;

const kept = () => JSON.stringify(Object.fromEntries(KEPT.map((part) => [part, state[part]])));

const quoted = (text) => `“${text.length > 40 ? `…${visible(text.slice(-40).toWellFormed())}` : visible(text)}”`;

const done = ({ dictionary, feature, action, value }) => {
  const name = nameOf(dictionary, feature);
  return { scale: `${name} scaled by ${digits(value, 3)}`, clamp: `${name} clamped to ${digits(value, 3)}`, ablate: `${name} ablated` }[action];
};

const LABELS = {
  read: ({ text, without_first }) => `Text ${quoted(text)}${without_first ? ", without position 0" : ""}`,
  card: ({ dictionary, feature }) => `Card of ${nameOf(dictionary, feature)}`,
  continue: ({ changes }) => changes.map(done).join(", "),
  lenses: ({ text }) => `Lenses on ${quoted(text)}`,
  head: ({ layer, head }) => `Card of head ${layer}.${head}`,
  tree: ({ dictionary, feature }) => `Tree of ${nameOf(dictionary, feature)}`,
  compare: ({ texts: [, other] }) => `Compared with ${quoted(other)}`,
};

const subject = (name, question) => (name === "continue" ? JSON.stringify(question.changes.map(({ feature, action }) => [feature, action])) : "");

// Whether a reading is of a text that is read already: the feature that colours its tokens is no step.
const isRead = ({ text, dictionary, without_first }) => {
  const last = steps.slice(0, here + 1).findLast(({ asks }) => asks.has("read"))?.asks.get("read");
  return last !== undefined && last.text === text && last.dictionary === dictionary && last.without_first === without_first;
};

// Notes a question whose answer is shown.
export const step = (name, question) => {
  const [now, current] = [kept(), steps[here]];
  if (current?.kept === now) {
    current.asks.set(name, question);
    return;
  }
  if (name === "read" && isRead(question)) return;
  const time = performance.now();
  const goesOn = current && here === steps.length - 1 && current.name === name && name !== "card" && name !== "tree"
    && time - current.time < REST && subject(name, question) === subject(name, current.asks.get(name));
  if (goesOn) {
    Object.assign(current, { kept: now, label: LABELS[name](question), time });
    current.asks.set(name, question);
  } else {
    steps = [...steps.slice(0, here + 1), { name, label: LABELS[name](question), kept: now, time, asks: new Map([[name, question]]) }];
    here = steps.length - 1;
  }
  keep();
  draw();
};

const VIEWS = { card: "card", continue: "change", tree: "tree", compare: "compare", lenses: "lenses" };

// Goes to a step; what came after it stays, until something else is done.
const go = (place) => {
  if (!steps[place]) return;
  here = place;
  const wasIn = panel().contains(document.activeElement);
  set(JSON.parse(steps[place].kept));
  if (state.tab !== "steps" && VIEWS[steps[place].name]) show(VIEWS[steps[place].name]);
  draw();
  if (wasIn) panel().querySelector("[aria-current]").focus();
};

export const back = () => go(here - 1);
export const forth = () => go(here + 1);

// What is typed outlives that the page is loaded anew. An exported page is anybody's, and keeps nothing.
const keep = () => {
  if (isExported) return;
  try {
    sessionStorage.setItem(PLACE, kept());
  } catch { /* no room, or not allowed */ }
};

export const remembered = () => {
  if (isExported) return null;
  try {
    return JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return null;
  }
};

export const save = async () => {
  show("steps");
  const asked = steps.slice(0, here + 1).flatMap(({ asks }) => [...asks].map(([ask, question]) => ({ ask, ...question })));
  try {
    const answer = await ask("save", { steps: asked });
    if (answer === null) return;
    saved = script(answer);
  } catch (error) {
    saved = complaint(error);
  }
  draw();
  panel().querySelector("#saved")?.focus();
};

// Where the script is; that of an exported page is where the reader saves it.
const place = (path, script) => {
  if (!isExported) return ["The script is at ", make("code", {}, path), ", and runs with ", make("code", {}, `microtome run ${path}`), "."];
  const name = path.split("/").at(-1);
  const link = make("a", { href: URL.createObjectURL(new Blob([script], { type: "text/plain" })), download: name }, name);
  return ["Save the script as ", link, ". It runs with ", make("code", {}, `microtome run ${name}`), " where the model and the dictionaries are that it names."];
};

const script = ({ path, script }) => {
  const copy = async (event) => {
    const button = event.target;
    try {
      await navigator.clipboard.writeText(script);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(panel().querySelector("#saved pre"));
      button.textContent = "Selected: copy it with Ctrl+C";
    }
  };
  return make("section", { id: "saved", tabindex: "-1", "aria-label": "Saved script" }, make("h2", {}, "Saved"),
    make("p", { role: "status" }, ...place(path, script)),
    make("div", { class: "bar" }, make("button", { type: "button", on: { click: copy } }, "Copy the script")), make("pre", {}, script));
};

const panel = () => at("panel-steps");

const draw = () => {
  at("undo").disabled = here <= 0;
  at("redo").disabled = here >= steps.length - 1;
  const line = ({ label }, place) => make("li", {}, make("button", {
    type: "button", class: place > here ? "undone" : null, "aria-current": place === here ? "step" : null, on: { click: () => go(place) },
  }, make("bdi", {}, label)));
  const none = steps.length === 0 ? make("p", { class: "hint" }, "Nothing was done yet.") : null;
  panel().replaceChildren(...[none, make("ol", { class: "steps", "aria-label": "Steps" }, ...steps.map(line)),
    make("div", { class: "bar" }, make("button", { type: "button", disabled: steps.length === 0, on: { click: save } }, "Save as script")), saved].filter((part) => part !== null));
};

export const start = () => {
  at("undo").addEventListener("click", back);
  at("redo").addEventListener("click", forth);
  at("save").addEventListener("click", save);
  addEventListener("pagehide", keep);
  on(["about"], draw);
};
