// A page of the live guide. Its examples get buttons; the one that ran last is followed by a prompt, from which the reader goes on.
{
  // The files that the engine is given, and the elements that hold them.
  const files = { "model.safetensors": "model.safetensors", "config.json": "config.json", "tokenizer.json": "tokenizer.json", "sample.bin": "sample.bin" };

  const made = (name, words = "", attributes = {}) => {
    const element = document.createElement(name);
    element.textContent = words;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // Loads a script that lies beside the site's own.
  const beside = (name) =>
    new Promise((resolve, reject) => {
      const script = made("script", "", { src: document.documentElement.dataset.root + name });
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${name}, which belongs to this site, cannot be loaded`));
      document.head.append(script);
    });

  const session = new PageSession(async () => {
    await Promise.all(["live-engine.js", "live-model.js"].map(beside));
    for (const [path, text] of Object.entries(window.microtomeFiles)) {
      session.files.push({ path, bytes: new TextEncoder().encode(text) });
    }
    const letters = Math.floor(document.querySelector("main").clientWidth / 8.5) - 6;
    const engine = new Microtome(files, Math.max(40, Math.min(letters, 100)));
    await Promise.all([engine.source, engine.module, engine.files]);
    for (const id of ["engine", "engine-script", ...Object.values(files)]) document.getElementById(id).remove();
    return engine;
  });

  // Files that the reader of the page writes are there from the beginning, as the test of the guide has them.
  for (const block of document.querySelectorAll("pre[data-file]")) {
    session.files.push({ path: `/${block.dataset.file}`, bytes: new TextEncoder().encode(block.textContent) });
  }

  // What is typed in a block: of a session the lines behind a prompt.
  const typedIn = (block) => {
    const lines = block.textContent.replace(/\n$/, "").split("\n");
    if (!["session", "typed"].includes(block.dataset.run)) return lines.join("\n");
    return lines.filter((line) => line.startsWith("> ")).map((line) => line.slice(2)).join("\n");
  };

  const field = (name) => made("textarea", "", { spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-label": name });

  // The parts of a prompt, with a place for each.
  const parts = (name, buttons) => ({
    text: field(name),
    run: made("button", "Run", { type: "button", "aria-label": `Run ${name}` }),
    stop: made("button", "Stop", { type: "button" }),
    state: made("span", "", { role: "status" }),
    candidates: made("ul"),
    out: made("div", "", { class: "out", role: "log", "aria-label": `Output of ${name}` }),
    ...buttons,
  });

  const tools = (...elements) => {
    const line = made("div", "", { class: "tools" });
    line.append(...elements);
    return line;
  };

  // The prompt to go on from the example that ran last.
  const line = (() => {
    const own = parts("a line to go on", {});
    const place = made("div", "", { class: "prompt line" });
    own.text.placeholder = "Go on here: Enter runs, Tab completes, F1 explains";
    place.append(own.text, own.candidates, tools(own.run, own.stop, own.state));
    const prompt = new LinePrompt(own, session);
    prompt.fit();
    return { prompt, place };
  })();

  const examples = [];

  class Example extends Prompt {
    constructor(block, number) {
      const form = block.dataset.run;
      const isFragment = form === "fragment";
      const edit = made("button", "Edit", { type: "button", "aria-label": `Edit example ${number}` });
      const all = made("button", "Run all to here", { type: "button" });
      super(parts(`example ${number}`, {}), session, isFragment ? "part" : form);
      Object.assign(this, { block, edit, isFragment, original: typedIn(block) });
      this.first = block.dataset.first ?? "";
      this.place = made("section", "", { class: "prompt", "aria-label": `Example ${number}` });
      block.replaceWith(this.place);
      this.place.append(block, this.text, this.candidates, tools(this.run, edit, all, this.stop, this.state), this.out);
      this.text.value = this.original;
      this.fit();
      edit.addEventListener("click", () => this.change(this.text.hidden));
      all.addEventListener("click", () => this.submitAll());
      all.hidden = !this.goesOn() || !this.above().length;
      this.change(false);
    }

    // Whether this one goes on from those above it, and those below it from this one.
    goesOn() {
      return !this.isFragment && this.form !== "script";
    }

    // Those that this one goes on from: back to where the session of the page began.
    above() {
      const end = examples.indexOf(this);
      const before = examples.slice(0, end < 0 ? undefined : end).filter((example) => example.goesOn());
      const first = before.findLastIndex((example) => example.form === "session");
      return this.form === "session" ? [] : before.slice(Math.max(first, 0));
    }

    // Lets the reader change the text, or puts back what the page has.
    change(isOpen) {
      this.text.hidden = !isOpen;
      this.block.hidden = isOpen;
      this.run.hidden = this.isFragment && !isOpen;
      this.edit.textContent = isOpen ? "Reset" : "Edit";
      if (!isOpen) this.text.value = this.original;
      this.fit();
      if (isOpen) this.text.focus();
    }

    async submit() {
      if (!session.busy) {
        this.out.after(line.place);
        line.prompt.follow(this);
      }
      const isWell = await super.submit();
      if (isWell) this.ranIn = session.begun;
      return isWell;
    }

    // Runs the examples above that have not run in this session, and this one.
    async submitAll() {
      for (const example of this.above()) {
        const hasRun = session.begun && example.ranIn === session.begun && session.begun === session.engine.ready;
        if (!hasRun && !(await example.submit())) return;
      }
      await this.submit();
    }
  }

  for (const block of document.querySelectorAll("pre[data-run]")) examples.push(new Example(block, examples.length + 1));
  examples[0]?.place.before(
    made(
      "p",
      "The examples of this page run here, on your machine, and nothing is sent anywhere. They share their variables. In a text that is " +
        "edited, Ctrl+Enter runs, Tab completes, F1 explains the name at the cursor, and Escape leaves Tab to the page.",
      { class: "remark" },
    ),
  );
}
