// All active features of the text: filtered, sorted, and only those in view drawn, since they may be thousands.
import { open } from "./cards.js";
import { at, on, saidOf, state } from "./state.js";
import { token } from "./words.js";

const [FEATURE, LARGEST, TOKENS, SUM, WHERE] = Array(5).keys();
const SORTS = {
  feature: { name: "Feature", of: (line) => line[FEATURE], down: false },
  words: { name: "What it is", of: (line) => what(line).toLowerCase(), down: false },
  largest: { name: "Largest", of: (line) => line[LARGEST], down: true, number: true },
  tokens: { name: "Tokens", of: (line) => line[TOKENS], down: true, number: true },
  sum: { name: "Sum", of: (line) => line[SUM], down: true, number: true },
};
let order = [];
let drawn = new Map();    // the lines in view, by what they say
let sorting = { by: "largest", down: true };
const longest = {};       // letters in the columns of numbers

const words = (line) => saidOf(state.dictionary, line[FEATURE])?.[0] ?? null;

// The token on which a feature is largest.
const peak = (line) => {
  const one = state.reading.tokens[line[WHERE]];
  return one ? token(one.text) : "";
};

const what = (line) => words(line) ?? peak(line);

const filtered = () => {
  const wanted = at("query").value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const active = state.reading?.active ?? [];
  if (wanted.length === 0) return [...active];
  const has = (line) => {
    const text = `${line[FEATURE]} ${words(line) ?? ""} ${peak(line)}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  };
  return active.filter(has);
};

const sorted = (lines) => {
  const { of } = SORTS[sorting.by];
  const way = sorting.down ? -1 : 1;
  return lines.map((line) => [of(line), line])
    .sort(([x, a], [y, b]) => (x < y ? -way : x > y ? way : a[FEATURE] - b[FEATURE])).map(([, line]) => line);
};

const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));

const row = (line) => {
  const number = (name, value) => make("span", { class: `number ${name}`, "data-name": name }, digits(value, 3));
  const said = make("span", { class: "words" });
  if (words(line)) said.append(make("bdi", {}, words(line)));
  if (peak(line)) said.append(make(words(line) ? "small" : "bdi", {}, peak(line)));
  const largest = number("largest", line[LARGEST]);
  const most = Math.abs(state.reading.active[0][LARGEST]);
  largest.append(make("i", { style: { width: `${(100 * Math.abs(line[LARGEST]) / (most || 1)).toFixed(1)}%` } }));
  const isOpen = line[FEATURE] === state.opened;
  return make("a", { class: `row${isOpen ? " open" : ""}`, href: `#${state.dictionary}/${line[FEATURE]}`, "aria-current": isOpen ? "true" : null },
    make("span", { class: "name" }, make("b", {}, String(line[FEATURE]))), said, largest, number("tokens", line[TOKENS]), number("sum", line[SUM]));
};

// Lines that say what they said before are not made again.
const kept = (line) => {
  const key = JSON.stringify([state.dictionary, line, words(line), peak(line), line[FEATURE] === state.opened, state.reading.active[0][LARGEST]]);
  const element = drawn.get(key) ?? row(line);
  return [key, element];
};

// No number is cut: its column is as wide as the longest that has been in view.
const widen = () => {
  for (const name of ["name", "largest", "tokens", "sum"]) {
    const letters = [...at("rows").querySelectorAll(`.${name}`)].map((cell) => cell.textContent.length);
    longest[name] = Math.max(longest[name] ?? 0, ...letters);
    at("reading").style.setProperty(`--${name}`, `${0.6 * longest[name]}rem`);
  }
};

