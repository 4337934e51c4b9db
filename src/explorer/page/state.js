// What the page shows: one object, and who wants to know when a part of it changes.

export const state = {
  about: null,                                     // what the server said of the model and its dictionaries
  server: "here",                                  // here, slow, gone, or other: another process answers; in an exported page begins or broken
  why: "",                                         // why it is broken
  text: "",
  other: "",                                       // the text that is compared with
  dictionary: 0,
  opened: null,                                    // the feature whose card is open; tokens are coloured by it
  strongest: true,                                 // or by the strongest feature of each
  without: null,                                   // whether position 0 is left out, if that was chosen
  sinks: {},                                       // of dictionaries whether position 0 is an attention sink, as far as known
  changes: [],
  settings: { tokens: 24, temperature: 0, seed: 0 },
  grown: null,                                     // the feature whose tree is shown, as [dictionary, feature]
  tab: "card",
  reading: null,                                   // the answer to the last reading
  apart: null,                                     // in an exported page: how many numbers were compared with the program's, and how far they are apart
};

// What is gone back to by a step back, and kept when the page is loaded anew.
export const KEPT = ["text", "other", "dictionary", "opened", "strongest", "without", "changes", "settings", "grown"];

const listeners = [];

// Calls `act` when one of the parts changes.
export const on = (parts, act) => listeners.push([parts, act]);

export const set = (parts) => {
  const changed = Object.keys(parts).filter((part) => state[part] !== parts[part]);
  Object.assign(state, parts);
  for (const [wanted, act] of listeners) if (wanted.some((part) => changed.includes(part))) act();
};

export const at = (id) => document.getElementById(id);

// Whether position 0 is left out: as it was chosen, and else where it is a sink.
export const withoutFirst = () => state.without ?? state.sinks[state.dictionary] ?? false;

export const dictionaryOf = (number) => state.about.dictionaries[number];

// What the drawing of a card reads of all features: their dictionaries, and circuits, of which there are none here.
export const features = () => ({ circuits: [], dictionaries: state.about.dictionaries.map(({ name }) => ({ site: name })) });

export const nameOf = (dictionary, feature) => `${dictionaryOf(dictionary)?.name ?? dictionary}/${feature}`;

// What is said of a feature where explanations were given: its words and their score.
export const saidOf = (dictionary, feature) => dictionaryOf(dictionary)?.words[feature] ?? null;
