// Two texts: the features whose codes differ most between them.
import { ask, complaint, stop } from "./ask.js";
import { at, on, saidOf, set, state, withoutFirst } from "./state.js";
import { step } from "./steps.js";
import { bar, visible } from "./words.js";

const tell = (...parts) => at("compared").replaceChildren(...parts);

const table = (features, dictionary) => {
  const most = features.reduce((most, [, , , a, b]) => Math.max(most, Math.abs(a), Math.abs(b)), 0) || 1;
  const number = (value) => make("td", { class: "number" }, digits(value, 3));
  const line = ([feature, largestA, largestB, meanA, meanB]) => make("tr", {},
    make("th", { scope: "row" }, make("a", { href: `#${dictionary}/${feature}` }, String(feature)), " ", make("bdi", {}, saidOf(dictionary, feature)?.[0] ?? "")),
    make("td", { class: "pair" }, bar(Math.abs(meanA) / most), bar(Math.abs(meanB) / most, "hot")),
    number(meanA), number(meanB), number(largestA), number(largestB));
  const head = (name, kind, said = null) => make("th", { scope: "col", class: kind, "aria-label": said }, name);
  return make("div", { class: "wide" }, make("table", { class: "bars" },
    make("caption", {}, `${digits(features.length)} features by the difference of their means`),
    make("thead", {}, make("tr", {}, head("feature", null), make("td", {}), head("mean", "number before", "mean in the text that is read"), head("mean", "number after", "mean in the other text"),
      head("largest", "number before", "largest in the text that is read"), head("largest", "number after", "largest in the other text"))),
    make("tbody", {}, ...features.map(line))));
};

const go = async () => {
  if (at("other").value !== state.other) at("other").value = state.other;
  if (state.tab !== "compare") return;
  const { dictionary, text, other } = state;
  if (other === "") {
    stop("compare");
    return tell(make("p", { class: "hint" }, "Type a second text, or take ", make("button", { type: "button", on: { click: () => set({ other: state.text }) } }, "the first"), " and change it."));
  }
  const question = { texts: [text.toWellFormed(), other.toWellFormed()], dictionary, without_first: withoutFirst() };
  try {
    const answer = await ask("compare", question);
    if (answer === null) return;
    const tail = text.length > 60 ? `…${text.slice(-60)}` : text;
    tell(make("p", { class: "muted legend" }, bar(1), make("bdi", {}, `“${visible(tail.toWellFormed())}”`), bar(1, "hot"), "the other text"), table(answer.features, dictionary));
    step("compare", question);
  } catch (error) {
    tell(complaint(error));
  }
};

export const start = () => {
  at("other").addEventListener("input", () => set({ other: at("other").value }));
  on(["text", "other", "dictionary", "tab", "without", "sinks"], go);
};
