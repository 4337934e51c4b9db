// Texts from outside made fit to be shown, in the same symbols as everywhere in microtome.

// C1 controls, marks of writing direction, characters without width, and halves of characters.
const UNSEEN = /[\u0080-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff0-\ufffb\ufffe\uffff\u{e0000}-\u{e0fff}]|\p{Surrogate}/gu;

const pictured = (control) => ({ "\n": "↵", "\t": "⇥", "\x7f": "␡" })[control] ?? String.fromCharCode(0x2400 + control.charCodeAt(0));

export const visible = (text) => text
  .replace(/[\x00-\x1f\x7f]/g, pictured)
  .replace(UNSEEN, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);

// As `visible`, but line ends stay.
export const visibleLines = (text) => text.split(/\r?\n/).map(visible).join("\n");

const LONG = 80;

// A token in the midst of its text: a line end is seen and ends the line, and so is a token of spaces alone.
export const shown = (text) => {
  const letters = [...text];
  const kept = letters.slice(0, LONG).join("");
  const left = letters.length > LONG ? `… (${letters.length - LONG} more characters)` : "";
  if (/^ +$/.test(kept)) return "␣".repeat(kept.length) + left;
  return kept.split("\n").map(visible).join("↵\n") + left;
};

// A token by itself: spaces at its ends are seen, since ` the` and `the` are different tokens.
export const token = (text) => {
  if (text === "") return "(empty)";
  return visible(shown(text).replace(/↵\n/g, "\n")).replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
};

// A bar of a share from 0 to 1.
export const bar = (share, kind = "") => {
  const width = `${(100 * Math.max(0, Math.min(1, share))).toFixed(1)}%`;
  return make("span", { class: `bar-of ${kind}`, "aria-hidden": "true" }, make("i", { style: { width } }));
};
