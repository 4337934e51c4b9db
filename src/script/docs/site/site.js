// The search. Its index is fetched when it is first used; everything that it shows is set as text.
"use strict";
const root = document.documentElement.dataset.root;
const field = document.querySelector(".search input");
const list = document.querySelector(".search ol");
let chosen = 0;

function load() {
  if (document.querySelector("script[data-index]")) return;
  const script = document.createElement("script");
  script.src = root + "search.js";
  script.dataset.index = "";
  script.onload = show;
  document.head.append(script);
}

// How well a section answers; 0 if some word is nowhere in it.
function worth([heading, title, place, text], words, whole) {
  const [name, page, body] = [heading.toLowerCase(), title.toLowerCase(), text.toLowerCase()];
  let sum = 0;
  for (const word of words) {
    const at = name.includes(word) ? 40 : page.includes(word) ? 15 : body.includes(word) ? 5 : 0;
    if (!at) return 0;
    sum += at;
  }
  if (name === whole) sum += 1000;
  else if (name.endsWith("::" + whole) || name.endsWith("." + whole)) sum += 600;
  else if (name.startsWith(whole)) sum += 300;
  else if (name.includes(whole)) sum += 100;
  return sum / words.length - name.length / 100;
}

function snippet(text, words) {
  const at = Math.max(0, ...words.map(word => text.toLowerCase().indexOf(word)));
  const from = Math.max(0, at - 30);
  return (from ? "… " : "") + text.slice(from, from + 120);
}

function show() {
  const whole = field.value.trim().toLowerCase();
  const words = whole.split(/\s+/).filter(Boolean);
  const rated = words.length && window.searched
    ? window.searched.map(entry => [worth(entry, words, whole), entry]).filter(([sum]) => sum > 0)
    : [];
  rated.sort((a, b) => b[0] - a[0]);
  list.replaceChildren(...rated.slice(0, 20).map(([, entry]) => item(entry, words)));
  if (words.length && window.searched && !rated.length) {
    const none = document.createElement("li");
    none.textContent = "Nothing found";
    list.append(none);
  }
  list.hidden = !list.children.length;
  choose(0);
}

function item([heading, title, place, text], words) {
  const line = document.createElement("li");
  const link = document.createElement("a");
  const small = document.createElement("small");
  link.href = root + place;
  link.textContent = heading;
  small.textContent = (title === heading ? "" : title + ": ") + snippet(text, words);
  link.append(small);
  line.append(link);
  return line;
}

function choose(index) {
  const links = list.querySelectorAll("a");
  chosen = Math.max(0, Math.min(index, links.length - 1));
  links.forEach((link, at) => link.parentElement.setAttribute("aria-selected", at === chosen));
  links[chosen]?.scrollIntoView({ block: "nearest" });
}

field.addEventListener("focus", load);
field.addEventListener("input", () => { load(); show(); });
field.addEventListener("keydown", event => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
  } else if (event.key === "Enter") {
    list.querySelectorAll("a")[chosen]?.click();
  } else if (event.key === "Escape") {
    field.value = "";
    show();
    field.blur();
  }
});
list.addEventListener("click", () => { list.hidden = true; });
document.addEventListener("keydown", event => {
  if (event.key === "/" && document.activeElement !== field) {
    event.preventDefault();
    field.focus();
  }
});
document.addEventListener("click", event => {
  if (!event.target.closest(".search")) list.hidden = true;
});
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest" });
