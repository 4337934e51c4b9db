; Colours of scripts, by the names that Helix, Neovim and Zed have in common.

[(line_comment) (block_comment)] @comment
(doc_comment) @comment.documentation

[(string) (raw_string) (template)] @string
(character) @string
(escape) @string.escape
(interpolation "${" @punctuation.special "}" @punctuation.special)

(number) @number
(boolean) @constant.builtin
(unit) @constant.builtin
(this) @variable.builtin

(identifier) @variable
((identifier) @constant (#match? @constant "^[A-Z][A-Z0-9_]+$"))

(variable_definition name: (identifier) @variable)
(parameters (identifier) @variable.parameter)
(closure_parameters (identifier) @variable.parameter)
(for_expression name: (identifier) @variable)
(import_statement name: (identifier) @namespace)

(pair key: (identifier) @property)
(member name: (identifier) @property)
(path module: (identifier) @namespace)

(function_definition name: (identifier) @function)
(function_definition receiver: (identifier) @type)
(call function: (identifier) @function)
(call function: (member name: (identifier) @function.method))
(call function: (path name: (identifier) @function))

[
  "let" "const" "fn" "private" "import" "export" "as"
  "if" "else" "switch" "while" "loop" "do" "until" "for" "in" "break" "return" "throw" "try" "catch"
] @keyword
(continue_statement) @keyword

[
  "=" "+=" "-=" "*=" "/=" "%=" "**=" "<<=" ">>=" "&=" "|=" "^="
  "||" "|" "^" "&&" "&" "==" "!=" ">" ">=" "<" "<=" "??" ".." "..=" "+" "-" "*" "/" "%" "@" "**" "<<" ">>" "!" "=>"
] @operator

["(" ")" "[" "]" "?[" "{" "}" "#{"] @punctuation.bracket
["," ";" ":" "::" "." "?."] @punctuation.delimiter
