// The explorer's page: a text and its features on one side, what is looked at on the other. Each module draws its part
// when the state changes. `make`, `digits` and `cardOf` come from the dashboards' card.js, `headMap` from their head_map.js,
// and `openLenses` from lens_maps.js, which is that of reports.
import { about } from "./ask.js";
import * as cards from "./cards.js";
import * as change from "./change.js";
import * as compare from "./compare.js";
import * as heads from "./heads.js";
import * as keys from "./keys.js";
import * as lenses from "./lenses.js";
import * as list from "./list.js";
import { at, on, set, state } from "./state.js";
import * as steps from "./steps.js";
import * as tabs from "./tabs.js";
import * as text from "./text.js";
import * as tokens from "./tokens.js";
import * as tree from "./tree.js";
import { visible } from "./words.js";

const TROUBLE = {
  here: "",
  slow: "The explorer takes its time to answer. What was typed is kept.",
  gone: "The explorer does not answer: its process has ended or is stopped. What was typed is kept, and the page goes on when it is back.",
  other: "Another process answers at this address. The explorer that runs now has printed a new address.",
  begins: "The engine and the model of this page are being unpacked.",
  broken: "The explorer of this page cannot begin.",
};

const server = () => {
  at("trouble").textContent = `${TROUBLE[state.server]} ${state.why}`.trim();
  at("trouble").hidden = state.server === "here";
};

const dictionaries = () => {
  const { about: { model, dictionaries }, dictionary } = state;
  at("model").textContent = visible(model);
  document.title = `Explorer: ${visible(model)}`;
  const option = ({ name, kind, features }, place) => make("option", { value: place }, `${visible(name)} (${kind}, ${digits(features)} features)`);
  at("dictionary").replaceChildren(...dictionaries.map(option));
  at("dictionary").value = dictionary;
};

// What is remembered, as far as it fits the dictionaries that are here now.
const before = ({ dictionaries, examples }) => {
  const left = steps.remembered();
  if (!left) return { text: examples[0] ?? "" };
  const fits = (dictionary, feature) => feature < (dictionaries[dictionary]?.features ?? 0);
  const dictionary = dictionaries[left.dictionary] ? left.dictionary : 0;
  const isOpen = left.opened !== null && fits(dictionary, left.opened);
  return {
    text: left.text, other: left.other, settings: left.settings, dictionary,
    changes: left.changes.filter(({ dictionary, feature }) => fits(dictionary, feature)),
    opened: isOpen ? left.opened : null, strongest: left.strongest || !isOpen, without: left.without ?? null,
    grown: left.grown && fits(...left.grown) ? left.grown : null,
  };
};

const near = () => {
  const [count, most] = state.apart;
  at("apart").hidden = false;
  at("apart").dataset.value = most;
  at("apart").textContent = nearness(count, most);
};

on(["server"], server);
on(["apart"], near);
on(["about", "dictionary"], dictionaries);
const known = await about();
[tabs, text, tokens, list, cards, change, tree, compare, heads, lenses, steps, keys].forEach((module) => module.start());
at("dictionary").addEventListener("change", () => set({ dictionary: Number(at("dictionary").value), opened: null, strongest: true }));
set({ server: "here", about: known });
set(before(known));
if (location.hash !== "") cards.route();
if (state.text === "") text.read();
