/**
 * The lexer of EventQL for an editor: one token after the other, line by line.
 *
 * It reads what the server's lexer reads (`everlog.eventql.language.lexer`), which tests hold it to,
 * but for faults: an editor goes on behind them. It has the shape that CodeMirror's `StreamLanguage`
 * takes, and needs nothing of CodeMirror.
 */

/** Reserved words, in capitals: neither aliases nor names of sources, functions and types. */
export const RESERVED_WORDS = [
  ..."FROM IN WHERE ORDER BY ASC DESC GROUP HAVING SKIP TOP PROJECT INTO DISTINCT".split(" "),
  ..."AND OR XOR NOT CONTAINS AS TRUE FALSE NULL".split(" "),
];

/** What rows can come from. */
export const SOURCES = ["events", "subjects", "eventtypes"];

/** What a value can be converted to with AS. */
export const TYPES = ["STRING", "INT", "FLOAT64", "BOOLEAN", "DATE", "TIME", "DATETIME"];

const ATOMS = new Set(["TRUE", "FALSE", "NULL"]);
const WORD_OPERATORS = new Set(["AND", "OR", "XOR", "NOT", "CONTAINS"]);
const reserved = new Set(RESERVED_WORDS);

/**
 * The part of CodeMirror's `StringStream` that is used here: a place in one line.
 * @typedef {object} Stream
 * @property {(pattern: RegExp, consume?: boolean) => RegExpMatchArray | boolean | null} match
 * @property {() => boolean} sol whether it stands at the beginning of the line
 * @property {() => boolean} eol
 * @property {() => string | undefined | void} next
 * @property {() => void} skipToEnd
 */

/**
 * What is known of the text before a place.
 * @typedef {object} State
 * @property {boolean} isInComment
 * @property {string} before the last token, words in capitals; empty at the beginning
 */

/** @returns {State} */
export function startState() {
  return { isInComment: false, before: "" };
}

/**
 * Take the next token of a line and name its style; null is what looks like plain text.
 * @param {Stream} stream
 * @param {State} state
 * @returns {string | null}
 */
export function token(stream, state) {
  if (state.isInComment) {
    return comment(stream, state);
  }
  if (stream.match(/^[ \t\r\n]+/)) {
    return null;
  }
  if (stream.match(/^\/\/.*/)) {
    return "comment";
  }
  if (stream.match(/^\/\*/)) {
    state.isInComment = true;
    return comment(stream, state);
  }
  const word = match(stream, /^[A-Za-z_][A-Za-z0-9_]*/);
  if (word) {
    return wordStyle(word, stream, state);
  }
  return other(stream, state);
}

/**
 * @param {Stream} stream
 * @param {State} state
 */
