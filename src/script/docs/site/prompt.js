// Prompts of a page: a text that the engine runs, completes and explains, and below it what comes of that. The page of the engine
// (page/demo.html) has one, a page of the guide has one for each example and one to go on from there; all are of one session.
"use strict";

const STOPPED = "stopped; its variables are gone";

// The session of a page. `load` gives the engine, a `Microtome`, when it is first needed.
class PageSession {
  constructor(load) {
    this.load = load;
    // Files that a session begins with: their paths, and their bytes.
    this.files = [];
    // How often it was stopped, and how many questions wait for an answer.
    this.age = 0;
    this.asked = 0;
    // The prompt that is being answered.
    this.busy = undefined;
  }

  // Gives the engine once it can be asked.
  async ready() {
    const age = this.age;
    this.loading ??= this.load();
    try {
      const engine = await this.loading;
      await engine.ready;
      if (this.begun !== engine.ready) {
        this.begun = engine.ready;
        await Promise.all(this.files.map((file) => engine.post("put", file)));
      }
      if (this.age !== age) throw new Error(STOPPED);
      return (this.engine = engine);
    } catch (error) {
      // What could not be loaded may be there the next time.
      if (!this.engine) this.loading = undefined;
      throw error;
    }
  }

  async ask(ask, rest, told) {
    const engine = await this.ready();
    this.asked += 1;
    try {
      return await engine.post(ask, rest, told);
    } finally {
      this.asked -= 1;
    }
  }

  // Ends what runs, and all variables with it.
  stop() {
    this.age += 1;
    if (this.asked) this.engine.end(STOPPED);
  }
}

// Names of the colours of a notebook around what the engine shows, and ours.
const COLOURS = {
  "--jp-layout-color0": "--ground",
  "--jp-layout-color2": "--raised",
  "--jp-content-font-color1": "--ink",
  "--jp-content-font-color2": "--muted",
  "--jp-border-color2": "--rule",
  "--jp-content-link-color": "--link",
};

function colours() {
  const here = getComputedStyle(document.body);
  return Object.entries(COLOURS).map(([theirs, ours]) => `${theirs}: ${here.getPropertyValue(ours)}`).join("; ");
}

// Frames of tables and cards follow when the page turns dark or light.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const frame of document.querySelectorAll("iframe.framed")) {
    // One that is being loaded has no root yet, and takes the colours when it is there.
    const root = frame.contentDocument?.documentElement;
    if (root) root.style.cssText = colours();
  }
});

// A table or a card in a frame, in which no script runs and which may do nothing; as high as what is in it.
function framed(html) {
  const frame = document.createElement("iframe");
  frame.className = "framed";
  frame.title = "value";
  frame.setAttribute("sandbox", "allow-same-origin");
  frame.onload = () => {
    const inside = frame.contentDocument.documentElement;
    inside.style.cssText = colours();
    new ResizeObserver(() => (frame.style.height = `${Math.ceil(inside.getBoundingClientRect().height)}px`)).observe(inside);
  };
  frame.srcdoc = `<!doctype html><html lang="en" style="${colours()}"><meta charset="utf-8"><style>html { color-scheme: light dark; } body { margin: 0; }</style>${html}`;
  return frame;
}

// Maximum numbers of blocks of one output, and of letters of a text in it; the oldest go.
const MOST_BLOCKS = 200;
const MOST_LETTERS = 100_000;

// What came of a text. Outputs are gathered for a moment, so that a loop that prints leaves the page time to be used.
class Outputs {
  constructor(place) {
    this.place = place;
    this.waiting = [];
  }

  clear() {
    this.waiting = [];
    this.place.replaceChildren();
  }

  add(output) {
    const last = this.waiting.at(-1);
    if (output.kind === "print" && last?.kind === "print") last.text = (last.text + output.text).slice(-MOST_LETTERS);
    else this.waiting.push({ ...output });
    if (this.waiting.length > MOST_BLOCKS) this.waiting.shift();
    this.timer ??= setTimeout(() => this.show(), 30);
  }

  // Shows what has been gathered.
  show() {
    clearTimeout(this.timer);
    this.timer = undefined;
    for (const output of this.waiting.splice(0)) this.block(output);
    while (this.place.childElementCount > MOST_BLOCKS) this.place.firstElementChild.remove();
  }

