// The card of the feature that is open, which is the one in the address.
import { ask, complaint, progress, stop } from "./ask.js";
import { add } from "./change.js";
import { leaf } from "./list.js";
import { at, dictionaryOf, features, nameOf, on, saidOf, set, state, withoutFirst } from "./state.js";
import { step } from "./steps.js";
import { show } from "./tabs.js";
import { grow } from "./tree.js";

const panel = () => at("panel-card");
let asked = null;     // of the card that is shown

const addressOf = ({ dictionary, opened }) => (opened === null ? location.pathname : `#${dictionary}/${opened}`);

// Opens a card; what was leafed through is not gone back through.
export const open = (dictionary, feature, leafed = false) => {
  history[leafed ? "replaceState" : "pushState"](null, "", addressOf({ dictionary, opened: feature }));
  route();
};

// Follows the address.
export const route = () => {
  const found = /^#(\d{1,9})\/(\d{1,9})$/.exec(location.hash);
  if (!found) return set({ opened: null, strongest: true });
  const [dictionary, feature] = found.slice(1).map(Number);
  const known = dictionaryOf(dictionary);
  show("card");
  if (known && feature < known.features) return set({ dictionary, opened: feature, strongest: false });
  const hint = known ? `${known.name} has the features 0 to ${known.features - 1}.` : "";
  panel().replaceChildren(complaint({ message: `There is no feature ${found[0].slice(1)}.`, hint }));
};

const button = (text, name, act) => make("button", { type: "button", "aria-label": name, on: { click: act } }, text);

// What is done with a feature.
export const acts = (dictionary, feature) => {
  const name = nameOf(dictionary, feature);
  return [
    button("Ablate", `Ablate ${name}`, () => add(dictionary, feature, "ablate")),
    button("Scale", `Scale ${name}`, () => add(dictionary, feature, "scale")),
    button("Clamp", `Clamp ${name}`, () => add(dictionary, feature, "clamp")),
    button("Grow tree", `Grow the tree of ${name}`, () => grow(dictionary, feature)),
  ];
};

const bar = (dictionary, feature) => make("div", { class: "bar" },
  button("↑", "Card of the feature above in the list", () => leaf(-1)), button("↓", "Card of the feature below in the list", () => leaf(1)),
  ...acts(dictionary, feature));

// A line of the dashboards' index, as far as a card's drawing wants it.
const lineOf = (card, dictionary, feature) => {
  const density = card.facts.find(([name]) => name === "density")?.[1] ?? null;
  const [words, score] = card.said?.[0] ? card.said : saidOf(dictionary, feature) ?? [null, null];
  return [dictionary, feature, density, null, null, null, words, score, null, null, 1];
};

export const questionOf = (dictionary, feature) => ({ dictionary, feature, without_first: withoutFirst() });

// All that a card says; null where another question took the place of this one.
export const contents = async (question, receive, slot = "card") => {
  const { dictionary, feature } = question;
  const answer = await ask("card", question, receive, slot);
  return answer === null ? null : cardOf(answer.card, lineOf(answer.card, dictionary, feature), features(), "");
};

const none = () => panel().replaceChildren(make("p", { class: "hint" }, "Choose a feature: of a token, or from the list."));

const draw = async () => {
  const { dictionary, opened } = state;
  if (location.hash !== addressOf(state) && opened !== null) history.replaceState(null, "", addressOf(state));
  if (opened === null) {
    stop("card");
    if (location.hash !== "") history.replaceState(null, "", addressOf(state));
    panel().setAttribute("aria-busy", "false");
    return none();
  }
  const tell = (...parts) => {
    panel().setAttribute("aria-busy", "false");
    panel().replaceChildren(bar(dictionary, opened), ...parts);
  };
  // What stood there stays until there is something else.
  panel().setAttribute("aria-busy", "true");
  const question = questionOf(dictionary, opened);
  asked = question;
  const title = make("h2", {}, nameOf(dictionary, opened));
  try {
    const parts = await contents(question, (line) => { if (line.progress) tell(title, progress(line.progress)); });
    if (parts === null) return;
    tell(...parts);
    panel().scrollTop = 0;
    step("card", question);
  } catch (error) {
    tell(title, complaint(error));
  }
};

export const start = () => {
  on(["dictionary", "opened"], draw);
  on(["without", "sinks"], () => { if (state.opened !== null && asked?.without_first !== withoutFirst()) draw(); });
  addEventListener("hashchange", route);
  // A link to the card that is open already changes no address.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash) route();
  });
  none();
};
