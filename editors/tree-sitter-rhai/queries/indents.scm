; Each editor has its own names for a line that is indented further and for one that closes: Helix's are `indent` and
; `outdent`, Neovim's `indent.begin`, `indent.branch` and `indent.end`; a text of several lines stays as it is in both.

[
  (block)
  (switch_expression)
  (array)
  (map)
  (parameters)
  (arguments)
  (parenthesized)
  (index)
] @indent @indent.begin

["}" "]" ")"] @outdent @indent.branch @indent.end

[(template) (raw_string) (block_comment)] @opaque @indent.auto
