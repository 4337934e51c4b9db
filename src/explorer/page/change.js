// Changes of features, and what they do to the next token and to the text that follows.
import { ask, complaint, stop } from "./ask.js";
import { bars } from "./bars.js";
import { at, dictionaryOf, nameOf, on, saidOf, set, state } from "./state.js";
import { step } from "./steps.js";
import { show } from "./tabs.js";
import { visibleLines } from "./words.js";

const ACTIONS = {
  ablate: { name: "ablate", begin: () => 0, ends: () => [0, 0] },
  scale: { name: "scale by", begin: () => 2, ends: () => [-4, 8] },
  clamp: { name: "clamp to", begin: (most) => most, ends: (most) => [0, 4 * most] },
};
let asked = null;

// The largest code of a feature in the text, in which a clamp is thought of.
const largest = (dictionary, feature) => {
  const { reading } = state;
  const line = reading?.of.dictionary === dictionary ? reading.active.find(([one]) => one === feature) : null;
  return line && line[1] > 0 ? +line[1].toPrecision(3) : 1;
};

// Adds a change, or changes what is done with its feature.
export const add = (dictionary, feature, action) => {
  const most = largest(dictionary, feature);
  const change = { dictionary, feature, action, value: ACTIONS[action].begin(most), most, isOn: true };
  const others = state.changes.filter((one) => keyOf(one) !== keyOf(change));
  set({ changes: [...others, change] });
  show("change");
};

const keyOf = ({ dictionary, feature }) => `${dictionary}/${feature}`;

const alter = (key, parts) => set({ changes: state.changes.map((one) => (keyOf(one) === key ? { ...one, ...parts } : one)) });

const row = (change) => {
  const key = keyOf(change);
  const { dictionary, feature, action, value, most } = change;
  const name = nameOf(dictionary, feature);
  const [low, high] = ACTIONS[action].ends(most);
  const option = ([key, { name }]) => make("option", { value: key, selected: key === action }, name);
  const choose = (event) => alter(key, { action: event.target.value, value: ACTIONS[event.target.value].begin(most) });
  const number = (event) => {
    const value = event.target.valueAsNumber;
    if (Number.isFinite(value)) alter(key, { value });
  };
  const inputs = action === "ablate" ? [] : [
    make("input", { type: "range", min: low, max: high, step: "any", "aria-label": `${name}: ${ACTIONS[action].name}`, on: { input: number } }),
    make("input", { type: "number", step: "any", "aria-label": `${name}: ${ACTIONS[action].name}, as a number`, on: { input: number } }),
  ];
  inputs.forEach((input) => { input.value = value; });
  const isOn = make("input", { type: "checkbox", "aria-label": `Change ${name}`, on: { change: (event) => alter(key, { isOn: event.target.checked }) } });
  isOn.checked = change.isOn;
  const remove = () => {
    set({ changes: state.changes.filter((one) => keyOf(one) !== key) });
    (at("changes").querySelector("a") ?? at("added")).focus();
  };
  return make("li", { "data-key": `${key} ${action}` }, isOn,
    make("span", { class: "name" }, make("a", { href: `#${key}` }, name), " ", make("bdi", {}, saidOf(dictionary, feature)?.[0] ?? "")),
    make("select", { "aria-label": `What is done with ${name}`, on: { change: choose } }, ...Object.entries(ACTIONS).map(option)), ...inputs,
    make("button", { type: "button", "aria-label": `Remove the change of ${name}`, on: { click: remove } }, "✕"));
};

// Lines are made anew only where their feature or their action is another one, so that a slider can be dragged.
const list = () => {
  const lines = [...at("changes").children];
  const same = lines.length === state.changes.length
    && state.changes.every((change, place) => lines[place].dataset.key === `${keyOf(change)} ${change.action}`);
  if (!same) return at("changes").replaceChildren(...state.changes.map(row));
  state.changes.forEach(({ value, isOn }, place) => {
    const [check, ...numbers] = lines[place].querySelectorAll("input");
    check.checked = isOn;
    for (const input of numbers) if (input !== document.activeElement && input.valueAsNumber !== value) input.value = value;
  });
};

