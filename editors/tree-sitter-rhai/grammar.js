// A grammar of the scripts of microtome: Rhai, with the matrix product `@`.
//
// What no regular expression can tell is in src/scanner.c: comments within comments, raw strings, the text of strings.

// How strongly operators bind, as in the language.
const BINDING = {
  or: 30,
  and: 60,
  equal: 90,
  member: 110,
  compare: 130,
  coalesce: 135,
  range: 140,
  add: 150,
  multiply: 180,
  power: 190,
  shift: 210,
  unary: 220,
  postfix: 230,
};

const OPERATORS = [
  ["or", ["||", "|", "^"]],
  ["and", ["&&", "&"]],
  ["equal", ["==", "!="]],
  ["member", ["in", "!in"]],
  ["compare", [">", ">=", "<", "<="]],
  ["add", ["+", "-"]],
  ["multiply", ["*", "/", "%", "@"]],
  ["shift", ["<<", ">>"]],
];

const ASSIGNMENTS = ["=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^="];

const KEYWORDS = [
  ...["as", "break", "catch", "const", "continue", "do", "else", "export", "false", "fn", "for", "if", "import", "in"],
  ...["let", "loop", "private", "return", "switch", "this", "throw", "true", "try", "until", "while"],
];

const list = (rule) => optional(seq(rule, repeat(seq(",", rule)), optional(",")));

// The last statement needs no semicolon.
const statements = ($) => seq(repeat($._statement), optional($._open_statement));

const switchCase = ($, value) =>
  seq(
    choice(
      seq(field("pattern", $._pattern), repeat(seq("|", field("pattern", $._pattern)))),
      field("pattern", $.wildcard),
    ),
    optional(seq("if", field("condition", $._expression))),
    "=>",
    field("value", value),
  );

