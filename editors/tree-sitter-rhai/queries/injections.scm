; Comments of functions are Markdown; marks such as TODO stand in all others.

((doc_comment (doc_text) @injection.content)
  (#set! injection.language "markdown")
  (#set! injection.combined))

([(line_comment) (block_comment)] @injection.content
  (#set! injection.language "comment"))