  block({ kind, text, html }) {
    const last = this.place.lastElementChild;
    if (kind === "print" && last?.className === "print") {
      last.textContent = (last.textContent + text).slice(-MOST_LETTERS);
      last.scrollTop = last.scrollHeight;
      return;
    }
    const block = document.createElement(html ? "div" : "pre");
    block.className = kind === "page" ? "value" : kind === "panic" ? "error" : kind;
    // Charts and frames are made by the engine, which escapes what texts hold; the policy of the page runs no script of theirs.
    if (!html) block.textContent = kind === "typed" ? text.replace(/^/gm, (_, at) => (at ? "  " : "> ")) : text;
    else if (html.startsWith("<iframe") || html.includes("<svg")) block.innerHTML = html;
    else block.append(framed(html));
    this.place.append(block);
  }
}

// A text and what comes of it. `parts` are elements: `text`, the field; `run` and `stop`, buttons; `state`, where is said how it
// goes; `candidates`, a list that is empty; `out`.
class Prompt {
  constructor(parts, session, form = "script") {
    Object.assign(this, parts);
    this.session = session;
    this.form = form;
    // Lines that run before the text, such as its imports.
    this.first = "";
    this.outputs = new Outputs(this.out);
    this.offered = [];
    this.candidates.id ||= `candidates-${(Prompt.count = (Prompt.count ?? 0) + 1)}`;
    this.candidates.setAttribute("role", "listbox");
    this.candidates.setAttribute("aria-label", "Completions");
    this.text.setAttribute("aria-controls", this.candidates.id);
    this.text.setAttribute("aria-autocomplete", "list");
    this.text.addEventListener("keydown", (event) => this.pressed(event));
    this.text.addEventListener("input", () => this.typed());
    this.text.addEventListener("blur", () => this.offer([]));
    this.run.addEventListener("click", () => this.submit());
    this.stop.addEventListener("click", () => this.session.stop());
    this.stop.disabled = true;
    this.offer([]);
  }

  // The text that is run.
  code() {
    return this.text.value;
  }

  say(words, stage) {
    this.state.textContent = words;
    if (!stage?.total) return;
    const bar = document.createElement("progress");
    bar.max = stage.total;
    bar.value = stage.done;
    bar.setAttribute("aria-hidden", "true");
    this.state.prepend(bar, " ");
  }

  told(output) {
    if (output.kind !== "progress") return this.outputs.add(output);
    const running = output.stages.filter((stage) => !stage.ended);
    const shown = running.length ? running : output.stages;
    this.say(shown.map((stage) => stage.line).join("; "), running.at(-1));
  }

  // Runs the text in place of what came of it before. Returns whether it ended well.
  async submit() {
    if (this.session.busy) {
      this.say("something else is being computed: Stop there ends it");
      return false;
    }
    this.outputs.clear();
    return this.answer(this.code(), this.form);
  }

  // Answers a text: an example of a form, or else a line.
  async answer(text, form) {
    const session = this.session;
    session.busy = this;
    this.offer([]);
    this.stop.disabled = false;
    this.say(session.engine ? "computing …" : "loading the engine …");
    try {
      await session.ready();
      this.say("computing …");
      const told = (output) => this.told(output);
      if (this.first) await session.ask("example", { text: this.first, form: "part" });
      const { seconds, error } = await session.ask(form ? "example" : "run", { text, form }, told);
      if (error) this.outputs.add({ kind: "error", text: error.text });
      this.say(`${Math.round(seconds * 1000)} ms`);
      return !error;
    } catch (ended) {
      this.say(ended.message);
      return false;
    } finally {
      this.outputs.show();
      session.busy = undefined;
      this.stop.disabled = true;
    }
  }

  // Offers what may stand at the cursor; the only candidate is written at once, but not while the reader goes on typing.
  async complete(isTyping = false) {
    if (this.session.busy) return;
    const { value, selectionStart: cursor } = this.text;
    try {
      if (!this.session.engine) this.say("loading the engine …");
      const { start, candidates } = await this.session.ask("complete", { text: value, cursor });
      if (!this.session.busy) this.say("");
      if (this.text.value !== value || this.text.selectionStart !== cursor) return;
      this.start = start;
      this.offer(candidates.slice(0, 100));
      if (candidates.length === 1 && !isTyping) this.accept(0);
    } catch (ended) {
      this.say(ended.message);
    }
  }

  offer(candidates) {
    this.offered = candidates;
    this.candidates.hidden = !candidates.length;
    this.candidates.replaceChildren(
      ...candidates.map((candidate, at) => {
        const line = document.createElement("li");
        line.id = `${this.candidates.id}-${at}`;
        line.setAttribute("role", "option");
        line.textContent = candidate.shown;
        // Before the field loses the focus.
        line.addEventListener("pointerdown", (event) => {
          event.preventDefault();
          this.accept(at);
        });
        return line;
      }),
    );
    this.choose(0);
  }

