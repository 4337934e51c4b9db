"use strict";
// Pages of lenses: a panel says what all lenses read where one points or where the focus is; tokens that are clicked are
// pinned, and their ranks are drawn by layer. `before` lists the [position, id] that are pinned from the beginning, as far
// as their ranks are known: without it those of the page, at its last position. The function that is returned lists those
// that are pinned now.
const openLenses = (section, before) => {
  const { names, ids, positions, lenses, tracked, pinned: first } = JSON.parse(section.dataset.page);
  const layers = lenses[0][1].length;
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];
  const colour = (lens) => COLOURS[lens % COLOURS.length];

  const make = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const drawn = (name, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const nameOf = (id) => names[id] ?? String(id);
  const percent = (share) => `${(100 * share).toPrecision(3)} %`;

  const panel = make("div", { class: "panel", role: "region", tabindex: "-1", "aria-label": "What the lenses read" });
  const here = make("div", { class: "read" });
  const pinned = make("div", { class: "pinned" });
  panel.append(here, pinned);
  section.append(panel);

  const cells = [...section.querySelectorAll("td[data-at]")];
  const placeOf = (cell) => cell.dataset.at.split(" ").map(Number);
  const byPlace = new Map(cells.map((cell) => [cell.dataset.at, cell]));
  let pins = [];       // the pinned tokens, as [column, id], the last one first

  // A cell is on a ground as strong as the probability of its token.
  for (const cell of cells) {
    const [lens, layer, column] = placeOf(cell);
    cell.style.background = `rgba(213,94,0,${(0.62 * lenses[lens][1][layer][column][0][1]).toFixed(3)})`;
  }

  // The guesses of all lenses in a layer at a position.
  const read = (cell) => {
    const [, layer, column] = placeOf(cell);
    const position = positions[column];
    cells.forEach((other) => other.classList.toggle("here", placeOf(other).slice(1).join() === `${layer},${column}`));
    const next = position + 1 < ids.length ? `, then "${nameOf(ids[position + 1])}"` : "";
    const title = make("h3", {}, `Layer ${layer}, position ${position}, "${nameOf(ids[position])}"${next}`);
    const columns = lenses.map(([name, all], lens) => {
      const list = make("ol", {});
      for (const [id, share] of all[layer]?.[column] ?? []) {
        const button = make("button", { type: "button", "data-pin": `${column} ${id}` },
          make("bdi", {}, nameOf(id)), make("small", {}, percent(share)));
        button.style.background = `linear-gradient(to right, rgba(213,94,0,0.28) ${100 * share}%, transparent 0)`;
        list.append(make("li", {}, button));
      }
      const none = all[layer] ? [] : [make("p", { class: "note" }, "not read in this layer")];
      const head = make("h4", {}, name);
      head.style.borderColor = colour(lens);
      return make("div", {}, head, list, ...none);
    });
    here.replaceChildren(title, make("div", { class: "columns" }, ...columns));
  };

  // The rank of a pinned token by layer: a drawing with a logarithmic axis, and the numbers.
  const ranksOf = ([column, id]) => {
    const ranks = tracked[column][id];
    const most = Math.max(2, ...ranks.flat().filter((one) => one !== null).map(([rank]) => rank));
    const [width, height, left, below, top] = [320, 150, 42, 24, 8];
    const x = (layer) => left + (layers > 1 ? layer / (layers - 1) : 0.5) * (width - left - 8);
    const y = (rank) => top + (Math.log(rank) / Math.log(most)) * (height - top - below);
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Rank of "${nameOf(id)}" by layer` });
    for (let rank = 1; rank <= most; rank *= 10) {
      svg.append(drawn("line", { x1: left, x2: width - 8, y1: y(rank), y2: y(rank), class: "rule" }),
        drawn("text", { x: left - 5, y: y(rank) + 4, "text-anchor": "end" }, String(rank)));
    }
    const every = Math.ceil(layers / 12);
    for (let layer = 0; layer < layers; layer += every) {
      svg.append(drawn("text", { x: x(layer), y: height - 8, "text-anchor": "middle" }, String(layer)));
    }
    ranks.forEach((of, lens) => {
      const points = of.map((one, layer) => one && [x(layer), y(one[0])]).filter((point) => point !== null);
      svg.append(drawn("polyline", { points: points.map((point) => point.join()).join(" "), stroke: colour(lens), fill: "none", "stroke-width": 2 }));
      of.forEach((one, layer) => one && svg.append(drawn("circle", { cx: x(layer), cy: y(one[0]), r: 3.5, fill: colour(lens) },
        drawn("title", {}, `${lenses[lens][0]}, layer ${layer}: rank ${one[0]}, ${percent(one[1])}`))));
    });
    const cell = (one) => make("td", { class: "number" }, one ? `${one[0]}` : "", ...(one ? [make("small", {}, ` ${percent(one[1])}`)] : []));
    const row = (layer) => make("tr", {}, make("th", { scope: "row" }, String(layer)), ...ranks.map((of) => cell(of[layer])));
    const head = lenses.map(([name], lens) => {
      const made = make("th", { scope: "col", class: "number" }, name);
      made.style.borderColor = colour(lens);
      return made;
    });
    const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "layer"), ...head)),
      make("tbody", {}, ...Array.from({ length: layers }, (_, layer) => row(layer))));
    const close = make("button", { type: "button", class: "close", "aria-label": `Unpin "${nameOf(id)}"` }, "×");
    close.addEventListener("click", () => {
      hold(pins.filter((pin) => !same(pin, [column, id])));
      panel.focus({ preventScroll: true });
    });
    const title = make("h3", {}, `Rank of "${nameOf(id)}" at position ${positions[column]}`);
    return make("div", { class: "rank-of" }, title, close, make("div", { class: "ranks" }, svg, make("div", { class: "wide" }, table)));
  };

  const same = (a, b) => a[0] === b[0] && a[1] === b[1];
  const hold = (next) => {
    pins = next;
    cells.forEach((cell) => cell.classList.toggle("pin", pins.some((pin) => same(pin, firstOf(cell)))));
    const note = make("p", { class: "note" },
      "Click tokens to pin them and see their ranks by layer. Arrows move, Enter pins, Escape lets go.");
    pinned.replaceChildren(...(pins.length > 0 ? pins.map(ranksOf) : [note]));
  };
  const add = (pin) => hold([pin, ...pins.filter((other) => !same(other, pin))]);

  // One cell of each map is reached by Tab, the others by arrows.
  section.querySelectorAll("table[aria-label]").forEach((table) => {
    table.setAttribute("role", "grid");
    const own = [...table.querySelectorAll("td[data-at]")];
    own.forEach((cell, at) => { cell.tabIndex = at === 0 ? 0 : -1; });
    // The panel says what a tip would; whoever does not see it hears the same.
    own.forEach((cell) => {
      cell.setAttribute("aria-label", cell.title);
      cell.removeAttribute("title");
    });
  });
  const go = (cell) => {
    const table = cell.closest("table");
    table.querySelectorAll("td[data-at]").forEach((other) => { other.tabIndex = other === cell ? 0 : -1; });
    cell.focus();
  };

  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const firstOf = (cell) => {
    const [lens, layer, column] = placeOf(cell);
    return [column, lenses[lens][1][layer][column][0][0]];
  };
  section.addEventListener("pointerover", (event) => {
    const cell = event.target.closest("td[data-at]");
    if (cell) read(cell);
  });
  section.addEventListener("focusin", (event) => {
    const cell = event.target.closest("td[data-at]");
    if (cell) read(cell);
  });
  section.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-pin]");
    const cell = event.target.closest("td[data-at]");
    if (button) add(button.dataset.pin.split(" ").map(Number));
    else if (cell) {
      go(cell);
      add(firstOf(cell));
    }
  });
  section.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hold([]);
    const cell = event.target.closest("td[data-at]");
    if (!cell) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return add(firstOf(cell));
    }
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const [lens, layer, column] = placeOf(cell);
    const next = byPlace.get(`${lens} ${layer + step[0]} ${column + step[1]}`);
    if (next) go(next);
  });

  // Maps side by side show the same positions.
  const sheets = [...section.querySelectorAll(".side .wide")];
  sheets.forEach((sheet) => sheet.addEventListener("scroll", () => {
    sheets.forEach((other) => { if (other.scrollLeft !== sheet.scrollLeft) other.scrollLeft = sheet.scrollLeft; });
  }));

  const held = before ?? first.map((id) => [positions.at(-1), id]);
  const columns = held.map(([position, id]) => [positions.indexOf(position), id]);
  hold(columns.filter(([column, id]) => tracked[column]?.[id]));
  // What the model itself predicts at the end.
  const last = cells.findLast((cell) => placeOf(cell)[0] === 0);
  if (last) read(last);
  return () => pins.map(([column, id]) => [positions[column], id]);
};

document.querySelectorAll("section.lenses").forEach((section) => openLenses(section));
