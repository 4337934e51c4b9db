// The keyboard: single keys where nothing is typed, and a sheet that says which.
import { acts } from "./cards.js";
import { focus as toList, leaf } from "./list.js";
import { at, set, state, withoutFirst } from "./state.js";
import { back, forth, save } from "./steps.js";
import { show } from "./tabs.js";
import { focus as toTokens } from "./tokens.js";

const text = () => { show("text"); at("text").focus(); };
const query = () => { show("text"); at("query").focus(); at("query").select(); };
const view = (name) => () => { show(name); at(`panel-${name}`).focus(); };
// Of the feature that is open: ablate, scale, clamp, grow.
const act = (place) => () => { if (state.opened !== null) acts(state.dictionary, state.opened)[place].click(); };
const help = () => at("keys").showModal();

const KEYS = [
  ["e", "edit the text", text],
  ["t", "tokens; ← → from one to the next, Enter opens the strongest feature", () => { show("text"); toTokens(); }],
  ["/", "filter the active features", query],
  ["l", "their list; ↑ ↓ from one to the next, Enter opens", () => { show("text"); toList(); }],
  ["j", "card of the next feature in the list", () => leaf(1)],
  ["k", "card of the one before", () => leaf(-1)],
  ["a", "ablate the open feature", act(0)],
  ["s", "scale it", act(1)],
  ["c", "clamp it", act(2)],
  ["g", "grow its tree", act(3)],
  ["f", "colour by the open feature, or by the strongest of each token", () => set({ strongest: !state.strongest })],
  ["0", "leave out position 0, or count it", () => set({ without: !withoutFirst() })],
  ["1", "card", view("card")],
  ["2", "changes", view("change")],
  ["3", "tree", view("tree")],
  ["4", "comparison with another text", () => { show("compare"); at("other").focus(); }],
  ["5", "attention heads", view("attention")],
  ["6", "lenses", view("lenses")],
  ["7", "steps", view("steps")],
  ["u", "undo a step", back],
  ["r", "redo it", forth],
  ["w", "write all steps as a script", save],
  ["?", "these keys", help],
];

const isTyped = (element) => element.closest?.("textarea, select, input:not([type=checkbox]):not([type=range])");

const pressed = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || at("keys").open) return;
  if (event.key === "Escape") {
    if (isTyped(event.target)) toTokens();
    return;
  }
  if (isTyped(event.target)) return;
  const found = KEYS.find(([key]) => key === event.key);
  if (!found) return;
  event.preventDefault();
  found[2]();
};

export const start = () => {
  const line = ([key, what]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, what)];
  const close = make("button", { type: "button", on: { click: () => at("keys").close() } }, "Close");
  at("keys").replaceChildren(make("h2", {}, "Keys"), make("dl", {}, ...KEYS.flatMap(line),
    make("dt", {}, make("kbd", {}, "Esc")), make("dd", {}, "from a field to the tokens")), close);
  at("help").addEventListener("click", help);
  document.addEventListener("keydown", pressed);
};
