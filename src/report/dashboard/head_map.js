// The map of a model's attention heads, layer by head, coloured by a score that is chosen above it; `open` gets the layer
// and the head of the cell that is chosen. Returned are the map's parts, and what marks a head as open.
const headMap = ({ scores, layers, heads, rows }, open) => {
  const buttons = rows.map(([layer, head]) => make("button", {
    type: "button", tabindex: -1, "data-head": `${layer},${head}`, on: { click: () => open(layer, head) },
  }));
  const buttonOf = (layer, head) => buttons[rows.findIndex(([own, place]) => own === layer && place === head)];

  const paint = (shown) => {
    const place = scores.findIndex(([name]) => name === shown);
    const sizes = rows.map(([, , own]) => own[place]).filter((score) => typeof score === "number").map(Math.abs);
    const most = Math.max(...sizes, 0) || 1;
    buttons.forEach((button, at) => {
      const [layer, head, own] = rows[at];
      const score = own[place];
      const share = typeof score === "number" ? score / most : 0;
      button.style.background = `rgba(var(--${share < 0 ? "cold" : "hot"}), ${(0.62 * Math.abs(share)).toFixed(3)})`;
      button.textContent = typeof score === "number" ? score.toFixed(2).replace("-0.00", "0.00") : "";
      button.title = `head ${layer}.${head}: ${shown} ${digits(score)}`;
      button.setAttribute("aria-label", button.title);
    });
  };

  const mark = (layer, head) => {
    const opened = buttonOf(layer, head);
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button === opened)));
  };

  // One head is reached by Tab, the others by arrows.
  const turn = (to) => {
    buttons.forEach((button) => { button.tabIndex = button === to ? 0 : -1; });
  };
  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const keys = (event) => {
    const step = STEPS[event.key];
    if (!step || !event.target.dataset.head) return;
    event.preventDefault();
    event.stopPropagation();
    let [layer, head] = event.target.dataset.head.split(",").map(Number);
    // Layers without attention are passed over.
    do {
      layer += step[0];
      head += step[1];
    } while (step[0] !== 0 && layer >= 0 && layer < layers && !buttonOf(layer, head));
    buttonOf(layer, head)?.focus();
  };

  const select = make("select", { "aria-label": "Score of heads", on: { change: () => paint(select.value) } },
    ...scores.map(([name, quantity]) => make("option", { value: name }, `${name}: ${quantity}`)));
  select.value = "induction";
  const line = (_, layer) => make("tr", {}, make("th", { scope: "row" }, String(layer)),
    ...Array.from({ length: heads }, (_, head) => make("td", {}, buttonOf(layer, head) ?? null)));
  const columns = Array.from({ length: heads }, (_, head) => make("th", { scope: "col" }, String(head)));
  const table = make("table", { class: "map", "aria-label": "Attention heads", on: { keydown: keys, focusin: (event) => turn(event.target) } },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "layer"), ...columns)),
    make("tbody", {}, ...Array.from({ length: layers }, line)));
  paint(select.value);
  mark();
  turn(buttons[0]);
  return { parts: [select, make("div", { class: "wide" }, table)], mark };
};
