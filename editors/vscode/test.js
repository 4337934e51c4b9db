// Checks the colours of scripts by the tokenizer of VS Code: `npm test`, after `npm install`. With a folder, it prints instead
// where the texts and comments of the files there are, in bytes, a file a line.

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const oniguruma = require("vscode-oniguruma");
const textmate = require("vscode-textmate");

// Lines, and what is expected of words in them: the last of their scopes begins so.
const EXPECTED = [
  ["// a /* b", { "a /*": "comment.line.double-slash" }],
  ["let a = 1;", { let: "keyword.declaration", a: "variable.other.definition", 1: "constant.numeric" }],
  ["/// `b`", { "`b`": "comment.line.documentation" }],
  ["//// b", { b: "comment.line.double-slash" }],
  ["/* c /* d */ e */ f", { e: "comment.block", f: "variable.other" }],
  ["/* g", { g: "comment.block" }],
  ["h */ i", { h: "comment.block", i: "variable.other" }],
  ["/** j", { j: "comment.block.documentation" }],
  ["*/ fn k(l) { }", { fn: "keyword.declaration", k: "entity.name.function", l: "variable.other" }],
  ["/**/ m */ n", { m: "comment.block", n: "variable.other" }],
  ["fn int.f() { this }", { int: "entity.name.type", f: "entity.name.function", this: "variable.language" }],
  ['fn "my type".f() { }', { "my type": "string.quoted.double", f: "entity.name.function" }],
  ['"a // b" + c', { "//": "string.quoted.double", c: "variable.other" }],
  ['"a \\" \\\\" + b', { '\\"': "constant.character.escape", b: "variable.other" }],
  ['"a""b" + c', { '""': "constant.character.escape", b: "string.quoted.double", c: "variable.other" }],
  ['"a \\', { a: "string.quoted.double" }],
  ['b" + c', { b: "string.quoted.double", c: "variable.other" }],
  ['"open', { open: "string.quoted.double" }],
  ["closed", { closed: "variable.other" }],
  ["['\"', '\\'', a]", { '"': "string.quoted.single", a: "variable.other" }],
  ['#"a "b"# + ##"c "# d"## + e', { b: "string.quoted.other.raw", d: "string.quoted.other.raw", e: "variable.other" }],
  ["`a ${b + 1} c`", { a: "string.interpolated", b: "variable.other", c: "string.interpolated" }],
  ["`${ #{ a: `<${ { b } }>` }.c } d` + e", { b: "variable.other", c: "variable.other", d: "string.interpolated" }],
  ["`a ``b`` \\${c} $` + d", { b: "string.interpolated", c: "string.interpolated", d: "variable.other" }],
  ["`a", { a: "string.interpolated" }],
  ["// b ${ c // `", { b: "string.interpolated", c: "variable.other", "`": "comment.line" }],
  ["} d` + e", { d: "string.interpolated", e: "variable.other" }],
  ['import "a" as b;', { import: "keyword.control.import", as: "keyword.control.import", b: "variable.other" }],
  ["#{ for: 1, a: 2 }", { for: "variable.other.property", a: "variable.other.property" }],
  ["for a in 0..b { }", { for: "keyword.control", in: "keyword.control", "..": "keyword.operator.range" }],
  ["a::b(c).d(e).f", { a: "entity.name.namespace", b: "entity.name.function.call", f: "variable.other.property" }],
  ["1.abs() - 0X1F / [2.5e-3]", { abs: "entity.name.function.call", "0X1F": "constant.numeric" }],
  ["[1., 2]", { ".,": "constant.numeric", 2: "constant.numeric" }],
  ["a @ b ?? C_D", { "@": "keyword.operator", "??": "keyword.operator", C_D: "variable.other.constant" }],
];

async function grammar() {
  const engine = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm"));
  await oniguruma.loadWASM(engine.buffer.slice(engine.byteOffset, engine.byteOffset + engine.byteLength));
  const file = path.join(__dirname, "syntaxes/rhai.tmLanguage.json");
  const registry = new textmate.Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () => textmate.parseRawGrammar(fs.readFileSync(file, "utf8"), file),
  });
  return registry.loadGrammar("source.rhai");
}

function checked(rhai) {
  let state = textmate.INITIAL;
  for (const [line, words] of EXPECTED) {
    const { tokens, ruleStack } = rhai.tokenizeLine(line, state);
    state = ruleStack;
    for (const [word, scope] of Object.entries(words)) {
      const place = line.search(word.replace(/[^\w\s]/g, "\\$&").replace(/^\w+$/, "\\b$&\\b"));
      const found = tokens.findLast((token) => token.startIndex <= place).scopes.at(-1);
      assert(found.startsWith(scope), `${line}\n${word}: expected ${scope}, found ${found}`);
    }
  }
  const { depth } = rhai.tokenizeLine("", textmate.INITIAL).ruleStack;
  assert.strictEqual(state.depth, depth, "something is open behind the last line");
  console.log(`${EXPECTED.length} lines have the colours that are expected`);
}

// What a word is to the reader: code, within a template, too.
function kind(scopes) {
  const kinds = scopes.map((scope) => /^(comment|string|meta\.interpolation)/.exec(scope)?.[1]).filter(Boolean);
  return kinds.at(-1);
}

function texts_and_comments(rhai, text) {
  const found = [];
  let state = textmate.INITIAL;
  let start = 0;
  for (const line of text.split("\n")) {
    const { tokens, ruleStack } = rhai.tokenizeLine(line, state);
    state = ruleStack;
    for (const { startIndex, endIndex, scopes } of tokens) {
      const [from, to] = [startIndex, endIndex].map((end) => start + Buffer.byteLength(line.slice(0, end)));
      if (from < to && ["comment", "string"].includes(kind(scopes))) {
        found.push([from, to, kind(scopes)]);
      }
    }
    start += Buffer.byteLength(line) + 1;
  }
  return found;
}

async function main() {
  const rhai = await grammar();
  const folder = process.argv[2];
  if (!folder) {
    checked(rhai);
    return;
  }
  for (const name of fs.readdirSync(folder)) {
    const text = fs.readFileSync(path.join(folder, name), "utf8");
    console.log(JSON.stringify({ name, spans: texts_and_comments(rhai, text) }));
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
