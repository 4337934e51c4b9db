[
  (block)
  (switch_expression)
  (array)
  (map)
  (parameters)
  (arguments)
  (template)
  (raw_string)
  (block_comment)
  (doc_comment)+
] @fold
