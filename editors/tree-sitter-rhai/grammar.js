// A grammar of the scripts of microtome: Rhai, with the matrix product `@`.
//
// Precedences are those of the language's operators, highest last.

const PRECEDENCE = {
  closure: -1,
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
  ["coalesce", ["??"]],
  ["range", ["..", "..="]],
  ["add", ["+", "-"]],
  ["multiply", ["*", "/", "%", "@"]],
  ["shift", ["<<", ">>"]],
];

const list = (rule) => optional(seq(rule, repeat(seq(",", rule)), optional(",")));

module.exports = grammar({
  name: "rhai",

  word: ($) => $.identifier,

  extras: ($) => [/\s/, $.line_comment, $.doc_comment, $.block_comment],

  rules: {
    // The last statement needs no semicolon.
    source_file: ($) => seq(repeat($._statement), optional($._simple_statement)),

    _statement: ($) =>
      choice(
        ";",
        $.function_definition,
        seq($._simple_statement, ";"),
        $.expression_statement,
      ),

    _simple_statement: ($) =>
      choice(
        $.variable_definition,
        $.import_statement,
        $.export_statement,
        $.assignment,
        $.return_statement,
        $.break_statement,
        $.continue_statement,
      ),

    // A block stands without a semicolon, and so does the last expression of one.
    expression_statement: ($) =>
      choice(prec(1, $._block_expression), seq($._expression, ";"), prec(-1, $._expression)),

    variable_definition: ($) =>
      seq(
        choice("let", "const"),
        field("name", $.identifier),
        optional(seq("=", field("value", $._expression))),
      ),

    import_statement: ($) =>
      seq("import", field("path", $._expression), optional(seq("as", field("name", $.identifier)))),

    export_statement: ($) =>
      seq(
        "export",
        choice($.variable_definition, seq($.identifier, optional(seq("as", field("name", $.identifier))))),
      ),

    assignment: ($) =>
      seq(
        field("left", $._expression),
        choice("=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^="),
        field("right", $._expression),
      ),

    return_statement: ($) => prec.right(seq(choice("return", "throw"), optional($._expression))),

    break_statement: ($) => prec.right(seq("break", optional($._expression))),

    continue_statement: () => "continue",

    function_definition: ($) =>
      seq(
        optional("private"),
        "fn",
        optional(seq(field("receiver", choice($.identifier, $.string)), ".")),
        field("name", $.identifier),
        field("parameters", $.parameters),
        field("body", $.block),
      ),

    parameters: ($) => seq("(", list($.identifier), ")"),

    block: ($) => seq("{", repeat($._statement), optional($._simple_statement), "}"),

    _expression: ($) =>
      choice(
        $._block_expression,
        $.closure,
        $.binary_expression,
        $.unary_expression,
        $.call,
        $.member,
        $.index,
        $.path,
        $.array,
        $.map,
        $.parenthesized,
        $.unit,
        $.string,
        $.raw_string,
        $.template,
        $.character,
        $.number,
        $.boolean,
        $.this,
        $.identifier,
      ),

    _block_expression: ($) =>
      choice(
        $.block,
        $.if_expression,
        $.switch_expression,
        $.while_expression,
        $.loop_expression,
        $.do_expression,
        $.for_expression,
        $.try_expression,
      ),

    if_expression: ($) =>
      prec.right(
        seq(
          "if",
          field("condition", $._expression),
          field("consequence", $.block),
          optional(seq("else", field("alternative", choice($.block, $.if_expression)))),
        ),
      ),

    switch_expression: ($) =>
      seq("switch", field("value", $._expression), "{", list($.switch_case), "}"),

    switch_case: ($) =>
      seq(
        field("pattern", $._expression),
        optional(seq("if", field("condition", $._expression))),
        "=>",
        field("value", choice($._expression, $._simple_statement)),
      ),

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

    try_expression: ($) =>
      seq("try", $.block, "catch", optional(seq("(", field("name", $.identifier), ")")), $.block),

    closure: ($) =>
      prec.right(
        PRECEDENCE.closure,
        seq(
          field("parameters", choice("||", $.closure_parameters)),
          field("body", $._expression),
        ),
      ),

    closure_parameters: ($) => seq("|", list($.identifier), "|"),

    binary_expression: ($) =>
      choice(
        ...OPERATORS.map(([name, signs]) =>
          prec.left(
            PRECEDENCE[name],
            seq(field("left", $._expression), field("operator", choice(...signs)), field("right", $._expression)),
          ),
        ),
        prec.right(
          PRECEDENCE.power,
          seq(field("left", $._expression), field("operator", "**"), field("right", $._expression)),
        ),
      ),

    unary_expression: ($) => prec(PRECEDENCE.unary, seq(choice("-", "+", "!"), $._expression)),

    call: ($) =>
      prec(
        PRECEDENCE.postfix,
        seq(field("function", choice($.identifier, $.path, $.member)), optional("!"), field("arguments", $.arguments)),
      ),

    arguments: ($) => seq("(", list($._expression), ")"),

    member: ($) =>
      prec.left(
        PRECEDENCE.postfix,
        seq(field("value", $._expression), choice(".", "?."), field("name", $.identifier)),
      ),

    index: ($) =>
      prec(PRECEDENCE.postfix, seq(field("value", $._expression), choice("[", "?["), $._expression, "]")),

    path: ($) =>
      prec.left(
        PRECEDENCE.postfix + 1,
        seq(field("module", choice($.identifier, $.path)), "::", field("name", $.identifier)),
      ),

    array: ($) => seq("[", list($._expression), "]"),

    map: ($) => seq("#{", list($.pair), "}"),

    pair: ($) => seq(field("key", choice($.identifier, $.string)), ":", field("value", $._expression)),

    parenthesized: ($) => seq("(", $._expression, ")"),

    unit: () => seq("(", ")"),

    string: ($) =>
      seq(
        '"',
        repeat(choice(token.immediate(prec(1, /[^"\\\n]+/)), $.escape)),
        token.immediate('"'),
      ),

    escape: () => token.immediate(/\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.|\n)/),

    raw_string: () =>
      token(choice(/#"([^"]|"+[^"#])*"+#/, /##"([^"]|"+[^"#]|"+#[^#])*"+##/)),

    template: ($) =>
      seq(
        "`",
        repeat(
          choice(
            token.immediate(prec(1, /[^`$]+/)),
            token.immediate("$"),
            alias(token.immediate("``"), $.escape),
            $.interpolation,
          ),
        ),
        token.immediate("`"),
      ),

    interpolation: ($) =>
      seq(token.immediate("${"), repeat($._statement), optional($._simple_statement), "}"),

    character: () => token(seq("'", choice(/[^'\\\n]/, /\\./), "'")),

    number: () =>
      token(
        choice(
          /0x[0-9a-fA-F_]+/,
          /0o[0-7_]+/,
          /0b[01_]+/,
          /[0-9][0-9_]*(\.[0-9][0-9_]*)?([eE][+-]?[0-9]+)?/,
        ),
      ),

    boolean: () => choice("true", "false"),

    this: () => "this",

    identifier: () => /[\p{L}_][\p{L}\p{N}_]*/,

    doc_comment: () => token(prec(1, /\/\/\/[^\n]*/)),

    line_comment: () => token(/\/\/[^\n]*/),

    // One within another is taken for the end of both.
    block_comment: () => token(/\/\*[^*]*\*+([^/*][^*]*\*+)*\//),
  },
});
