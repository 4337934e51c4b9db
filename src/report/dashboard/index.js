// The index: thousands of lines of which only those in view are drawn; it sorts, filters, searches and opens cards.
const [DICTIONARY, FEATURE, DENSITY, MEAN, LARGEST, TOKENS, WORDS, SCORE, LABEL, LABEL_SCORE, SHOWN] = Array(11).keys();
const at = (id) => document.getElementById(id);
const from = document.documentElement.dataset.from;

// What the scripts beside the page hand over, by kind and name.
const received = window.inside || new Map();
window.microtome = (kind, name, value) => received.set(`${kind} ${name}`, value);

const load = (path, kind, name) => new Promise((found, failed) => {
  const key = `${kind} ${name}`;
  if (received.has(key)) return found(received.get(key));
  const script = make("script", { src: `${from}/${path}` });
  script.onload = () => { script.remove(); received.has(key) ? found(received.get(key)) : failed(new Error(path)); };
  script.onerror = () => { script.remove(); failed(new Error(path)); };
  document.head.append(script);
});

let about = null;
let lines = [];
let texts = [];       // of each line what it is searched by, in small letters
let contexts = [];    // the same of its contexts, once they are loaded
let order = [];       // the lines that are shown, sorted
let opened = null;    // the line whose card is open
let map = null;       // the map of attention heads, where the dashboard has their cards
let sorting = { by: "density", down: true };
const places = new Map();

const siteOf = (line) => about.dictionaries[line[DICTIONARY]].site;
const scoreOf = (line) => (line[SCORE] !== null ? line[SCORE] : line[LABEL_SCORE]);
const SORTS = {
  feature: { name: "Feature", of: (line) => line[DICTIONARY] * 1e9 + line[FEATURE], down: false },
  words: { name: "What it is", of: (line) => (line[WORDS] || line[LABEL] || line[TOKENS] || "\uffff").toLowerCase(), down: false },
  density: { name: "Density", of: (line) => line[DENSITY], down: true, number: true },
  largest: { name: "Largest", of: (line) => line[LARGEST], down: true, number: true },
  score: { name: "Score", of: scoreOf, down: true, number: true },
};

// Lines in the order of a column; those without a value come last in both directions, of equal ones the first first.
const sorted = (chosen) => {
  const { of } = SORTS[sorting.by];
  const keys = new Map(chosen.map((line) => [line, of(lines[line])]));
  const has = (line) => keys.get(line) !== null && keys.get(line) !== "NaN" && keys.get(line) !== undefined;
  const way = sorting.down ? -1 : 1;
  return chosen.sort((a, b) => {
    if (has(a) !== has(b)) return has(a) ? -1 : 1;
    const [x, y] = [keys.get(a), keys.get(b)];
    return x < y ? -way : x > y ? way : a - b;
  });
};

const filtered = () => {
  const words = at("query").value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const [low, high] = [at("low"), at("high")].map((input) => (input.value.trim() === "" ? NaN : Number(input.value)));
  const [dictionary, kind, deep] = [at("dictionary").value, at("kind").value, at("deep").checked];
  const kinds = {
    all: () => true,
    active: (line) => line[DENSITY] > 0,
    silent: (line) => line[DENSITY] === 0,
    dense: (line) => line[DENSITY] > 0.1,
    said: (line) => line[WORDS] !== null || line[LABEL] !== null,
    shown: (line) => line[SHOWN] === 1,
  };
  const has = (place) => (word) => texts[place].includes(word) || (deep && (contexts[place] || "").includes(word));
  const chosen = [];
  for (let place = 0; place < lines.length; place++) {
    const line = lines[place];
    if (dictionary !== "" && line[DICTIONARY] !== Number(dictionary)) continue;
    if (!kinds[kind](line) || line[DENSITY] < low || line[DENSITY] > high) continue;
    if (words.every(has(place))) chosen.push(place);
  }
  return chosen;
};

const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));

const row = (place) => {
  const line = lines[place];
  const several = about.dictionaries.length > 1;
  const name = make("span", { class: "name" }, make("b", {}, String(line[FEATURE])), several ? make("small", {}, ` ${siteOf(line)}`) : null);
  const said = line[WORDS] || line[LABEL];
  const words = make("span", { class: "words" });
  // Words run as their language does; a list of tokens from left to right.
  if (said) words.append(make("bdi", {}, said));
  if (line[DENSITY] === 0) words.append(make("small", {}, "never active"));
  else words.append(make(said ? "small" : "span", { dir: "ltr" }, line[TOKENS]));
  const number = (name, value, count) => make("span", { class: "number", "data-name": name }, digits(value, count));
  const density = number("density", line[DENSITY], 3);
  density.classList.add("density");
  // From a millionth to always, by its logarithm.
  const share = line[DENSITY] > 0 ? Math.max(0.02, 1 + Math.log10(line[DENSITY]) / 6) : 0;
  density.append(make("i", { style: { width: `${100 * share}%` } }));
  const score = scoreOf(line);
  return make("a", { class: `row${place === opened ? " open" : ""}`, href: `#${line[DICTIONARY]}/${line[FEATURE]}` },
    name, words, density, number("largest", line[LARGEST], 3), number(score === null ? "" : "score", score, 2));
};

