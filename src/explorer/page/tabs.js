// The views beside the text: tabs, which on a phone stand at the foot of the screen, with the text among them.
import { at, on, set, state } from "./state.js";

const NAMES = ["card", "change", "tree", "compare", "attention", "lenses", "steps"];
const narrow = matchMedia("(max-width: 60rem)");

// Shows a view; on a phone the text is one of them.
export const show = (name) => {
  document.body.dataset.view = name === "text" ? "text" : "side";
  if (name !== "text") set({ tab: name });
  draw();
};

const draw = () => {
  const onText = narrow.matches && document.body.dataset.view === "text";
  for (const tab of at("tabs").children) {
    const { tab: name } = tab.dataset;
    const chosen = name === "text" ? onText : name === state.tab && !onText;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    if (chosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  for (const name of NAMES) at(`panel-${name}`).hidden = name !== state.tab;
};

export const start = () => {
  on(["tab"], draw);
  narrow.addEventListener("change", draw);
  at("tabs").addEventListener("click", (event) => {
    const tab = event.target.closest("[data-tab]");
    if (tab) show(tab.dataset.tab);
  });
  at("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const tabs = [...at("tabs").children].filter((tab) => tab.checkVisibility());
    const next = tabs[(tabs.indexOf(document.activeElement) + by + tabs.length) % tabs.length];
    event.preventDefault();
    show(next.dataset.tab);
    next.focus();
  });
  draw();
};