  choose(at) {
    this.chosen = Math.max(0, Math.min(at, this.offered.length - 1));
    const lines = [...this.candidates.children];
    lines.forEach((line, index) => line.setAttribute("aria-selected", index === this.chosen));
    const line = lines[this.chosen];
    if (!line) return this.text.removeAttribute("aria-activedescendant");
    this.text.setAttribute("aria-activedescendant", line.id);
    line.scrollIntoView({ block: "nearest" });
  }

  accept(at) {
    this.text.setRangeText(this.offered[at].text, this.start, this.text.selectionStart, "end");
    this.offer([]);
    this.fit();
  }

  // Shows what the reference says of the name at the cursor.
  async explain() {
    if (this.session.busy) return;
    try {
      const { value, selectionStart: cursor } = this.text;
      if (!this.session.engine) this.say("loading the engine …");
      const help = await this.session.ask("help", { text: value, cursor });
      this.say(help ? "" : "nothing is known of what stands at the cursor");
      if (!help) return;
      this.outputs.add({ kind: "remark", text: help });
      this.outputs.show();
    } catch (ended) {
      this.say(ended.message);
    }
  }

  typed() {
    this.fit();
    this.hasLeft = false;
    if (this.offered.length) this.complete(true);
  }

  // Makes the field as high as its text.
  fit() {
    this.text.rows = Math.min(40, this.text.value.split("\n").length);
  }

  // Whether something stands before the cursor that could be completed.
  canComplete() {
    const before = this.text.value.slice(0, this.text.selectionStart);
    return this.text.selectionStart === this.text.selectionEnd && /[\p{L}\p{N}_.:/"?]$/u.test(before);
  }

  // Keys of the field. Escape closes the completions, and then lets Tab go on to what comes next on the page.
  pressed(event) {
    // Keys of the page, such as that of its search, are letters here.
    event.stopPropagation();
    const control = event.ctrlKey || event.metaKey;
    const isOpen = this.offered.length > 0;
    if (event.key === "Enter" && control) this.submit();
    else if (event.key === " " && control) this.complete();
    else if (event.key === "F1") this.explain();
    else if (isOpen && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      this.choose(this.chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (isOpen && !event.shiftKey && (event.key === "Enter" || event.key === "Tab")) this.accept(this.chosen);
    else if (event.key === "Escape") {
      this.hasLeft = !isOpen;
      this.offer([]);
    } else if (event.key === "Tab" && !event.shiftKey && !this.hasLeft && this.canComplete()) this.complete();
    else return this.key(event);
    event.preventDefault();
  }

  // Takes a key that means nothing to every prompt.
  key() {}
}

// A prompt below others, whose lines are answered one after the other, in the output of the one that it follows.
class LinePrompt extends Prompt {
  constructor(parts, session) {
    super(parts, session);
    this.history = [];
    this.past = 0;
  }

  // Follows another prompt: what it answers stands behind what came there.
  follow(prompt) {
    this.outputs = prompt.outputs;
  }

  async submit() {
    const text = this.text.value;
    if (this.session.busy || !text.trim()) return false;
    this.history.push(text);
    this.past = this.history.length;
    this.text.value = "";
    this.fit();
    this.outputs.add({ kind: "typed", text });
    const isWell = await this.answer(text);
    this.text.scrollIntoView({ block: "nearest" });
    return isWell;
  }

  key(event) {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.enter();
    } else if (event.key === "ArrowUp" && !this.text.value.slice(0, this.text.selectionStart).includes("\n")) this.recall(event, -1);
    else if (event.key === "ArrowDown" && !this.text.value.slice(this.text.selectionEnd).includes("\n")) this.recall(event, 1);
  }

  // Answers the line, or begins another where more of it is to come.
  async enter() {
    const text = this.text.value;
    if (text.trim() && !this.session.busy && (await this.session.ask("unfinished", { text }))) {
      this.text.setRangeText("\n", this.text.selectionStart, this.text.selectionEnd, "end");
      this.fit();
    } else this.submit();
  }

  recall(event, by) {
    const at = this.past + by;
    if (at < 0 || at > this.history.length) return;
    event.preventDefault();
    this.past = at;
    this.text.value = this.history[at] ?? "";
    this.fit();
  }
}
