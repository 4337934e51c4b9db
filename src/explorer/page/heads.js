// The attention heads of the model: their map, and the card of the head that is chosen.
import { ask, complaint, progress } from "./ask.js";
import { at, features, on, state } from "./state.js";
import { step } from "./steps.js";

let map = null;         // the map of all heads, once their scores are computed

const tell = (...parts) => at("head-card").replaceChildren(...parts);

const open = async (layer, head) => {
  map.mark(layer, head);
  try {
    const answer = await ask("head", { layer, head });
    if (answer === null) return;
    tell(...cardOf(answer.card, NO_LINE, features(), ""));
    step("head", { layer, head });
  } catch (error) {
    tell(complaint(error));
  }
};

const go = async () => {
  if (state.tab !== "attention" || map !== null) return;
  try {
    const answer = await ask("heads", {}, (line) => { if (line.progress) tell(progress(line.progress)); });
    if (answer === null) return;
    map = headMap(answer, open);
    at("head-map").replaceChildren(...map.parts);
    tell(make("p", { class: "hint" }, "Choose a head."));
  } catch (error) {
    tell(complaint(error));
  }
};

export const start = () => on(["tab"], go);