const draw = () => {
  const [scroll, high] = [at("scroll"), rowHeight()];
  const first = Math.max(0, Math.floor(scroll.scrollTop / high) - 5);
  const count = Math.ceil((scroll.clientHeight || innerHeight) / high) + 10;
  at("space").style.height = `${order.length * high}px`;
  at("rows").style.transform = `translateY(${first * high}px)`;
  const focused = document.activeElement && document.activeElement.closest && document.activeElement.closest("#rows a");
  const address = focused && focused.getAttribute("href");
  at("rows").replaceChildren(...order.slice(first, first + count).map(row));
  if (address) [...at("rows").children].filter((link) => link.getAttribute("href") === address).forEach((link) => link.focus({ preventScroll: true }));
};

const heads = () => {
  const mark = (by) => (sorting.by === by ? (sorting.down ? " ↓" : " ↑") : "");
  const head = ([by, { name, number }]) => make("button", {
    type: "button", class: number ? "number" : null, "data-by": by, "aria-pressed": String(sorting.by === by),
    on: { click: () => sortBy(by) },
  }, name + mark(by));
  at("heads").replaceChildren(...Object.entries(SORTS).map(head));
};

const sortBy = (by) => {
  sorting = { by, down: sorting.by === by ? !sorting.down : SORTS[by].down };
  at("sort").value = `${by} ${sorting.down}`;
  show();
};

// Filters and sorts anew.
const show = () => {
  order = sorted(filtered());
  const missing = at("deep").checked && contexts.waiting ? `, reading contexts (${contexts.waiting} files left)` : "";
  at("status").textContent = (order.length === lines.length ? `${digits(lines.length)} features` : `${digits(order.length)} of ${digits(lines.length)} features`) + missing;
  heads();
  at("scroll").scrollTop = 0;
  draw();
};

// The card of the feature or the head in the address; without one the list alone.
const open = async () => {
  const head = /^#head\/(\d+)\/(\d+)$/.exec(location.hash)?.slice(1).map(Number);
  if (map) map.mark(...(head ?? []));
  if (head) return await openHead(head);
  const found = /^#(\d+)\/(\d+)$/.exec(location.hash);
  const place = found ? places.get(`${found[1]}/${found[2]}`) : undefined;
  opened = place === undefined ? null : place;
  document.body.classList.toggle("reading", Boolean(found));
  draw();
  if (!found) return at("card").replaceChildren(make("p", { class: "hint" }, "Choose a feature. ↓ and ↑ go from one to the next."));
  const name = `${Number(found[1])}/${Number(found[2])}`;
  const line = lines[opened];
  if (!line) return tell(`There is no feature ${name} here.`);
  document.title = `${line[FEATURE]} of ${siteOf(line)}`;
  if (line[SHOWN] !== 1) return tell(`Feature ${line[FEATURE]} of ${siteOf(line)} is active at ${digits(line[DENSITY], 3)} of the tokens; it has no card, since it was not asked for.`);
  try {
    const path = `cards/${line[DICTIONARY]}/${Math.floor(line[FEATURE] / 1000)}/${line[FEATURE]}.js`;
    const card = await load(path, "card", name);
    if (opened !== place) return;
    received.delete(`card ${name}`);
    at("card").replaceChildren(bar(), ...cardOf(card, line, about, from));
    at("card").scrollTop = 0;
  } catch {
    tell(about.made < about.cards ? "Its card is not made yet: the same call goes on where it was interrupted." : "Its file is missing.");
  }
};

const openHead = async ([layer, head]) => {
  const address = location.hash;
  opened = null;
  document.body.classList.add("reading");
  draw();
  if (!about.heads?.rows.some(([own, place]) => own === layer && place === head)) return tell(`There is no head ${layer}.${head} here.`);
  document.title = `head ${layer}.${head}`;
  at("attention").open = true;
  try {
    const name = `${layer}-${head}`;
    const card = await load(`heads/${name}.js`, "head", name);
    if (location.hash !== address) return;
    received.delete(`head ${name}`);
    at("card").replaceChildren(make("div", { class: "bar" }, back()), ...cardOf(card, NO_LINE, about, from));
    at("card").scrollTop = 0;
  } catch {
    tell("Its file is missing.");
  }
};

const tell = (text) => at("card").replaceChildren(bar(), make("p", { class: "hint" }, text));

const button = (id, text, name, act) => make("button", { id, type: "button", "aria-label": name, on: { click: act } }, text);
const back = () => button("back", "← List", "Back to the list", close);

const bar = () => {
  const place = order.indexOf(opened);
  const where = place < 0 ? "" : `${digits(place + 1)} of ${digits(order.length)}`;
  return make("div", { class: "bar" }, back(),
    button("previous", "↑", "Previous feature", () => step(-1)), button("next", "↓", "Next feature", () => step(1)),
    make("span", { class: "muted" }, where));
};