const draw = () => {
  const [scroll, high] = [at("scroll"), rowHeight()];
  const first = Math.max(0, Math.floor(scroll.scrollTop / high) - 4);
  const count = Math.ceil((scroll.clientHeight || 400) / high) + 8;
  at("space").style.height = `${order.length * high}px`;
  at("rows").style.transform = `translateY(${first * high}px)`;
  const focused = document.activeElement?.closest?.("#rows a")?.getAttribute("href");
  const before = [...drawn.keys()].join();
  drawn = new Map(order.slice(first, first + count).map(kept));
  if ([...drawn.keys()].join() === before) return;
  at("rows").replaceChildren(...drawn.values());
  widen();
  if (focused) link(focused)?.focus({ preventScroll: true });
};

const link = (address) => [...at("rows").children].find((one) => one.getAttribute("href") === address);

const heads = () => {
  const mark = (by) => (sorting.by === by ? (sorting.down ? " ↓" : " ↑") : "");
  const head = ([by, { name, number }]) => make("button", {
    type: "button", class: number ? "number" : null, "data-by": by, "aria-pressed": String(sorting.by === by), on: { click: () => sortBy(by) },
  }, name + mark(by));
  at("heads").replaceChildren(...Object.entries(SORTS).map(head));
};

const sortBy = (by, down = sorting.by === by ? !sorting.down : SORTS[by].down) => {
  sorting = { by, down };
  at("sort").value = `${by} ${down}`;
  heads();
  show();
};

const status = () => {
  const { reading } = state;
  if (reading === null) return "";
  const all = reading.active.length;
  const some = order.length === all ? digits(all) : `${digits(order.length)} of ${digits(all)}`;
  const losses = reading.loss.filter((loss) => typeof loss === "number");
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const parts = [`${some} active features`, `${digits(reading.tokens.length)} tokens`];
  if (losses.length > 0) parts.push(`mean loss ${digits(mean, 3)}`);
  if (reading.cut > 0) parts.push(`${digits(reading.cut)} more tokens are beyond the context of ${digits(state.about.context)} and are not read`);
  return parts.join(" · ");
};

const show = () => {
  order = sorted(filtered());
  at("status").textContent = status();
  draw();
};

// Scrolls as little as shows a line.
const reveal = (place) => {
  const [scroll, high] = [at("scroll"), rowHeight()];
  const top = place * high;
  if (top < scroll.scrollTop) scroll.scrollTop = top;
  else if (top + high > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + high - scroll.clientHeight;
  draw();
};

// The card of the next line, or of one before.
export const leaf = (by) => {
  if (order.length === 0) return;
  const place = order.findIndex((line) => line[FEATURE] === state.opened);
  const next = place < 0 ? 0 : Math.max(0, Math.min(order.length - 1, place + by));
  reveal(next);
  open(state.dictionary, order[next][FEATURE], true);
};

const keys = (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const address = event.target.closest("a")?.getAttribute("href");
  if (!by || !address) return;
  event.preventDefault();
  const place = order.findIndex((line) => address === `#${state.dictionary}/${line[FEATURE]}`) + by;
  if (place < 0 || place >= order.length) return;
  reveal(place);
  link(`#${state.dictionary}/${order[place][FEATURE]}`)?.focus({ preventScroll: true });
};

export const focus = () => at("rows").firstElementChild?.focus();

export const start = () => {
  const ways = (by, name) => [true, false].map((down) => make("option", { value: `${by} ${down}` }, `${name} ${down ? "↓" : "↑"}`));
  at("sort").replaceChildren(...Object.entries(SORTS).flatMap(([by, { name }]) => ways(by, name)));
  at("sort").addEventListener("change", () => {
    const [by, down] = at("sort").value.split(" ");
    sortBy(by, down === "true");
  });
  at("query").addEventListener("input", () => { at("scroll").scrollTop = 0; show(); });
  at("query").addEventListener("keydown", (event) => { if (event.key === "ArrowDown") { event.preventDefault(); focus(); } });
  at("tools").addEventListener("submit", (event) => event.preventDefault());
  at("rows").addEventListener("keydown", keys);
  at("scroll").addEventListener("scroll", () => requestAnimationFrame(draw));
  addEventListener("resize", draw);
  on(["reading"], show);
  on(["opened"], draw);
  sortBy("largest", true);
};
