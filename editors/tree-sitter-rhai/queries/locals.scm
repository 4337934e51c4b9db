; Where names are seen. A function sees nothing of what stands around it, a closure all.

[(source_file) (block) (interpolation) (closure) (for_expression) (try_statement)] @local.scope
((function_definition) @local.scope
  (#set! local.scope-inherits false))

; The first name is that of tree-sitter itself, the second Helix's.
(variable_definition name: (identifier) @local.definition @local.definition.variable)
(import_statement name: (identifier) @local.definition @local.definition.namespace)
(for_expression name: (identifier) @local.definition @local.definition.variable)
(for_expression counter: (identifier) @local.definition @local.definition.variable)
(try_statement name: (identifier) @local.definition @local.definition.variable)
(parameters (identifier) @local.definition @local.definition.variable.parameter)
(closure_parameters (identifier) @local.definition @local.definition.variable.parameter)

(identifier) @local.reference
