// The card of a feature, made of text nodes only.
"use strict";

// An element with attributes and children; a text becomes a text node, whatever stands in it.
const make = (name, attributes, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "style") Object.assign(made.style, value);
    else if (key === "on") Object.entries(value).forEach(([event, act]) => made.addEventListener(event, act));
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
};

// A number as it is read: four digits, thousands set apart.
const digits = (value, count = 4) => {
  if (typeof value !== "number") return value === null ? "" : String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e7 ? String(+value.toPrecision(count)) : value.toExponential(2);
};

const histogram = ([edges, counts]) => {
  if (counts.length === 0) return null;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${counts.length} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const most = Math.max(...counts);
  svg.setAttribute("aria-label", `Histogram of its codes, at most ${digits(most)} in a bin`);
  counts.forEach((count, place) => {
    // What is there at all is seen, however little it is.
    const high = count === 0 ? 0 : Math.max(1.5, 100 * count / most);
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const sizes = { x: place + 0.06, y: 100 - high, width: 0.88, height: high };
    Object.entries(sizes).forEach(([key, value]) => bar.setAttribute(key, value));
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${digits(edges[place])} to ${digits(edges[place + 1])}: ${digits(count)}`;
    bar.append(title);
    svg.append(bar);
  });
  const ends = make("div", {}, make("span", {}, digits(edges[0])), make("span", {}, "code"),
    make("span", {}, digits(edges[edges.length - 1])));
  return make("figure", {}, svg, ends);
};

// The tokens of a context on grounds that say how large the activations are, shares of the largest of the card.
const context = ([from, tokens, values], most) => {
  const codes = new Map(values.filter(([, value]) => typeof value === "number"));
  let peak = null;
  for (const [place, code] of codes) if (peak === null || Math.abs(code) > Math.abs(codes.get(peak))) peak = place;
  const token = (text, place) => {
    const code = codes.get(place);
    if (code === undefined || most === 0) return text;
    const share = Math.max(-1, Math.min(1, code / most));
    const ground = `rgba(var(--${share < 0 ? "cold" : "hot"}), ${(0.62 * Math.abs(share)).toFixed(3)})`;
    const attributes = { title: digits(code), style: { background: ground }, class: place === peak ? "peak" : null };
    return make("span", attributes, text);
  };
  return make("li", {}, make("small", {}, from), make("div", { dir: "auto" }, ...tokens.map(token)));
};

const groups = (contexts) => {
  const sizes = contexts.flatMap(([, texts]) => texts).flatMap(([, , values]) => values).map(([, value]) => Math.abs(value));
  const most = sizes.reduce((most, size) => (size > most ? size : most), 0);
  return contexts.map(([name, texts], place) => {
    const summary = make("summary", {}, `${name} `, make("small", {}, `${texts.length}`));
    return make("details", { open: place === 0 }, summary, make("ol", {}, ...texts.map((text) => context(text, most))));
  });
};

// The address of a feature that a table names: of the same dictionary by its index, of any by its site and index.
const addressOf = (name, dictionary, sites) => {
  if (Number.isInteger(name)) return `#${dictionary}/${name}`;
  const [, site, feature] = /^(.+)\/(\d+)$/.exec(name) ?? [];
  const place = sites.indexOf(site);
  return place < 0 ? null : `#${place}/${feature}`;
};

// Features are links to their own cards.
const table = ([title, columns, rows], dictionary, sites) => {
  const isNumber = (column) => rows.some((row) => typeof row[column] === "number");
  const head = columns.map((name, column) => make("th", { class: isNumber(column) ? "number" : null, scope: "col" }, name));
  const cell = (value, column) => {
    const address = columns[column] === "feature" ? addressOf(value, dictionary, sites) : null;
    const kind = typeof value === "number" ? "number" : null;
    if (address !== null) return make("td", { class: kind }, make("a", { href: address }, String(value)));
    return make("td", { class: kind, dir: "auto" }, digits(value));
  };
  const line = (row) => make("tr", {}, ...row.map(cell));
  const whole = make("table", {}, make("caption", {}, title), make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...rows.map(line)));
  return make("div", { class: "wide" }, whole);
};

// Where a circuit has the feature as a node.
const circuits = (about, from, name) => {
  const links = about.circuits.flatMap(({ title, nodes }, number) =>
    nodes.filter(([feature]) => feature === name).map(([, anchor]) =>
      make("a", { href: `${from}/circuits/${number}.html#${anchor}` }, title)));
  if (links.length === 0) return null;
  return make("p", { class: "note circuits" }, "In circuits: ", ...links.flatMap((link, place) => (place ? [", ", link] : [link])));
};

// A line of the index for what is in none, such as a head.
const NO_LINE = [null, null, null, null, null, null, null, null, null, null, 1];

// All of a card but its buttons. `line` is what the index knows of the feature.
const cardOf = (card, line, about, from) => {
  const [dictionary, feature, density, , , , words, score, label, labelScore] = line;
  const badge = density === 0 ? "never active" : density > 0.1 ? "dense" : null;
  const parts = [make("h2", {}, card.title, badge && make("span", { class: "badge" }, badge))];
  const said = (text, score) => {
    const held = typeof score === "number" ? ` score ${digits(score, 2)}` : "";
    return make("p", { class: "meaning", dir: "auto" }, text, make("small", {}, held));
  };
  if (words !== null) parts.push(said(words, score));
  if (label !== null) parts.push(said(label, labelScore));
  const facts = card.facts.filter(([, value]) => value !== null && value !== "")
    .flatMap(([name, value]) => [make("dt", {}, name), make("dd", { dir: "auto" }, digits(value))]);
  parts.push(make("div", { class: "facts" }, make("dl", {}, ...facts), card.histogram && histogram(card.histogram)));
  parts.push(circuits(about, from, `${dictionary}/${feature}`), ...groups(card.contexts));
  const sites = about.dictionaries.map(({ site }) => site);
  parts.push(make("div", { class: "tables" }, ...card.tables.map((one) => table(one, dictionary, sites))));
  parts.push(...card.notes.map((note) => make("p", { class: "note muted" }, note)));
  return parts.filter((part) => part !== null);
};
