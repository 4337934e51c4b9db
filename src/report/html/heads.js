"use strict";
// Maps of attention heads: another score is chosen, and a cell opens the card of its head below, the others closed.
document.querySelectorAll("section.heads").forEach((section) => {
  const map = section.querySelector("table.map");
  const names = map.dataset.names.split("|");
  const links = [...map.querySelectorAll("a[data-scores]")];
  const scores = links.map((link) => link.dataset.scores.split(" ").map(Number));
  const cards = [...section.querySelectorAll("details.feature")];

  const show = (shown) => {
    const sizes = scores.map((all) => Math.abs(all[shown])).filter(Number.isFinite);
    const most = Math.max(...sizes, 0);
    links.forEach((link, at) => {
      const value = scores[at][shown];
      const share = most > 0 && Number.isFinite(value) ? value / most : 0;
      link.textContent = value.toFixed(2).replace("-0.00", "0.00");
      link.title = names.map((name, place) => `${name.split(":")[0]} ${+scores[at][place].toPrecision(4)}`).join("\n");
      link.style.background = `rgba(${share < 0 ? "0,114,178" : "213,94,0"},${(0.62 * Math.abs(share)).toFixed(3)})`;
    });
  };

  const select = document.createElement("select");
  select.setAttribute("aria-label", "Score");
  names.forEach((name, at) => {
    const option = document.createElement("option");
    option.value = at;
    option.textContent = name;
    select.append(option);
  });
  select.value = map.dataset.shown;
  select.addEventListener("change", () => show(Number(select.value)));
  map.querySelector(".score").replaceChildren(select);
  show(Number(select.value));

  // A link opens its card alone.
  section.classList.add("one");
  const open = (address) => {
    const inside = document.getElementById(address.slice(1));
    const card = inside && inside.closest("details.feature");
    if (!card || !section.contains(card)) return;
    cards.forEach((other) => { other.open = other === card; });
    links.forEach((link) => link.classList.toggle("here", link.hash === address));
    card.scrollIntoView({ block: "nearest" });
  };
  section.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-scores]");
    if (!link) return;
    // The page stays where it is, and so does the focus.
    event.preventDefault();
    history.replaceState(null, "", link.hash);
    link.focus();
    open(link.hash);
  });
  addEventListener("hashchange", () => open(location.hash));
  if (location.hash !== "") open(location.hash);

  // Arrows go from head to head; the focus stays on the map while cards change.
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  map.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    event.preventDefault();
    let row = cell.parentElement;
    let next = null;
    do {
      row = step[0] === 0 ? row : row.parentElement.rows[row.sectionRowIndex + step[0]];
      next = row && row.cells[cell.cellIndex + step[1]];
    } while (row && step[0] !== 0 && next && !next.firstElementChild);
    if (next && next.firstElementChild) next.firstElementChild.focus();
  });
});
