"use strict";
// Drawings of circuits: what a node is connected with stands out while it is pointed at or has the focus, a click opens its
// card beside the drawing, and drawings are enlarged by buttons or by the wheel with ctrl held.

// The card of a node beside the drawing, which stays where it is: the same as the one further down on the page.
const beside = document.createElement("aside");
beside.className = "beside";
beside.tabIndex = -1;
beside.hidden = true;
beside.setAttribute("role", "dialog");
document.body.append(beside);
let opened = null;     // the link of the node whose card it is
let rest = () => {};   // lets the drawings show what stands out now

const closeCard = () => {
  opened = null;
  beside.hidden = true;
  rest();
};

// Opens the card that an address is of, if there is one.
const openCard = (address, link) => {
  const inside = document.getElementById(address.slice(1));
  const card = inside && inside.closest("details.feature");
  if (!card) return false;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", "Close the card");
  close.addEventListener("click", () => leave());
  const title = document.createElement("h3");
  title.append(...card.querySelector("summary").cloneNode(true).childNodes);
  const content = inside.cloneNode(true);
  content.removeAttribute("id");
  content.querySelector(".back").remove();
  beside.replaceChildren(close, title, content);
  beside.setAttribute("aria-label", title.textContent);
  if (link) {
    // On the side, or on a narrow screen the end, where the node is not.
    const { left, right, top, bottom } = link.getBoundingClientRect();
    beside.classList.toggle("left", left + right > innerWidth);
    beside.classList.toggle("above", top + bottom > innerHeight);
  }
  opened = link;
  beside.hidden = false;
  beside.scrollTop = 0;
  beside.focus({ preventScroll: true });
  rest();
  return true;
};

// Back to the node.
const leave = () => {
  const link = opened;
  closeCard();
  if (link) link.focus({ preventScroll: true });
};

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey;
  if (link && isPlain && (beside.contains(link) || link.closest("figure.circuit svg"))) {
    const address = link.getAttribute("href");
    if (openCard(address, document.querySelector(`figure.circuit svg a[href="${address}"]`))) event.preventDefault();
  } else if (!beside.hidden && !beside.contains(event.target) && !event.target.closest(".tools")) {
    closeCard();
  }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !beside.hidden) leave(); });

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
  // The node that has the focus, or else the one whose card is open.
  const own = (element) => (element && svg.contains(element) ? element.closest("a") : null);
  const settle = () => emphasise(own(document.activeElement) || own(opened));
  const links = svg.querySelectorAll("a");
  const others = rest;
  rest = () => {
    others();
    for (const link of links) link.classList.toggle("here", link === opened);
    settle();
  };
  for (const link of links) {
    link.addEventListener("mouseenter", () => emphasise(link));
    link.addEventListener("focus", () => emphasise(link));
    link.addEventListener("mouseleave", settle);
    link.addEventListener("blur", () => emphasise(own(opened)));
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
  // Also where the page is shown after it was made, as in a cell of a notebook.
  new ResizeObserver(tell).observe(svg);

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
