// The tree of a feature: what it is computed from. The server's drawing is clicked through, and so is a plain list; the
// card of the node that was chosen stands beside the drawing, which stays as it is.
import { ask, complaint, progress, stop } from "./ask.js";
import { acts, contents, questionOf } from "./cards.js";
import { at, nameOf, on, set, state } from "./state.js";
import { step } from "./steps.js";
import { show } from "./tabs.js";
import { bar, visible } from "./words.js";

const DRAWN = new Set(["svg", "g", "a", "path", "rect", "polyline", "polygon", "line", "circle", "ellipse", "text", "tspan", "title", "desc", "defs", "marker"]);
const panel = () => at("panel-tree");
let tree = null;
let asked = "null";       // the feature whose tree was asked for, as JSON

export const grow = (dictionary, feature) => {
  show("tree");
  set({ grown: [dictionary, feature] });
};

// A drawing of shapes and words: nothing that runs, loads or carries a style.
const drawing = (text) => {
  const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (svg.localName !== "svg") return null;
  for (const element of [svg, ...svg.querySelectorAll("*")]) {
    if (!DRAWN.has(element.localName)) element.remove();
    for (const { name, value } of [...element.attributes]) {
      const leads = name.endsWith("href") && !value.startsWith("#");
      if (name === "style" || name.startsWith("on") || leads) element.removeAttribute(name);
    }
  }
  return document.importNode(svg, true);
};

const labelOf = (node) => make("span", {}, visible(node.name), node.label ? make("bdi", { class: "muted" }, ` ${visible(node.label)}`) : null);

// An effect on a node or of one.
const effect = (place, value, most) => make("li", {}, make("button", { type: "button", on: { click: () => choose(place, true) } },
  labelOf(tree.nodes[place])), bar(Math.abs(value) / most, value < 0 ? "" : "hot"), make("span", { class: "number" }, digits(value, 3)));

// What a node is computed from, and what from it.
const choose = (place, focus) => {
  const node = tree.nodes[place];
  if (!node) return;
  const most = tree.edges.reduce((most, [, , value]) => Math.max(most, Math.abs(value)), 0) || 1;
  const side = (name, edges) => make("section", {}, make("h3", {}, name),
    edges.length === 0 ? make("p", { class: "muted" }, "nothing in this tree") : make("ul", { class: "effects" }, ...edges));
  const strongest = (a, b) => Math.abs(b[2]) - Math.abs(a[2]);
  const [into, out] = [tree.edges.filter(([, to]) => to === place).sort(strongest), tree.edges.filter(([from]) => from === place).sort(strongest)];
  const isFeature = Number.isInteger(node.feature) && Number.isInteger(node.dictionary);
  const card = isFeature ? make("a", { class: "button", href: `#${node.dictionary}/${node.feature}` }, "Card") : null;
  const title = make("h2", { tabindex: "-1" }, labelOf(node));
  const own = make("div", {});
  panel().querySelector("#node").replaceChildren(title,
    make("div", { class: "bar" }, ...(isFeature ? [card, ...acts(node.dictionary, node.feature)] : [])),
    make("div", { class: "two" }, side("From", into.map(([from, , value]) => effect(from, value, most))),
      side("To", out.map(([, to, value]) => effect(to, value, most)))), own);
  panel().querySelector("#node").scrollTop = 0;
  mark(place, [...into, ...out]);
  if (focus) title.focus({ preventScroll: true });
  stop("node");
  if (isFeature) fill(own, node);
};

// The card of a node, below its edges.
const fill = async (own, { dictionary, feature }) => {
  try {
    const tell = (line) => { if (line.progress) own.replaceChildren(progress(line.progress)); };
    const parts = await contents(questionOf(dictionary, feature), tell, "node");
    // Its title is that of the node.
    if (parts !== null) own.replaceChildren(...parts.slice(1));
  } catch (error) {
    own.replaceChildren(complaint(error));
  }
};

// In the drawing: the node, and what it is connected with. Its boxes are numbered, and each has a link over it.
const mark = (place, edges) => {
  const links = [...panel().querySelectorAll("svg a")];
  const boxOf = (node) => links.find((link) => placeOf(link) === node)?.dataset.of;
  const [here, near] = [boxOf(place), new Set(edges.flatMap(([from, to]) => [boxOf(from), boxOf(to)]))];
  near.add(here);
  for (const part of panel().querySelectorAll("svg .edge, svg .node")) {
    const of = (part.dataset.of ?? "").split(" ");
    part.classList.toggle("near", part.classList.contains("edge") ? of.includes(here) : of.some((one) => near.has(one)));
  }
  for (const link of links) link.classList.toggle("here", link.dataset.of === here);
};

// The node that a link of the drawing is of, by its address.
const placeOf = (link) => tree.nodes.findIndex(({ dictionary, feature }) => link.getAttribute("href") === `#${dictionary}/${feature}`);

const clicked = (event) => {
  const link = event.target.closest("a");
  const place = link ? placeOf(link) : -1;
  if (place < 0) return;
  event.preventDefault();
  event.stopPropagation();
  choose(place, event.detail === 0);
};

const draw = () => {
  const svg = tree.svg ? drawing(tree.svg) : null;
  const whole = make("label", { class: "check" }, make("input", { type: "checkbox", class: "whole" }), " in its own size");
  const figure = svg && make("figure", { class: "circuit" }, whole, make("div", { class: "sheet", on: { click: clicked } }, svg));
  const nodes = tree.nodes.map((node, place) => make("li", {}, make("button", { type: "button", on: { click: () => choose(place, true) } }, labelOf(node))));
  const list = make("details", {}, make("summary", {}, "All nodes ", make("small", {}, `${nodes.length}`)), make("ol", { class: "nodes" }, ...nodes));
  panel().replaceChildren(...[figure, make("section", { id: "node" }), list].filter((part) => part !== null));
  const [dictionary, feature] = state.grown;
  const root = tree.nodes.findIndex((node) => node.dictionary === dictionary && node.feature === feature);
  choose(root < 0 ? tree.nodes.length - 1 : root, false);
};

const none = () => panel().replaceChildren(make("p", { class: "hint" }, "Grow a tree from a feature: the button stands on its card."));

const read = async () => {
  if (JSON.stringify(state.grown) === asked) return;
  asked = JSON.stringify(state.grown);
  stop("tree");
  if (state.grown === null) return none();
  const [dictionary, feature] = state.grown;
  const tell = (...parts) => panel().replaceChildren(make("h2", {}, `Tree of ${nameOf(dictionary, feature)}`), ...parts);
  tell(make("p", { class: "muted" }, "It is growing…"));
  const question = { dictionary, feature };
  try {
    const answer = await ask("tree", question, (line) => { if (line.progress) tell(progress(line.progress)); });
    if (answer === null) return;
    tree = answer.tree;
    draw();
    step("tree", question);
  } catch (error) {
    asked = "";
    tell(complaint(error));
  }
};

export const start = () => {
  on(["grown"], read);
  none();
};
