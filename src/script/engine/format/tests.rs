//! Scripts as they are formatted, piece by piece.

use super::*;

#[track_caller]
fn becomes(text: &str, expected: &str) {
    assert_eq!(formatted(text), expected);
    assert_eq!(formatted(expected), expected, "once more");
}

#[test]
fn blanks_stand_around_operators_and_in_maps() {
    becomes("let x=1+2 *  3 ;", "let x = 1 + 2 * 3;\n");
    becomes("let m = #{a:1,b :[ 1,2 ]};", "let m = #{ a: 1, b: [1, 2] };\n");
    becomes("x**=2; y = a@b<<1", "x **= 2;\ny = a @ b << 1\n");
    becomes("f ( a,b )[ 0 ] . c :: d ( )", "f(a, b)[0].c::d()\n");
    becomes("for i in 0 .. n{f(i);}", "for i in 0..n { f(i); }\n");
    becomes("if(a){ } else{ #{} }", "if (a) {} else { #{} }\n");
    becomes("switch x{1..=5=>a,_=>b}", "switch x { 1..=5 => a, _ => b }\n");
    becomes("switch x{6 .. =>a,..2=>b}", "switch x { 6.. => a, ..2 => b }\n");
    becomes("let r=.. 6;f(1,..2)", "let r = ..6;\nf(1, ..2)\n");
    becomes("let f=|a,b|a||b; let g=||1; f!(x); a !in b", "let f = |a, b| a || b;\nlet g = || 1;\nf!(x);\na !in b\n");
    becomes("return(1)", "return (1)\n");
    becomes("x?.y?[1] ?? 2", "x?.y?[1] ?? 2\n");
    becomes("m.for; #{ for : 1 }", "m.for;\n#{ for: 1 }\n");
}

#[test]
fn signs_stay_what_they_are() {
    becomes("f(-x, a - -1, -8 ..= - 3, !a)", "f(-x, a - -1, -8..=-3, !a)\n");
    becomes("- - x", "- -x\n");
    // The sign of a number belongs to it, whatever follows.
    becomes("x=-  1.abs( )+- 2[ 0 ]", "x = - 1.abs() + - 2[0]\n");
    becomes("x=-1.abs(); y=- 1+- z.a; - - 1 . abs()", "x = -1.abs();\ny = -1 + -z.a;\n- - 1.abs()\n");
    becomes("|x|-x", "|x| -x\n");
    // The language reads no sign before such digits.
    becomes("[- 0x1F,-  0b1,1-0o7]", "[- 0x1F, - 0b1, 1 - 0o7]\n");
    becomes("let y = if a { 1 } else { 2 } - 3;", "let y = if a { 1 } else { 2 } - 3;\n");
    becomes("if a { b(); }\n-1", "if a { b(); }\n-1\n");
}

#[test]
fn a_point_stays_part_of_its_number_or_apart() {
    becomes("[6.+1,6.]", "[6. + 1, 6.]\n");
    becomes("6.  .abs(); 6.  ..x; 6 ..x", "6. .abs();\n6. ..x;\n6..x\n");
    becomes("6 . abs(); 6 .\nabs()", "6.abs();\n6 .\n    abs()\n");
    becomes("x=6./* a */;", "x = 6. /* a */;\n");
}

#[test]
fn strings_that_go_on_behind_a_backslash_keep_their_white_space() {
    becomes("let s=\"a \\\n  b\";", "let s = \"a \\\n  b\";\n");
    // Eleven blanks reach to below the quote and are no part of the string; the two behind them are.
    becomes("        f(\"a\\\n             b\");", "f(\"a\\\n     b\");\n");
    becomes("{\nf(\"a\\\n  \\\n\")\n}", "{\n    f(\"a\\\n  \\\n\")\n}\n");
}

#[test]
fn commas_stand_before_comments_that_end_lines() {
    becomes("f(1 // one\n,2 // two\n,)", "f(1, // one\n    2, // two\n)\n");
    becomes("f(1/* one */,)", "f(1 /* one */ )\n");
    becomes("f(1 /* one */,2)", "f(1 /* one */, 2)\n");
}

