// The tokens of the text, on grounds that say how strong a feature is on each, and the features of one of them: of that
// which is pointed at, else of that where the cursor of the text or the keyboard is, or where the feature that was opened
// is largest, whichever came last.
import { open } from "./cards.js";
import { at, nameOf, on, saidOf, set, state, withoutFirst } from "./state.js";
import { TOP } from "./text.js";
import { bar, shown, token } from "./words.js";

let drawn = [];       // of each token that is seen its element and what was set on it
let text = null;      // the text that they are of
let chosen = 0;       // the token whose features are listed
let pointed = null;   // the one that is pointed at
let taken = null;     // the feature that was opened from the list of a token, which then stays
let sought = null;    // the one that was opened elsewhere, until the text is read by its dictionary

// The code that colours each token: of the feature that is open, or of the strongest of each.
const codes = () => {
  const { reading, strongest } = state;
  const { chosen: feature } = reading.of;
  const isOwn = !strongest && feature !== undefined && reading.codes;
  const all = isOwn ? reading.codes : reading.features.map((list) => list[0]?.[1] ?? 0);
  return all.map((code, place) => (isOut(place) ? 0 : code));
};

const isOut = (place) => place === 0 && state.reading.of.without_first;

// Whether the reading is of the text as it now is.
const isRead = () => state.reading !== null && state.reading.of.text === state.text.toWellFormed();

// The token that the cursor of the text is in, or behind.
const atCursor = () => {
  const cursor = at("text").selectionEnd;
  return Math.max(0, state.reading.tokens.findLastIndex(({ start }) => start < cursor));
};

const isOnTokens = () => at("tokens").contains(document.activeElement);

// Lists the features of a token from now on.
const turn = (place) => {
  pointed = null;
  choose(Math.min(place, Math.max(0, drawn.length - 1)), isOnTokens());
  reveal();
  list(chosen);
};

// Scrolls the tokens, and nothing else, as little as shows the chosen one.
const reveal = () => {
  const [box] = drawn[chosen]?.element.getClientRects() ?? [];
  if (!box) return;
  const frame = at("tokens").getBoundingClientRect();
  if (box.top < frame.top) at("tokens").scrollTop -= frame.top - box.top;
  else if (box.bottom > frame.bottom) at("tokens").scrollTop += box.bottom - frame.bottom;
};

// Where the feature that was opened is largest, once that is known.
const seek = () => {
  if (sought === null || !isRead() || state.reading.of.dictionary !== state.dictionary) return;
  const line = state.reading.active.find(([feature]) => feature === sought);
  sought = null;
  if (line) turn(line[4]);
};

const opens = () => {
  sought = state.opened === taken ? null : state.opened;
  taken = null;
  seek();
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
  at("without").checked = withoutFirst();
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
    one.element.classList.toggle("out", isOut(place));
    const label = said(place, values[place]);
    if (label !== one.label) one.element.setAttribute("aria-label", one.label = label);
  });
  at("most").textContent = digits(most, 3);
  colour();
  // Who has gone on to the tokens stays where they are.
  if (text !== reading.of.text && !isOnTokens()) {
    turn(atCursor());
  } else {
    choose(Math.min(chosen, Math.max(0, drawn.length - 1)), false);
    list(pointed ?? chosen);
  }
  text = reading.of.text;
  seek();
};

const said = (place, code) => {
  const [text, first] = [token(state.reading.tokens[place].text), state.reading.features[place][0]];
  if (isOut(place)) return `${text}, left out`;
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
  const features = withOpened(reading.features[place], place);
  const most = Math.abs(features[0]?.[1] ?? 0);
  const isOpen = (feature) => (feature === state.opened ? "true" : null);
  const row = ([feature, code]) => make("li", {}, make("a", { href: `#${dictionary}/${feature}`, "aria-current": isOpen(feature) },
    make("b", {}, String(feature)), make("bdi", { class: "words" }, saidOf(dictionary, feature)?.[0] ?? ""),
    bar(most === 0 ? 0 : Math.abs(code) / most, "hot"), make("span", { class: "number" }, digits(code, 3))));
  const loss = reading.loss[place];
  const facts = ` token ${place + 1} of ${reading.tokens.length}${typeof loss === "number" ? `, loss ${digits(loss, 3)}` : ""}${isOut(place) ? ", left out" : ""}`;
  const none = features.length === 0 ? make("p", { class: "muted" }, "No feature is active.") : null;
  at("token").replaceChildren(...[make("p", {}, make("bdi", { class: "piece" }, token(one.text)), make("small", {}, facts)), none,
    make("ol", { "aria-label": "Its features" }, ...features.map(row))].filter((part) => part !== null));
};

// The open feature has a line wherever it is active, however many are stronger there.
const withOpened = (features, place) => {
  const { of: { chosen: opened }, codes } = state.reading;
  const code = codes?.[place] ?? 0;
  if (code === 0 || features.some(([feature]) => feature === opened)) return features;
  return [...features.slice(0, TOP - 1), [opened, code]];
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
    if (first) openOwn(first[0]);
  }
};

const openOwn = (feature) => {
  taken = feature;
  open(state.dictionary, feature);
};

export const start = () => {
  const strip = at("tokens");
  on(["reading", "strongest"], draw);
  on(["opened", "dictionary"], opens);
  at("without").addEventListener("change", () => set({ without: at("without").checked }));
  // By keys and by clicks; while one types, the answer comes later.
  const follow = () => { if (document.activeElement === at("text") && isRead()) turn(atCursor()); };
  document.addEventListener("selectionchange", follow);
  at("text").addEventListener("focus", follow);
  at("token").addEventListener("click", (event) => {
    const address = event.target.closest("a")?.getAttribute("href");
    if (address) taken = Number(address.split("/")[1]);
  });
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
