"use strict";
// Live reports: items that answer to one's own text, computed in a worker of this page. What was printed stays, what is live says
// so, and a button goes back. Texts are only ever set as text; none is kept.
(() => {
  const files = JSON.parse(document.getElementById("live-files").textContent);
  const microtome = new Microtome(files, 100);

  const make = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const button = (text, attributes, act) => {
    const made = make("button", { type: "button", ...attributes }, text);
    made.addEventListener("click", act);
    return made;
  };
  const NONE = "–";
  const digits = (value) => (value == null ? NONE : String(Number(value.toPrecision(3))));
  const percent = (share) => (share == null ? NONE : `${(100 * share).toPrecision(3)} %`);
  // A number of an answer, whole in its data.
  const cell = (value, shown) => make("td", { class: "number", "data-value": value ?? "" }, shown(value));
  const size = (value) => Math.abs(value ?? 0);
  // What has no form of its own, or turns the direction of what follows, is seen.
  const seen = (token) =>
    token.replaceAll("\n", "↵").replace(/[\p{Cc}\p{Cf}]/gu, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);
  const ground = (share) => `rgba(${share < 0 ? "0,114,178" : "213,94,0"},${(0.62 * Math.min(1, size(share))).toFixed(3)})`;

  // A text whose tokens are as strong as their numbers.
  const heat = (tokens, values, title) => {
    const most = Math.max(...values.map(size), 0);
    return make("p", { class: "tokens", role: "group", "aria-label": title }, ...tokens.map((token, at) => {
      const span = make("span", { title: `${title} ${digits(values[at])}`, "data-value": values[at] }, make("bdi", {}, seen(token)));
      if (most > 0) span.style.background = ground(values[at] / most);
      return span;
    }));
  };
  const table = (heads, rows) => make("div", { class: "wide" }, make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows)));

  // Milliseconds without a question, after which the page compares itself with the program.
  const PAUSE = 400;

  // What is the same for all kinds of items: a text, the way back, and the answer.
  class Panel {
    constructor(section, item, number, first) {
      this.section = section;
      this.item = item;
      this.number = number;
      // A question, and the program's answer to it.
      this.first = first;
      this.printed = section.querySelector(".printed");
      this.turn = 0;
      this.text = make("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
      this.text.value = item.text ?? "";
      this.text.addEventListener("input", () => this.ask());
      this.back = button("Back to what was printed", { class: "back", disabled: "" }, () => this.goBack());
      this.state = make("output", {}, "unpacking …");
      this.row = make("div", { class: "row" }, button("Read the text", { class: "read" }, () => this.ask()), this.back, this.state);
      this.answer = make("div", { class: "answer", role: "region", "aria-label": "Live answer" });
      this.answer.hidden = true;
      this.compared = make("p", { class: "note compared" });
      this.panel = make("div", { class: "ask", role: "group", "aria-label": "Ask this item" },
        make("label", {}, "Your own text", this.text), this.row, this.answer, this.compared);
      section.prepend(this.panel);
      this.begin();
    }

    // What each kind has of its own.
    begin() {}
    question() { return {}; }
    clear() {}

    say(words, isWrong) {
      this.state.textContent = words;
      this.state.classList.toggle("wrong", Boolean(isWrong));
    }

    // The last of several questions is answered; the others are not computed.
    async ask() {
      this.isWanted = true;
      if (this.isAsking) return;
      this.isAsking = true;
      while (this.isWanted) {
        this.isWanted = false;
        await this.askOnce();
      }
      this.isAsking = false;
      setTimeout(() => this.compare(), PAUSE);
    }

    // Asks once what the program was asked when it wrote this page, and says by how much the answers are apart.
    async compare() {
      if (!this.first || this.isAsking) return;
      const { question, answer } = this.first;
      this.first = undefined;
      const told = await microtome.ask("live", question).catch((ended) => ({ error: { message: ended.message } }));
      if (told.error) return (this.compared.textContent = `Not compared with the program: ${told.error.message}`);
      const [count, most] = apart(told, answer);
      this.compared.dataset.value = most;
      this.compared.textContent = nearness(count, most);
    }

    async askOnce() {
      const turn = this.turn;
      const begun = performance.now();
      this.back.disabled = false;
      this.say("computing …");
      const told = await microtome.ask("live", { item: this.number, text: this.text.value, ...this.question() })
        .catch((ended) => ({ error: { message: ended.message } }));
      if (turn !== this.turn) return;
      if (told.error) return this.say([told.error.message, told.error.hint].filter(Boolean).join("; "), true);
      if (told.tokens.length === 0) {
        this.goBack(this.text.value);
        return this.say("no text to read");
      }
      this.answer.replaceChildren(make("p", { class: "mark" }, "Live: computed in this page from your text"));
      if (told.cut > 0) this.answer.append(make("p", { class: "note" }, `The last ${told.cut} tokens are beyond what the model reads.`));
      this.show(told);
      this.answer.hidden = false;
      this.say(`live, ${Math.round(performance.now() - begun)} ms`);
    }

    goBack(text = this.item.text ?? "") {
      this.turn += 1;
      this.isWanted = false;
      this.text.value = text;
      this.answer.hidden = true;
      this.answer.replaceChildren();
      this.printed.hidden = false;
      this.clear();
      this.back.disabled = true;
      this.say("as printed");
    }
  }

  // Circuits: nodes are lit as strongly as their codes; those that are scaled change what follows.
  class CircuitPanel extends Panel {
    begin() {
      this.factors = new Map();
      this.chosen = this.item.nodes.findIndex((node) => node.unit);
      this.where = make("select", {}, make("option", { value: "" }, "where each is strongest"));
      this.where.addEventListener("change", () => this.told && this.shine());
      this.rows = new Map();
      const row = (node, number) => {
        const factor = make("input", { type: "number", step: "any", value: 1, "aria-label": `Factor of ${node.name}` });
        factor.addEventListener("input", () => this.change(number, factor.value === "" ? 1 : Number(factor.value)));
        const name = button("", { title: "Show its codes in the text" }, () => this.choose(number));
        name.append(make("bdi", {}, seen(node.name)));
        const ablate = button("ablate", this.named(number), () => this.toggle(number));
        const codes = [cell(null, digits), cell(null, digits)];
        this.rows.set(number, { factor, name, codes });
        return make("tr", {}, make("td", {}, name), ...codes, make("td", {}, factor), make("td", {}, ablate));
      };
      const nodes = this.item.nodes.map((node, number) => (node.unit ? row(node, number) : null)).filter(Boolean);
      this.nodes = make("details", { class: "nodes" }, make("summary", {}, "Nodes: ablate or scale them"),
        make("label", {}, "Codes at ", this.where), table(["node", "code", "changed", "factor", ""], nodes));
      this.nodes.open = nodes.length <= 40;
      this.row.after(this.nodes);
      const figure = this.printed.querySelector("figure.circuit");
      this.links = [...figure.querySelectorAll("svg a[href^='#']")].map((link) => {
        const [, group, number] = link.getAttribute("href").match(/(-group)?-(\d+)$/);
        return { link, nodes: group ? this.item.groups[number] : [Number(number)] };
      });
      // The card of a node changes it, too, and so does the copy that is opened beside the drawing.
      for (const number of this.rows.keys()) {
        const card = document.getElementById(`${figure.id}-${number}`);
        card?.prepend(make("p", { class: "change" }, make("button", { type: "button", ...this.named(number) }, "ablate")));
      }
    }

    named(number) {
      const label = `Ablate ${this.item.nodes[number].name}`;
      return { "data-live": `${this.number} ${number}`, "aria-pressed": "false", "aria-label": label };
    }

    toggle(number) {
      this.change(number, this.factors.get(number) === 0 ? 1 : 0);
      this.rows.get(number).factor.value = this.factors.get(number) ?? 1;
    }

    change(number, factor) {
      if (factor === 1) this.factors.delete(number);
      else this.factors.set(number, factor);
      this.press();
      this.ask();
    }

    press() {
      for (const made of document.querySelectorAll(`[data-live^="${this.number} "]`)) {
        const number = Number(made.dataset.live.split(" ")[1]);
        made.setAttribute("aria-pressed", String(this.factors.get(number) === 0));
      }
    }

    choose(number) {
      this.chosen = number;
      if (this.told) this.shine();
      else this.ask();
    }

    question() {
      return { changes: [...this.factors].map(([node, factor]) => ({ node, factor })) };
    }

    show(told) {
      this.told = told;
      const at = this.where.value;
      this.where.replaceChildren(make("option", { value: "" }, "where each is strongest"),
        ...told.tokens.map((token, place) => make("option", { value: place }, `${place} ${seen(token)}`)));
      this.where.value = Number(at) < told.tokens.length ? at : "";
      const { before, after } = told;
      const moved = (now, then, shown) => (then === undefined ? shown(now) : `${shown(now)} → ${shown(then)}`);
      this.codes = make("div", {});
      const facts = make("dl", {});
      const fact = (name, now, then, shown) =>
        facts.append(make("dt", {}, name), make("dd", { "data-value": now, "data-changed": then ?? "" }, moved(now, then, shown)));
      fact("mean loss, nats", before.mean_loss, after?.mean_loss, digits);
      told.targets.forEach((target, place) => fact(`P("${seen(target)}") after the last token`,
        before.targets[place].at(-1), after?.targets[place].at(-1), percent));
      const next = told.next.map(([token, now, then]) =>
        make("tr", {}, make("td", {}, make("bdi", {}, seen(token))), cell(now, percent), cell(then, percent)));
      this.answer.append(this.codes, facts, table(["next token", "probability", "changed"], next));
      this.shine();
    }

    // Shows codes at the chosen token, in the drawing and in the table.
    shine() {
      const { tokens, before, after } = this.told;
      const at = this.where.value;
      const code = (side, node) => {
        const codes = side?.codes[node];
        if (!codes) return null;
        return at === "" ? codes.reduce((most, one) => (size(one) > size(most) ? one : most)) : codes[at];
      };
      const most = Math.max(...before.codes.map((codes) => Math.max(...(codes ?? []).map(size), 0)), 0);
      for (const { link, nodes } of this.links) {
        const now = nodes.map((node) => code(after ?? before, node));
        const strongest = now.reduce((a, b) => (size(b) > size(a) ? b : a), null);
        link.style.setProperty("--share", most > 0 ? Math.min(1, size(strongest) / most) : 0);
        link.classList.toggle("lit", size(strongest) > 0);
        link.classList.toggle("changed", nodes.some((node) => this.factors.has(node)));
        this.label(link, strongest);
      }
      for (const [node, { name, codes }] of this.rows) {
        [before, after].forEach((side, place) => {
          const value = code(side, node);
          codes[place].textContent = digits(value);
          codes[place].dataset.value = value ?? "";
        });
        name.setAttribute("aria-pressed", String(node === this.chosen));
      }
      const codes = (after ?? before).codes[this.chosen];
      const shown = codes ? [heat(tokens, codes, `code of ${this.item.nodes[this.chosen].name}`)] : [];
      this.codes.replaceChildren(...shown);
    }

    label(link, value) {
      link.querySelector(".code")?.remove();
      if (size(value) === 0) return;
      const { x, y, width } = link.querySelector("rect").getBBox();
      const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      text.setAttribute("class", "code");
      text.setAttribute("x", x + width);
      text.setAttribute("y", y - 25);
      text.setAttribute("text-anchor", "end");
      text.textContent = digits(value);
      link.append(text);
    }

    clear() {
      this.told = undefined;
      this.factors.clear();
      this.press();
      for (const { link } of this.links) {
        link.classList.remove("lit", "changed");
        link.querySelector(".code")?.remove();
      }
      for (const { factor, codes, name } of this.rows.values()) {
        factor.value = 1;
        codes.forEach((one) => { one.textContent = NONE; one.dataset.value = ""; });
        name.setAttribute("aria-pressed", "false");
      }
      this.where.replaceChildren(make("option", { value: "" }, "where each is strongest"));
    }
  }

  // Pages of lenses: the logit lens reads the text, in place of what was printed.
  class LensesPanel extends Panel {
    show({ html, read, tokens }) {
      this.clear();
      if (read < tokens.length) this.answer.append(make("p", { class: "note" }, `The last ${read} of ${tokens.length} tokens.`));
      this.maps = make("div", {});
      // Made by the engine, which escapes what texts hold; the page's policy runs no handler that an attribute has.
      this.maps.innerHTML = html;
      this.section.append(this.maps);
      this.printed.hidden = true;
      this.maps.querySelectorAll("section.lenses").forEach((section) => openLenses(section));
    }

    clear() {
      this.maps?.remove();
    }
  }

  // Maps of heads: the pattern of one head in the text.
  class HeadsPanel extends Panel {
    begin() {
      const names = [...this.printed.querySelectorAll("table.map a[aria-label^='head ']")];
      this.head = make("select", {}, ...names.map((link) => make("option", {}, link.getAttribute("aria-label").slice(5))));
      this.head.addEventListener("change", () => this.ask());
      this.row.prepend(make("label", {}, "Head ", this.head));
    }

    question() {
      return { head: this.head.value.split(".").map(Number) };
    }

    show({ tokens, pattern }) {
      const MOST = 64;
      const from = Math.max(0, tokens.length - MOST);
      const names = tokens.slice(from).map(seen);
      if (from > 0) this.answer.append(make("p", { class: "note" }, `The last ${MOST} of ${tokens.length} tokens.`));
      const rows = pattern.slice(from).map((shares, query) => {
        const cells = shares.slice(from).map((share, key) => {
          const title = `${names[query]} looks at ${names[key]}: ${percent(share)}`;
          const one = make("td", { title, "data-value": share });
          one.style.background = ground(share);
          return one;
        });
        return make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, names[query])), ...cells);
      });
      const heads = names.map((name) => make("th", { scope: "col" }, make("bdi", {}, name)));
      const caption = `Pattern of head ${this.head.value}: a row for each token that looks, a column for each that is looked at`;
      this.answer.append(make("div", { class: "wide" }, make("table", { class: "pattern" }, make("caption", {}, caption),
        make("thead", {}, make("tr", {}, make("th", {}), ...heads)), make("tbody", {}, ...rows))));
    }
  }

  // Cards of features: where the feature is active in the text.
  class FeaturePanel extends Panel {
    show({ tokens, codes }) {
      this.answer.append(heat(tokens, codes, "code"),
        make("p", { class: "note" }, `The strongest code is ${digits(Math.max(...codes))}.`));
    }
  }

  const KINDS = { circuit: CircuitPanel, lenses: LensesPanel, heads: HeadsPanel, feature: FeaturePanel };
  const panels = new Map();
  const open = async () => {
    const names = ["/live/report.json", "/live/checks.json"];
    const parts = await Promise.all(names.map((name) => unpacked(files[name])));
    const [{ items }, checks] = parts.map((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
    for (const section of document.querySelectorAll("section.live")) {
      const number = Number(section.dataset.item);
      const first = checks.find(({ question }) => question.item === number);
      panels.set(number, new KINDS[items[number].kind](section, items[number], number, first));
    }
    // In cards, copies of which have no listeners of their own.
    document.addEventListener("click", (event) => {
      const ablated = event.target.closest(".change [data-live]");
      if (!ablated) return;
      const [item, node] = ablated.dataset.live.split(" ").map(Number);
      panels.get(item).toggle(node);
    });
    const told = (words, isWrong) => [...panels.values()].filter(({ back }) => back.disabled).forEach((panel) => panel.say(words, isWrong));
    // A tab that slept may have lost what its worker was at, which is asked again of a new one.
    const wake = () => {
      const asking = [...panels.values()].filter((panel) => panel.isAsking);
      asking.forEach((panel) => { panel.isWanted = true; });
      if (asking.length > 0) microtome.end("the tab slept");
    };
    document.addEventListener("resume", wake);
    addEventListener("pageshow", ({ persisted }) => { if (persisted) wake(); });
    // A question, so that the model is in memory when a reader asks.
    microtome.ask("live", { item: panels.keys().next().value, text: "" }).then(() => told("as printed"), (error) => told(error.message, true));
  };
  open();
})();
