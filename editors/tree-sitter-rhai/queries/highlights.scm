; Colours of scripts: of what fits a word, the last. The names are those that Helix, Neovim and Zed have in common.
; Neovim alone passes over a name that it does not know, so its own (`module`) stands before that of the others.

(identifier) @variable
(parameters (identifier) @variable.parameter)
(closure_parameters (identifier) @variable.parameter)
(this) @variable.builtin

(property) @property
(path name: (property) @variable)
([(identifier) (property)] @constant
  (#match? @constant "^[A-Z][A-Z0-9_]+$"))

(path module: (identifier) @module @namespace)
(path module: (path name: (property) @module @namespace))
(import_statement name: (identifier) @module @namespace)

(function_definition name: (identifier) @function)
(function_definition receiver: (_) @type)
(call function: (identifier) @function)
(call function: (path name: (property) @function))
(call function: (member name: (property) @function.method))
(variable_definition
  name: (identifier) @function
  value: (closure))

[(line_comment) (block_comment)] @comment
(doc_comment) @comment.documentation
((block_comment) @comment.documentation
  (#match? @comment.documentation "^/\\*\\*[^*/]"))

[(string) (raw_string) (template) (character)] @string
(escape) @string.escape
; What stands in a template is code again.
(interpolation) @embedded

(number) @constant.numeric
(boolean) @constant.builtin
(wildcard) @variable.builtin

["let" "const" "private" "as"] @keyword
["do" "while" "until" "loop" "for" "break" (continue_statement)] @keyword.repeat
(for_expression "in" @keyword.repeat)
["if" "else" "switch"] @keyword.conditional
"return" @keyword.return
["throw" "try" "catch"] @keyword.exception
["import" "export"] @keyword.import
"fn" @keyword.function
(binary_expression operator: ["in" "!in"] @keyword.operator)

(assignment operator: _ @operator)
(binary_expression
  operator: [
    "||" "|" "^" "&&" "&" "==" "!=" ">" ">=" "<" "<=" "??" "+" "-" "*" "/" "%" "@" "**" "<<" ">>"
  ] @operator)
(range_expression operator: _ @operator)
(unary_expression operator: _ @operator)
(variable_definition "=" @operator)
(call "!" @operator)
(switch_case ["=>" "|"] @operator)

["(" ")" "[" "]" "?[" "{" "}" "#{"] @punctuation.bracket
["," ";" ":" "::" "." "?."] @punctuation.delimiter
(closure_parameters ["|" "||"] @punctuation.bracket)
(unit ["(" ")"] @constant.builtin)
(interpolation ["${" "}"] @punctuation.special)
