// The attention heads of the model: a map, layer by head, coloured by a score, and the card of the head that is chosen.
import { ask, complaint, progress } from "./ask.js";
import { at, on, state } from "./state.js";
import { step } from "./steps.js";

let known = null;       // the scores of all heads, once they are computed
let shown = "induction";
let opened = null;      // the head whose card is open, as [layer, head]

const tell = (...parts) => at("head-card").replaceChildren(...parts);

const nameOf = ([layer, head]) => `head ${layer}.${head}`;

const open = async (layer, head) => {
  opened = [layer, head];
  mark();
  try {
    const answer = await ask("head", { layer, head });
    if (answer === null) return;
    // A head has no line in the list of features.
    tell(...cardOf(answer.card, [null, null, null, null, null, null, null, null, null, null, 1], { circuits: [] }, ""));
    step("head", { layer, head });
  } catch (error) {
    tell(complaint(error));
  }
};

const mark = () => {
  for (const button of at("head-map").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.head === String(opened)));
  }
};

const draw = () => {
  const place = known.scores.findIndex(([name]) => name === shown);
  const most = Math.max(...known.rows.map(([, , scores]) => Math.abs(scores[place])), 0) || 1;
  const rows = Array.from({ length: known.layers }, (_, layer) => known.rows.filter(([own]) => own === layer));
  const cell = ([layer, head, scores]) => {
    const share = scores[place] / most;
    const ground = `rgba(var(--${share < 0 ? "cold" : "hot"}), ${(0.62 * Math.abs(share)).toFixed(3)})`;
    const name = `${nameOf([layer, head])}: ${shown} ${digits(scores[place])}`;
    return make("td", {}, make("button", { type: "button", "data-head": `${layer},${head}`, "aria-label": name, title: name,
      style: { background: ground }, on: { click: () => open(layer, head) } }, scores[place].toFixed(2).replace("-0.00", "0.00")));
  };
  const line = (heads, layer) => make("tr", {}, make("th", { scope: "row" }, String(layer)), ...heads.map(cell));
  const columns = Array.from({ length: known.heads }, (_, head) => make("th", { scope: "col" }, String(head)));
  const option = ([name, quantity]) => make("option", { value: name }, `${name}: ${quantity}`);
  const select = make("select", { "aria-label": "Score of heads", on: { change: () => { shown = select.value; draw(); } } }, ...known.scores.map(option));
  select.value = shown;
  at("head-map").replaceChildren(select, make("div", { class: "wide" }, make("table", { class: "map" },
    make("thead", {}, make("tr", {}, make("th", {}, "layer"), ...columns)), make("tbody", {}, ...rows.map(line)))));
  mark();
};

const go = async () => {
  if (state.tab !== "attention" || known !== null) return;
  try {
    const answer = await ask("heads", {}, (line) => { if (line.progress) tell(progress(line.progress)); });
    if (answer === null) return;
    known = answer;
    draw();
    tell(make("p", { class: "hint" }, "Choose a head."));
  } catch (error) {
    tell(complaint(error));
  }
};

export const start = () => on(["tab"], go);
