// Probabilities of the next token as pairs of bars: as it is, and with the changes.
import { bar, token } from "./words.js";

const percent = (share) => (share >= 0.9995 ? "100" : (100 * share).toFixed(share < 0.0995 ? 2 : 1));

// Rows of a token, its probability, and the one with the changes where there are any.
export const bars = (rows, kl = null) => {
  const both = rows.some((row) => row.length > 2);
  const most = rows.reduce((most, [, before, after]) => Math.max(most, before, after ?? 0), 0) || 1;
  const number = (share) => make("td", { class: "number" }, percent(share));
  const line = ([name, before, after]) => make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, token(name))),
    make("td", { class: "pair" }, bar(before / most), both ? bar(after / most, "hot") : null),
    number(before), both ? number(after) : null);
  const head = (name, kind) => make("th", { scope: "col", class: kind }, name);
  const said = typeof kl === "number" ? make("small", {}, ` KL ${digits(kl, 3)} nats`) : null;
  return make("table", { class: "bars" }, make("caption", {}, "Next token", said),
    make("thead", {}, make("tr", {}, head("token", null), make("td", {}), head(both ? "as is %" : "%", "number before"), both ? head("changed %", "number after") : null)),
    make("tbody", {}, ...rows.map(line)));
};