module.exports = grammar({
  name: "rhai",

  word: ($) => $.identifier,

  // The order is that of the scanner. Only where the parser looks for a way out of an error is the last one expected.
  externals: ($) => [
    $.block_comment,
    $.doc_text,
    $.raw_string,
    $._string_text,
    $._template_text,
    $._point,
    $._recovery,
  ],

  extras: ($) => [/\s/, $.line_comment, $.doc_comment, $.block_comment],

  reserved: { global: () => KEYWORDS },

  rules: {
    source_file: ($) => statements($),

    _statement: ($) => choice(";", $.function_definition, $._closed_statement, seq($._open_statement, ";")),

    // It ends with its brace: what follows is the next statement, be it `-1` or `(x)`.
    _closed_statement: ($) => prec(1, choice($._block_expression, $.try_statement)),

    _open_statement: ($) =>
      choice($.variable_definition, $.import_statement, $.export_statement, $._short_statement),

    _short_statement: ($) => choice($.assignment, $._jump_statement, $._expression),

    _jump_statement: ($) => choice($.return_statement, $.throw_statement, $.break_statement, $.continue_statement),

    variable_definition: ($) =>
      seq(choice("let", "const"), field("name", $.identifier), optional(seq("=", field("value", $._expression)))),

    import_statement: ($) =>
      seq("import", field("path", $._expression), optional(seq("as", field("name", $.identifier)))),

    export_statement: ($) =>
      seq(
        "export",
        choice(
          $.variable_definition,
          seq(field("value", $.identifier), optional(seq("as", field("name", $.identifier)))),
        ),
      ),

    assignment: ($) =>
      seq(
        field("left", choice($.identifier, $.this, $.path, $.member, $.index)),
        field("operator", choice(...ASSIGNMENTS)),
        field("right", $._expression),
      ),

    return_statement: ($) => prec.right(seq("return", optional($._expression))),

    throw_statement: ($) => prec.right(seq("throw", optional($._expression))),

    break_statement: ($) => prec.right(seq("break", optional($._expression))),

    continue_statement: () => "continue",

    try_statement: ($) =>
      seq(
        "try",
        field("body", $.block),
        "catch",
        optional(seq("(", field("name", $.identifier), ")")),
        field("handler", $.block),
      ),

    function_definition: ($) =>
      seq(
        optional("private"),
        "fn",
        optional(seq(field("receiver", choice($.identifier, $.string, $.raw_string)), ".")),
        field("name", $.identifier),
        field("parameters", $.parameters),
        field("body", $.block),
      ),

    parameters: ($) => seq("(", list($.identifier), ")"),

    block: ($) => seq("{", statements($), "}"),

    _expression: ($) =>
      choice(
        $._block_expression,
        $.do_expression,
        $.closure,
        $.binary_expression,
        $.range_expression,
        $.unary_expression,
        $.call,
        $.member,
        $.index,
        $.path,
        $.parenthesized,
        $.identifier,
        $.this,
        $._literal,
      ),

    _literal: ($) =>
      choice(
        $.array,
        $.map,
        $.unit,
        $.string,
        $.raw_string,
        $.template,
        $.character,
        $.number,
        $.boolean,
      ),

    _block_expression: ($) =>
      choice(
        $.block,
        $.if_expression,
        $.switch_expression,
        $.while_expression,
        $.loop_expression,
        $.for_expression,
      ),

    if_expression: ($) =>
      seq(
        "if",
        field("condition", $._expression),
        field("consequence", $.block),
        optional(seq("else", field("alternative", choice($.block, $.if_expression)))),
      ),

    // No comma has to stand behind a brace.
    switch_expression: ($) =>
      seq(
        "switch",
        field("value", $._expression),
        "{",
        repeat(
          choice(
            seq(alias($._open_case, $.switch_case), ","),
            seq(alias($._closed_case, $.switch_case), optional(",")),
          ),
        ),
        optional(alias($._open_case, $.switch_case)),
        "}",
      ),

    _open_case: ($) => switchCase($, $._open_statement),

    _closed_case: ($) => switchCase($, $._closed_statement),

    _pattern: ($) => choice($._literal, $.unary_expression, alias($._range_pattern, $.range_expression)),

    _range_pattern: ($) =>
      seq(
        optional(field("left", $.number)),
        field("operator", choice("..", "..=")),
        optional(field("right", $.number)),
      ),

    wildcard: () => "_",

    while_expression: ($) => seq("while", field("condition", $._expression), field("body", $.block)),

    loop_expression: ($) => seq("loop", field("body", $.block)),

    do_expression: ($) =>
      seq("do", field("body", $.block), choice("while", "until"), field("condition", $._expression)),

    for_expression: ($) =>
      seq(
        "for",
        choice(
          field("name", $.identifier),
          seq("(", field("name", $.identifier), ",", field("counter", $.identifier), ")"),
        ),
        "in",
        field("value", $._expression),
        field("body", $.block),
      ),

    // Its body is a statement, which goes on as far as it can. Definitions, which the language takes and nobody means,
    // are left out: an unfinished line before one would become a closure.
    closure: ($) =>
      seq(field("parameters", $.closure_parameters), field("body", choice($._closed_statement, $._short_statement))),

    closure_parameters: ($) => choice("||", seq("|", list($.identifier), "|")),

    binary_expression: ($) => {
      const operation = (operator, right) =>
        seq(field("left", $._expression), field("operator", operator), field("right", right));
      return choice(
        ...OPERATORS.map(([name, signs]) => prec.left(BINDING[name], operation(choice(...signs), $._expression))),
        prec.left(BINDING.coalesce, operation("??", choice($._expression, $._jump_statement))),
        prec.right(BINDING.power, operation("**", $._expression)),
      );
    },

    range_expression: ($) => {
      const operator = field("operator", choice("..", "..="));
      return choice(
        prec.left(BINDING.range, seq(field("left", $._expression), operator, field("right", $._expression))),
        prec.right(BINDING.range, seq(field("left", $._expression), operator)),
        prec.right(BINDING.range, seq(operator, optional(field("right", $._expression)))),
      );
    },

    unary_expression: ($) =>
      prec(BINDING.unary, seq(field("operator", choice("-", "+", "!")), field("operand", $._expression))),

    call: ($) =>
      prec(
        BINDING.postfix,
        seq(field("function", choice($.identifier, $.path, $.member)), optional("!"), field("arguments", $.arguments)),
      ),

    arguments: ($) => seq("(", list($._expression), ")"),

    member: ($) =>
      prec(BINDING.postfix, seq(field("value", $._expression), choice(".", "?."), field("name", $._property))),

    // What a name means that belongs to a value, a map or a module is not seen around it.
    _property: ($) => alias($.identifier, $.property),

    index: ($) =>
      prec(
        BINDING.postfix,
        seq(field("value", $._expression), choice("[", "?["), field("index", $._expression), "]"),
      ),

    path: ($) => seq(field("module", choice($.identifier, $.path)), "::", field("name", $._property)),

    parenthesized: ($) => seq("(", $._expression, ")"),

    array: ($) => seq("[", list($._expression), "]"),

    map: ($) => seq("#{", list($.pair), "}"),

    // `for` is the one keyword that may be a key.
    pair: ($) =>
      seq(
        field("key", choice($._property, alias("for", $.property), $.string, $.raw_string, $.template)),
        ":",
        field("value", $._expression),
      ),

    unit: () => seq("(", ")"),

    string: ($) => seq('"', repeat(choice($._string_text, $.escape)), token.immediate('"')),

    escape: () =>
      token.immediate(choice('""', /\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r?\n|[^xuU\r\n])/)),

    template: ($) =>
      seq(
        "`",
        repeat(
          choice($._template_text, alias(token.immediate(choice("``", "\\${")), $.escape), $.interpolation),
        ),
        token.immediate("`"),
      ),

    interpolation: ($) => seq(token.immediate("${"), statements($), "}"),

    character: () =>
      token(
        seq("'", choice(/[^'\\\n]/, "''", /\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[^xuU\r\n])/), "'"),
      ),

    // A sign belongs to the number where nothing stands on its left: `-1.abs()` is 1. So does a point without digits.
    number: ($) =>
      seq(
        token(
          choice(
            /0[xX][0-9a-fA-F_]+/,
            /0[oO][0-7_]+/,
            /0[bB][01_]+/,
            /-?[0-9][0-9_]*(\.[0-9][0-9_]*)?([eE][+-]?[0-9][0-9_]*)?/,
          ),
        ),
        optional($._point),
      ),

    boolean: () => choice("true", "false"),

    this: () => "this",

    identifier: () => /[A-Za-z_][A-Za-z0-9_]*/,

    doc_comment: ($) => seq(choice(token(prec(1, "///")), token(prec(1, "//!"))), $.doc_text),

    line_comment: () => token(choice(/\/\/[^\r\n]*/, prec(2, /\/\/\/\/[^\r\n]*/))),
  },
});