const step = (by) => {
  if (order.length === 0) return;
  const place = order.indexOf(opened);
  const next = place < 0 ? 0 : Math.min(order.length - 1, Math.max(0, place + by));
  const line = lines[order[next]];
  // What was leafed through is not gone back through.
  history.replaceState(null, "", `#${line[DICTIONARY]}/${line[FEATURE]}`);
  reveal(next);
  open();
};

// Scrolls as little as shows a line.
const reveal = (place) => {
  const [scroll, high] = [at("scroll"), rowHeight()];
  const top = place * high;
  if (top < scroll.scrollTop) scroll.scrollTop = top;
  else if (top + high > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + high - scroll.clientHeight;
};

const close = () => {
  history.pushState(null, "", location.href.split("#")[0]);
  const link = () => at("rows").querySelector("a.open");
  const before = opened;
  const head = at("head-map").querySelector("[aria-pressed=true]");
  document.title = about.title;
  open();
  opened = before;
  draw();
  (head ?? link())?.focus({ preventScroll: true });
};

// The texts of contexts, file by file, so that what is found is seen at once.
const readContexts = async () => {
  if (contexts.waiting !== undefined) return show();
  contexts.waiting = about.words.length;
  for (const name of about.words) {
    try {
      for (const [place, text] of await load(`words/${name}.js`, "words", name)) {
        contexts[places.get(`${name.split("/")[0]}/${place}`)] = text.toLowerCase();
      }
    } catch { /* not made yet */ }
    received.delete(`words ${name}`);
    contexts.waiting -= 1;
    if (contexts.waiting % 8 === 0 && at("deep").checked) show();
  }
};

const keys = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select");
  const acts = { ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1), "/": () => at("query").focus(), Escape: close };
  if (event.key === "Escape" && typing) return typing.blur();
  if (event.key === "ArrowDown" && event.target === at("query")) { event.preventDefault(); at("query").blur(); return step(1); }
  if (typing || !acts[event.key]) return;
  event.preventDefault();
  acts[event.key]();
};

const start = async () => {
  about = await load("about.js", "about", "");
  document.title = about.title;
  at("title").textContent = about.title;
  const many = (count, what) => `${digits(count)} ${what}${count === 1 ? "" : "s"}`;
  at("about").textContent = `${many(about.dictionaries.length, "dictionary").replace("dictionarys", "dictionaries")} on ${many(about.positions, "token")} of ${about.text}; ${digits(about.silent)} features never active, ${many(about.cards, "card")}`;
  if (about.made < about.cards) {
    at("unfinished").hidden = false;
    at("unfinished").textContent = `Interrupted: ${digits(about.made)} of ${digits(about.cards)} cards are made. The same call goes on.`;
  }
  at("dictionary").replaceChildren(make("option", { value: "" }, "all dictionaries"),
    ...about.dictionaries.map(({ site, kind, features }, number) => make("option", { value: String(number) }, `${site} (${kind}, ${digits(features)})`)));
  at("dictionary").hidden = about.dictionaries.length < 2;
  if (about.heads) {
    map = headMap(about.heads, (layer, head) => { location.hash = `#head/${layer}/${head}`; });
    at("head-map").replaceChildren(make("p", { class: "muted" }, about.heads.title), ...map.parts);
    at("attention").hidden = false;
  }
  document.body.classList.toggle("several", about.dictionaries.length > 1);
  const ways = (by, name) => [true, false].map((down) => make("option", { value: `${by} ${down}` }, `${name} ${down ? "↓" : "↑"}`));
  at("sort").replaceChildren(...Object.entries(SORTS).flatMap(([by, { name }]) => ways(by, name)));
  at("sort").value = "density true";
  let soon = null;
  const later = () => { clearTimeout(soon); soon = setTimeout(show, 80); };
  ["query", "low", "high"].forEach((id) => at(id).addEventListener("input", later));
  ["dictionary", "kind"].forEach((id) => at(id).addEventListener("change", show));
  at("sort").addEventListener("change", () => {
    const [by, down] = at("sort").value.split(" ");
    sorting = { by, down: down === "true" };
    show();
  });
  at("deep").addEventListener("change", () => (at("deep").checked ? readContexts() : show()));
  at("tools").addEventListener("submit", (event) => { event.preventDefault(); show(); });
  at("scroll").addEventListener("scroll", () => requestAnimationFrame(draw));
  addEventListener("resize", draw);
  addEventListener("hashchange", open);
  document.addEventListener("keydown", keys);
  for (let chunk = 0; chunk < about.chunks; chunk++) {
    for (const line of await load(`index/${chunk}.js`, "index", String(chunk))) {
      places.set(`${line[DICTIONARY]}/${line[FEATURE]}`, lines.length);
      texts.push(`${siteOf(line)}/${line[FEATURE]} ${line[WORDS] || ""} ${line[LABEL] || ""} ${line[TOKENS]}`.toLowerCase());
      lines.push(line);
    }
    received.delete(`index ${chunk}`);
    // The first are seen before the last are read.
    if (chunk === 0) show();
  }
  show();
  await open();
  if (opened !== null) reveal(order.indexOf(opened));
};

start().catch((error) => { at("status").textContent = `A file beside this page is missing: ${error.message}`; });
