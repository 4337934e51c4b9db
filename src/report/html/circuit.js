"use strict";
// Drawings of circuits: what a node is connected with stands out while it is pointed at or has the focus, and drawings
// are enlarged by buttons or by the wheel with ctrl held.
for (const figure of document.querySelectorAll("figure.circuit")) {
  const sheet = figure.querySelector(".sheet");
  const svg = sheet.querySelector("svg");
  const things = (element) => element.dataset.of.split(" ");
  const edges = [...svg.querySelectorAll(".edge")];
  const nodes = [...svg.querySelectorAll(".node")];
  const emphasise = (link) => {
    const chosen = link && link.dataset.of;
    const near = new Set([chosen]);
    for (const edge of edges) {
      const ends = things(edge);
      edge.classList.toggle("near", ends.includes(chosen));
      if (ends.includes(chosen)) ends.forEach((end) => near.add(end));
    }
    for (const node of nodes) node.classList.toggle("near", near.has(node.dataset.of));
    svg.classList.toggle("chosen", Boolean(link));
  };
  const focused = () => svg.contains(document.activeElement) && document.activeElement.closest("a");
  for (const link of svg.querySelectorAll("a")) {
    link.addEventListener("mouseenter", () => emphasise(link));
    link.addEventListener("focus", () => emphasise(link));
    link.addEventListener("mouseleave", () => emphasise(focused()));
    link.addEventListener("blur", () => emphasise(null));
  }

  const natural = svg.width.baseVal.value;
  const shown = document.createElement("output");
  const scale = () => svg.getBoundingClientRect().width / natural;
  const tell = () => { shown.textContent = Math.round(100 * scale()) + " %"; };
  // The point under (x, y) stays where it is.
  const enlarge = (to, x, y) => {
    const before = svg.getBoundingClientRect();
    const [across, down] = [(x - before.left) / before.width, (y - before.top) / before.height];
    figure.classList.add("zoomed");
    svg.style.width = natural * Math.min(8, Math.max(0.1, to)) + "px";
    const after = svg.getBoundingClientRect();
    sheet.scrollLeft += after.left + across * after.width - x;
    sheet.scrollTop += after.top + down * after.height - y;
    tell();
  };
  const byButton = (factor) => {
    const frame = sheet.getBoundingClientRect();
    enlarge(scale() * factor, (frame.left + frame.right) / 2, frame.top + Math.min(frame.height, innerHeight) / 2);
  };
  const fit = () => {
    figure.classList.remove("zoomed");
    svg.style.width = "";
    tell();
  };
  sheet.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    enlarge(scale() * Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
  }, { passive: false });
  addEventListener("resize", tell);

  const tools = document.createElement("div");
  tools.className = "tools";
  const button = (text, name, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", name);
    made.addEventListener("click", act);
    tools.append(made);
  };
  button("−", "Smaller", () => byButton(1 / 1.25));
  tools.append(shown);
  button("+", "Larger", () => byButton(1.25));
  button("Fit", "Fit to the width", fit);
  figure.querySelector("label").replaceWith(tools);
  tell();
}
