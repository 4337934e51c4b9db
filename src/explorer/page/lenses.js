// The text by lenses: what each layer predicts, by the logit lens and the fitted ones. The maps are those of reports.
import { ask, complaint, progress, stop } from "./ask.js";
import { at, on, state } from "./state.js";
import { step } from "./steps.js";

let known = null;           // the text that the maps are of
let pinned = () => [];      // what is pinned there

const panel = () => at("panel-lenses");

const tell = (...parts) => {
  panel().setAttribute("aria-busy", "false");
  panel().replaceChildren(...parts);
};

// The maps, as the server wrote them.
const section = (html) => {
  const found = new DOMParser().parseFromString(html, "text/html").querySelector("section.lenses");
  return document.importNode(found, true);
};

const draw = ({ html, read, tokens }) => {
  const maps = section(html);
  const notes = [];
  if (read < tokens) notes.push(`The last ${digits(read)} of ${digits(tokens)} tokens.`);
  if (state.about.lenses.length === 0) notes.push("Tuned and Jacobian lenses stand beside it when the explorer is started with --lens FILE.");
  tell(...notes.map((note) => make("p", { class: "muted" }, note)), maps);
  pinned = openLenses(maps, pinned());
  // One types at the end of a text.
  maps.querySelectorAll(".side .wide").forEach((sheet) => { sheet.scrollLeft = sheet.scrollWidth; });
};

const go = async () => {
  const text = state.text.toWellFormed();
  if (state.tab !== "lenses" || text === known) return;
  if (text === "") {
    stop("lenses");
    known = text;
    return tell(make("p", { class: "hint" }, "Type a text: the lenses read it layer by layer."));
  }
  panel().setAttribute("aria-busy", "true");
  try {
    const answer = await ask("lenses", { text }, (line) => { if (line.progress && known === null) tell(progress(line.progress)); });
    if (answer === null) return;
    known = text;
    if (answer.html === "") return tell(make("p", { class: "hint" }, "The text has no tokens."));
    draw(answer);
    step("lenses", { text });
  } catch (error) {
    known = null;
    tell(complaint(error));
  }
};

export const start = () => on(["text", "tab"], go);