const settings = () => {
  const input = (key, name, attributes) => {
    const made = make("input", { type: "number", required: true, ...attributes, on: {
      input: () => { if (made.checkValidity()) set({ settings: { ...state.settings, [key]: made.valueAsNumber } }); },
    } });
    made.value = state.settings[key];
    return make("label", {}, `${name} `, made);
  };
  return make("p", { class: "settings" }, input("tokens", "Tokens", { min: 1, max: 200, step: 1 }),
    input("temperature", "Temperature", { min: 0, max: 10, step: "any" }), input("seed", "Seed", { min: 0, max: 2 ** 31, step: 1 }));
};

// The two texts that follow, which grow while they are made.
const texts = () => {
  const tail = visibleLines(state.text.toWellFormed().slice(-160));
  const one = (name, kind) => {
    const more = make("b", {});
    const text = make("p", { dir: "auto" }, make("span", { class: "muted" }, tail), more);
    return [make("section", { class: `continued ${kind}`, "aria-label": name }, make("h3", {}, name), text), more];
  };
  const [[first, before], [second, after]] = [one("As it is", "before"), one("Changed", "after")];
  at("continued").querySelector(".two").replaceChildren(first, second);
  return { before, after };
};

const question = () => {
  const { text, settings } = state;
  const changes = state.changes.filter(({ isOn }) => isOn).map(({ dictionary, feature, action, value }) => ({ dictionary, feature, action, value }));
  return { text: text.toWellFormed(), changes, ...settings };
};

const go = async () => {
  const wanted = question();
  if (state.tab !== "change" || state.reading === null || state.reading.of.text !== wanted.text) return;
  at("continued").hidden = wanted.changes.length === 0;
  if (wanted.changes.length === 0) {
    stop("continue");
    asked = null;
    return at("next").replaceChildren(bars(state.reading.next));
  }
  const key = JSON.stringify(wanted);
  if (key === asked) return;
  asked = key;
  let places = null;
  const receive = (line) => {
    if (line.next) {
      at("next").replaceChildren(bars(line.next, line.kl ?? null));
      places = texts();
    }
    for (const side of ["before", "after"]) if (line[side] && places) places[side].append(visibleLines(line[side]));
  };
  try {
    at("continued").setAttribute("aria-busy", "true");
    const answer = await ask("continue", wanted, receive);
    if (answer !== null) {
      at("continued").setAttribute("aria-busy", "false");
      step("continue", wanted);
    } else if (asked === key) asked = null;
  } catch (error) {
    at("next").replaceChildren(complaint(error));
    at("continued").hidden = true;
    asked = null;
  }
};

const added = (event) => {
  event.preventDefault();
  const [feature, { features }] = [Number(at("added").value), dictionaryOf(state.dictionary)];
  at("added").setCustomValidity(feature < features ? "" : `The dictionary has the features 0 to ${features - 1}`);
  if (!at("add").reportValidity()) return;
  add(state.dictionary, feature, "ablate");
};

// The view begins with the open feature ablated.
const begin = () => {
  if (state.tab === "change" && state.changes.length === 0 && state.opened !== null) add(state.dictionary, state.opened, "ablate");
};

const offer = () => {
  at("added").value = state.opened ?? "";
  at("added").setCustomValidity("");
};

export const start = () => {
  at("continued").replaceChildren(make("h2", {}, "What follows"), settings(), make("div", { class: "two" }));
  at("add").noValidate = true;
  at("add").addEventListener("submit", added);
  at("added").addEventListener("input", () => at("added").setCustomValidity(""));
  on(["opened"], offer);
  on(["tab"], begin);
  on(["changes"], list);
  on(["changes", "settings", "tab", "reading"], go);
};