function other(stream, state) {
  if (match(stream, /^[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/)) {
    state.before = "0";
    // A number that goes on with what is no part of one: `1.`, `1e`, `12abc`.
    return stream.match(/^[0-9A-Za-z_.]+/) ? "invalid" : "number";
  }
  if (stream.match(/^(?:"[^"\r\n]*"|'[^'\r\n]*')/)) {
    state.before = '"';
    return "string";
  }
  if (stream.match(/^["'].*/)) {
    state.before = '"';
    return "invalid";
  }
  const symbol = match(stream, /^(?:==|!=|<=|>=|<(?!>)|[>+\-*/()[\]{}.,:])/);
  if (symbol) {
    state.before = symbol;
    return /^[()[\]{}.,:]$/.test(symbol) ? "punctuation" : "operator";
  }
  stream.next();
  return "invalid";
}

/**
 * @param {Stream} stream
 * @param {State} state
 */
function comment(stream, state) {
  if (stream.match(/^.*?\*\//)) {
    state.isInComment = false;
  } else {
    stream.skipToEnd();
  }
  return "comment";
}

/**
 * @param {string} word
 * @param {Stream} stream
 * @param {State} state
 */
function wordStyle(word, stream, state) {
  const before = state.before;
  const upper = word.toUpperCase();
  state.before = reserved.has(upper) ? upper : "a";
  if (before === ".") {
    state.before = "a";
    return "propertyName";
  }
  if (reserved.has(upper)) {
    return ATOMS.has(upper) ? "atom" : WORD_OPERATORS.has(upper) ? "operatorKeyword" : "keyword";
  }
  if (before === "" && upper === "EXPLAIN") {
    // No reserved word: what follows may still be the beginning.
    state.before = "";
    return "keyword";
  }
  if (before === "IN" && SOURCES.includes(word.toLowerCase())) {
    return "className";
  }
  if (before === "AS" && TYPES.includes(upper)) {
    return "typeName";
  }
  if (stream.match(/^[ \t]*\(/, false)) {
    return "variableName.function";
  }
  return stream.match(/^[ \t]*:/, false) ? "propertyName" : "variableName";
}

/**
 * @param {Stream} stream
 * @param {RegExp} pattern
 */
function match(stream, pattern) {
  const found = stream.match(pattern);
  return Array.isArray(found) ? found[0] : "";
}

/** A place in a line: what CodeMirror's stream is to an editor, for everybody else. */
class LineStream {
  /** @param {string} line */
  constructor(line) {
    this.line = line;
    this.at = 0;
  }
  /**
   * @param {RegExp} pattern
   * @param {boolean} [consume]
   */
  match(pattern, consume = true) {
    const found = this.line.slice(this.at).match(pattern);
    if (found && consume) {
      this.at += found[0].length;
    }
    return found;
  }
  sol() {
    return this.at === 0;
  }
  eol() {
    return this.at >= this.line.length;
  }
  next() {
    // A character outside the basic plane is one, as it is for the server.
    const code = this.line.codePointAt(this.at);
    this.at += code === undefined ? 0 : String.fromCodePoint(code).length;
  }
  skipToEnd() {
    this.at = this.line.length;
  }
}

/**
 * Return the tokens of a text, without blanks and comments; `at` counts UTF-16 units.
 * @param {string} text
 * @returns {{style: string, text: string, at: number}[]}
 */
export function tokenize(text) {
  const state = startState();
  const tokens = [];
  let start = 0;
  for (const line of text.split("\n")) {
    const stream = new LineStream(line);
    while (!stream.eol()) {
      const from = stream.at;
      const style = token(stream, state);
      if (style !== null && style !== "comment") {
        tokens.push({ style, text: line.slice(from, stream.at), at: start + from });
      }
    }
    start += line.length + 1;
  }
  return tokens;
}

/** What CodeMirror's `StreamLanguage.define` takes. */
export const eventql = {
  name: "eventql",
  startState,
  token,
  /** @param {State} state */
  copyState: (state) => ({ ...state }),
  languageData: {
    commentTokens: { line: "//", block: { open: "/*", close: "*/" } },
    closeBrackets: { brackets: ["(", "[", "{", "'", '"'] },
  },
};

/**
 * Return the UTF-16 offset of a place that the server names by line and column, which are counted
 * from 1 and in characters.
 * @param {string} text
 * @param {number} line
 * @param {number} column
 */
export function offsetOf(text, line, column) {
  const lines = text.split("\n");
  const before = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  const inLine = [...(lines[line - 1] ?? "")].slice(0, column - 1).join("").length;
  return Math.min(before + inLine, text.length);
}

/**
 * Return what an error of a query underlines: from its first token to the end of its last one.
 * @param {string} text
 * @param {{startToken?: Place, endToken?: Place}} details
 * @typedef {{line: number, column: number, text: string}} Place
 * @returns {{from: number, to: number} | null}
 */
export function rangeOf(text, details) {
  const { startToken, endToken } = details;
  if (!startToken) {
    return null;
  }
  const last = endToken ?? startToken;
  const from = offsetOf(text, startToken.line, startToken.column);
  const to = offsetOf(text, last.line, last.column) + last.text.length;
  // What is missing at the end has no width: the last character stands for it.
  return to > from ? { from, to: Math.min(to, text.length) } : { from: Math.max(0, from - 1), to };
}

/**
 * Return the faults that a refused query has, each with its place; the first is the one told.
 * @param {string} text
 * @param {{message: string, details?: any}} error
 * @returns {{from: number, to: number, message: string}[]}
 */
export function faultsOf(text, error) {
  const details = error.details ?? {};
  const first = rangeOf(text, details);
  const rest = Array.isArray(details.errors) ? details.errors.slice(1) : [];
  const faults = first ? [{ ...first, message: withoutPlace(error.message) }] : [];
  for (const message of rest) {
    const place = /^(\d+):(\d+): /.exec(String(message));
    if (place) {
      const from = offsetOf(text, Number(place[1]), Number(place[2]));
      const found = tokenize(text).find((each) => each.at >= from);
      const to = found && found.at === from ? from + found.text.length : from + 1;
      faults.push({ from, to: Math.min(to, text.length), message: withoutPlace(message) });
    }
  }
  return faults;
}

/** @param {string} message */
function withoutPlace(message) {
  return String(message).replace(/^\d+:\d+: /, "");
}
