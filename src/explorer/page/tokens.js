// The tokens of the text, on grounds that say how strong a feature is on each; pointing at one lists its features.
import { open } from "./cards.js";
import { at, nameOf, on, saidOf, set, state } from "./state.js";
import { bar, shown, token } from "./words.js";

let drawn = [];       // of each token that is seen its element and what was set on it
let chosen = 0;       // the token that the keyboard is on
let pointed = null;

// The code that colours each token: of the feature that is open, or of the strongest of each.
const codes = () => {
  const { reading, strongest } = state;
  const { chosen: feature } = reading.of;
  if (strongest || feature === undefined) return reading.features.map((list) => list[0]?.[1] ?? 0);
  return reading.codes ?? reading.features.map((list) => list.find(([one]) => one === feature)?.[1] ?? 0);
};

const made = (text) => {
  const element = make("span", { class: "token", role: "option", tabindex: "-1", "aria-selected": "false" }, shown(text));
  if (/^<0x[0-9A-F]{2}>$/.test(text)) element.classList.add("half");
  return { element, text, label: "", share: "" };
};

// Elements of tokens that stay are kept: those before and after what was typed.
const fit = (texts) => {
  let [before, after] = [0, 0];
  const least = Math.min(texts.length, drawn.length);
  while (before < least && drawn[before].text === texts[before]) before++;
  while (after < least - before && drawn[drawn.length - 1 - after].text === texts[texts.length - 1 - after]) after++;
  const middle = texts.slice(before, texts.length - after).map(made);
  const next = drawn[drawn.length - after]?.element ?? null;
  drawn.splice(before, drawn.length - after - before, ...middle).forEach(({ element }) => element.remove());
  middle.forEach(({ element }) => at("tokens").insertBefore(element, next));
};

const draw = () => {
  const { reading } = state;
  if (reading === null) return;
  fit(reading.tokens.map(({ text }) => text));
  // Halves of characters have no direction: that of the text is theirs.
  at("tokens").dir = at("text").matches(":dir(rtl)") ? "rtl" : "ltr";
  const values = codes();
  const most = values.reduce((most, code) => Math.max(most, Math.abs(code)), 0);
  drawn.forEach((one, place) => {
    const share = most === 0 ? "0" : (values[place] / most).toFixed(2);
    if (share !== one.share) {
      one.share = share;
      one.element.style.setProperty("--share", Math.abs(share));
      one.element.classList.toggle("below", share < 0);
    }
    const label = said(place, values[place]);
    if (label !== one.label) one.element.setAttribute("aria-label", one.label = label);
  });
  at("most").textContent = digits(most, 3);
  choose(Math.min(chosen, Math.max(0, drawn.length - 1)), false);
  colour();
  list(pointed ?? chosen);
};

const said = (place, code) => {
  const [text, first] = [token(state.reading.tokens[place].text), state.reading.features[place][0]];
  if (!first) return `${text}, no feature`;
  return state.strongest ? `${text}, feature ${first[0]} at ${digits(first[1], 3)}` : `${text}, ${digits(code, 3)}`;
};

const colour = () => {
  const { dictionary, opened, strongest } = state;
  const way = (text, chosen, act) => make("button", { type: "button", "aria-pressed": String(chosen), on: { click: act } }, text);
  const ways = [way("strongest of each", strongest || opened === null, () => set({ strongest: true }))];
  if (opened !== null) ways.push(way(nameOf(dictionary, opened), !strongest, () => set({ strongest: false })));
  at("coloured").replaceChildren("Colour ", ...ways);
};

const choose = (place, focus) => {
  if (drawn[chosen]) {
    drawn[chosen].element.tabIndex = -1;
    drawn[chosen].element.setAttribute("aria-selected", "false");
  }
  chosen = place;
  if (!drawn[place]) return;
  drawn[place].element.tabIndex = 0;
  drawn[place].element.setAttribute("aria-selected", "true");
  if (focus) drawn[place].element.focus();
};

export const focus = () => choose(chosen, true);

// The features of a token.
const list = (place) => {
  const { reading, dictionary } = state;
  const one = reading.tokens[place];
  if (!one) return at("token").replaceChildren(make("p", { class: "muted" }, "The tokens of a text and their features stand here."));
  const features = reading.features[place];
  const most = Math.abs(features[0]?.[1] ?? 0);
  const row = ([feature, code]) => make("li", {}, make("a", { href: `#${dictionary}/${feature}` },
    make("b", {}, String(feature)), make("bdi", { class: "words" }, saidOf(dictionary, feature)?.[0] ?? ""),
    bar(most === 0 ? 0 : Math.abs(code) / most, "hot"), make("span", { class: "number" }, digits(code, 3))));
  const loss = reading.loss[place];
  const facts = ` token ${place + 1} of ${reading.tokens.length}${typeof loss === "number" ? `, loss ${digits(loss, 3)}` : ""}`;
  const none = features.length === 0 ? make("p", { class: "muted" }, "No feature is active.") : null;
  at("token").replaceChildren(...[make("p", {}, make("bdi", { class: "piece" }, token(one.text)), make("small", {}, facts)), none,
    make("ol", { "aria-label": "Its features" }, ...features.map(row))].filter((part) => part !== null));
};

const placeOf = (element) => drawn.findIndex((one) => one.element === element);

const keys = (event) => {
  const turned = getComputedStyle(at("tokens")).direction === "rtl" ? -1 : 1;
  const by = { ArrowRight: turned, ArrowLeft: -turned, ArrowDown: 1, ArrowUp: -1, Home: -chosen, End: drawn.length - 1 - chosen }[event.key];
  if (by !== undefined) {
    event.preventDefault();
    choose(Math.max(0, Math.min(drawn.length - 1, chosen + by)), true);
  } else if (event.key === "Enter") {
    const first = state.reading.features[chosen]?.[0];
    if (first) open(state.dictionary, first[0]);
  }
};

export const start = () => {
  const strip = at("tokens");
  on(["reading", "strongest"], draw);
  const under = (event) => placeOf(event.target.closest(".token"));
  strip.addEventListener("pointerover", (event) => {
    const place = under(event);
    if (place < 0 || event.pointerType === "touch") return;
    pointed = place;
    list(place);
  });
  strip.addEventListener("pointerleave", () => { pointed = null; if (drawn.length > 0) list(chosen); });
  strip.addEventListener("click", (event) => { if (under(event) >= 0) choose(under(event), true); });
  strip.addEventListener("focusin", (event) => {
    choose(under(event), false);
    pointed = null;
    list(chosen);
  });
  strip.addEventListener("keydown", keys);
};
