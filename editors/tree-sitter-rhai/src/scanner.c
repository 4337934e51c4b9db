// The words of scripts that no regular expression can tell. Nothing is kept between them.

#include "tree_sitter/parser.h"

// In the order of the grammar's externals.
enum Word { BLOCK_COMMENT, DOC_TEXT, RAW_STRING, STRING_TEXT, TEMPLATE_TEXT, POINT, RECOVERY };

void *tree_sitter_rhai_external_scanner_create(void) { return NULL; }

void tree_sitter_rhai_external_scanner_destroy(void *payload) { (void)payload; }

unsigned tree_sitter_rhai_external_scanner_serialize(void *payload, char *buffer) {
  (void)payload;
  (void)buffer;
  return 0;
}

void tree_sitter_rhai_external_scanner_deserialize(void *payload, const char *buffer, unsigned length) {
  (void)payload;
  (void)buffer;
  (void)length;
}

static bool ends(TSLexer *lexer) { return lexer->eof(lexer); }

static bool is_space(int32_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool takes(TSLexer *lexer, int32_t c) {
  if (lexer->lookahead != c || ends(lexer)) return false;
  lexer->advance(lexer, false);
  return true;
}

// The text of a string up to a quote, an escape or the end of the line.
static bool string_text(TSLexer *lexer) {
  bool any = false;
  while (lexer->lookahead != '"' && lexer->lookahead != '\\' && lexer->lookahead != '\n' && !ends(lexer)) {
    lexer->advance(lexer, false);
    any = true;
  }
  lexer->mark_end(lexer);
  lexer->result_symbol = STRING_TEXT;
  return any;
}

// The text of a template up to a backtick, `${` or `\${`.
static bool template_text(TSLexer *lexer) {
  bool any = false;
  lexer->result_symbol = TEMPLATE_TEXT;
  while (lexer->lookahead != '`' && !ends(lexer)) {
    lexer->mark_end(lexer);
    bool is_escape = takes(lexer, '\\');
    bool is_dollar = takes(lexer, '$');
    if (is_dollar && lexer->lookahead == '{') return any;
    if (!is_escape && !is_dollar) lexer->advance(lexer, false);
    any = true;
  }
  lexer->mark_end(lexer);
  return any;
}

// A point that makes a float of the digits before it: no digit, no name and no other point follows.
static bool point(TSLexer *lexer) {
  if (!takes(lexer, '.')) return false;
  lexer->mark_end(lexer);
  int32_t c = lexer->lookahead;
  bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  lexer->result_symbol = POINT;
  return !is_word && c != '.';
}

static bool raw_string(TSLexer *lexer) {
  unsigned hashes = 0;
  while (takes(lexer, '#')) hashes++;
  if (hashes == 0 || !takes(lexer, '"')) return false;
  lexer->result_symbol = RAW_STRING;
  while (!ends(lexer)) {
    if (!takes(lexer, '"')) {
      lexer->advance(lexer, false);
      continue;
    }
    unsigned closing = 0;
    while (closing < hashes && takes(lexer, '#')) closing++;
    if (closing == hashes) {
      lexer->mark_end(lexer);
      return true;
    }
  }
  return false;
}

// A comment, with those within it; one that is open goes on to the end. A second asterisk is part of its beginning, so
// `/**/` is open.
static bool block_comment(TSLexer *lexer) {
  if (!takes(lexer, '/') || !takes(lexer, '*')) return false;
  takes(lexer, '*');
  unsigned depth = 1;
  while (depth > 0 && !ends(lexer)) {
    if (takes(lexer, '/')) {
      depth += takes(lexer, '*');
    } else if (takes(lexer, '*')) {
      depth -= takes(lexer, '/');
    } else {
      lexer->advance(lexer, false);
    }
  }
  lexer->mark_end(lexer);
  lexer->result_symbol = BLOCK_COMMENT;
  return true;
}

bool tree_sitter_rhai_external_scanner_scan(void *payload, TSLexer *lexer, const bool *expected) {
  (void)payload;
  if (!expected[RECOVERY]) {
    if (expected[STRING_TEXT]) return string_text(lexer);
    if (expected[TEMPLATE_TEXT]) return template_text(lexer);
    if (expected[DOC_TEXT]) {
      while (lexer->lookahead != '\n' && lexer->lookahead != '\r' && !ends(lexer)) lexer->advance(lexer, false);
      lexer->mark_end(lexer);
      lexer->result_symbol = DOC_TEXT;
      return true;
    }
    if (expected[POINT] && lexer->lookahead == '.') return point(lexer);
  }
  while (is_space(lexer->lookahead)) lexer->advance(lexer, true);
  if (expected[RAW_STRING] && lexer->lookahead == '#') return raw_string(lexer);
  return expected[BLOCK_COMMENT] && block_comment(lexer);
}