#[test]
fn a_bracket_behind_a_block_calls_nothing() {
    becomes("if x {y}(z\n)", "if x { y } (z\n)\n");
}

#[test]
fn strings_and_comments_are_left_as_they_are() {
    becomes(
        "let s=`a  ${ f( `b ${c}  ` ) + #{x:1}.x }  z`+\"q  q\";",
        "let s = `a  ${ f( `b ${c}  ` ) + #{x:1}.x }  z` + \"q  q\";\n",
    );
    becomes("let s = ##\"a  \"# b\"##;let c=' ';", "let s = ##\"a  \"# b\"##;\nlet c = ' ';\n");
    becomes("let s=\"a  \"\"  b\"+`a``  ${ c }`;", "let s = \"a  \"\"  b\" + `a``  ${ c }`;\n");
    becomes(
        "  // one  \n\n\n\n/* two /* three */\n  kept */ let x=1;// four",
        "// one\n\n/* two /* three */\n  kept */ let x = 1; // four\n",
    );
    becomes(
        "let a = [ // first\n1, // one\n2 // two\n// last\n];",
        "let a = [ // first\n    1, // one\n    2, // two\n    // last\n];\n",
    );
    becomes("`a\n  ${b}\n c`", "`a\n  ${b}\n c`\n");
}

#[test]
fn statements_have_lines_where_their_block_has() {
    becomes("let a = 1; let b = 2;", "let a = 1;\nlet b = 2;\n");
    becomes("fn f(x) { let y = x; y }", "fn f(x) { let y = x; y }\n");
    becomes("fn f(x) { let y = x;\ny }", "fn f(x) {\n    let y = x;\n    y\n}\n");
    becomes("if a {\n\n\nb\n\n}\nelse {\nc\n}", "if a {\n    b\n} else {\n    c\n}\n");
    becomes("let f = |x| { let y = g([\n1\n]); y };", "let f = |x| { let y = g([\n    1,\n]); y };\n");
}

#[test]
fn lines_that_go_on_are_indented() {
    becomes("let x = a\n.b()\n.c(|y| {\ny\n});\nd", "let x = a\n    .b()\n    .c(|y| {\n        y\n    });\nd\n");
    becomes("let x =\n1\n+ 2;", "let x =\n    1\n    + 2;\n");
    becomes("f(#{a: 1,\nb: 2 }, [\n3\n]);", "f(#{ a: 1,\n    b: 2 }, [\n    3,\n]);\n");
    becomes("do {\nx\n}\nuntil y;", "do {\n    x\n}\nuntil y;\n");
}

#[test]
fn lists_over_several_lines_end_in_a_comma_and_others_do_not() {
    becomes("[1, 2, ]", "[1, 2]\n");
    becomes("f(\na,\nb\n)", "f(\n    a,\n    b,\n)\n");
    becomes("(\na + b\n)", "(\n    a + b\n)\n");
    becomes("x[\n1\n]", "x[\n    1\n]\n");
    becomes("eval(\n\"1\"\n)", "eval(\n    \"1\"\n)\n");
    becomes("f(|| {\nx\n})", "f(|| {\n    x\n})\n");
    becomes("let e = [\n];", "let e = [\n];\n");
}

#[test]
fn nothing_is_made_of_nothing() {
    becomes("", "");
    becomes(" \n\n", "");
    becomes("x", "x\n");
    becomes("x;\r\n\r\n\r\ny\r\n", "x;\n\ny\n");
}

proptest::proptest! {
    /// Formats what is no script, too: nothing but white space and commas changes, and it ends after one step.
    #[test]
    fn no_text_breaks_it(text in "[a-z0-9 (){}\\[\\]#$`\"'/*.:,;|=>!\\\\\n-]{0,40}") {
        let _written = formatted(&text);
    }
}
