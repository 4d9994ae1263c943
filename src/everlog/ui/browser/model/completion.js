/**
 * What an editor of EventQL offers at a place: clauses, sources, functions with their help, fields,
 * event types and subjects.
 *
 * Pure: whoever calls it says what is known of the store. What is a completion here is what
 * CodeMirror takes as one, without needing CodeMirror.
 */

import { FUNCTIONS } from "./functions.js";
import { RESERVED_WORDS, SOURCES, TYPES, tokenize } from "./highlight.js";

/**
 * @typedef {object} Known
 * @property {string[]} types
 * @property {string[]} subjects
 * @property {string[]} fields paths below an event, such as `data.title`
 */

/**
 * @typedef {{label: string, type: string, detail?: string, info?: string, apply?: string}} Completion
 * An offer replaces what stands between `from` and the place, and so much after it.
 * @typedef {{from: number, options: Completion[], wants: string | null, after?: number}} Offer
 */

/** The fields of an event itself. */
export const EVENT_FIELDS = [
  ..."specversion id time source subject type datacontenttype data".split(" "),
  ..."predecessorhash hash traceparent tracestate signature".split(" "),
];

const PATH = /([A-Za-z_][A-Za-z0-9_]*)((?:\.[A-Za-z_][A-Za-z0-9_]*)*)\.([A-Za-z_0-9]*)$/;
const CLAUSES = ["FROM", "WHERE", "ORDER BY", "GROUP BY", "HAVING", "SKIP", "TOP", "PROJECT INTO"];

/**
 * Return what is offered at a place, null where nothing is: in comments, behind numbers.
 * @param {string} text
 * @param {number} at
 * @param {Known} known
 * @param {boolean} isAsked whether a person asked for it, though nothing is typed yet
 * @returns {Offer | null}
 */
export function complete(text, at, known, isAsked = false) {
  const before = text.slice(0, at);
  const place = openString(before);
  if (place.kind === "comment") {
    return null;
  }
  if (place.kind === "string") {
    return inString(text, before, place.from, at, known);
  }
  const path = PATH.exec(before);
  if (path) {
    return fieldsAt(path, at, text, known);
  }
  const word = /[A-Za-z_][A-Za-z0-9_]*$/.exec(before)?.[0] ?? "";
  if (!word && !isAsked) {
    return null;
  }
  if (/[0-9]$/.test(before.slice(0, at - word.length))) {
    return null;
  }
  return { from: at - word.length, options: words(before, word), wants: null };
}

/**
 * Return the names of sources that a text defines, such as `e` of `FROM e IN events`.
 * @param {string} text
 * @returns {{alias: string, source: string}[]}
 */
export function aliasesOf(text) {
  const tokens = tokenize(text);
  const found = [];
  for (let index = 0; index + 3 < tokens.length; index++) {
    const [from, alias, within, source] = tokens.slice(index, index + 4);
    if (is(from, "FROM") && is(within, "IN")) {
      found.push({ alias: alias.text, source: source.text.toLowerCase() });
    }
  }
  return found;
}

/**
 * Return the event types that a text compares with, so that fields can be those of such events.
 * @param {string} text
 */
export function typesIn(text) {
  return [...text.matchAll(/\.type\s*==\s*(?:"([^"\r\n]*)"|'([^'\r\n]*)')/gi)].map(
    (match) => match[1] ?? match[2],
  );
}

/**
 * Return the paths of all fields of values, with arrays as one, in the order of their first sight.
 * @param {Iterable<unknown>} values
 * @param {number} countMax
 * @returns {string[]}
 */
export function fieldsOf(values, countMax = 500) {
  /** @type {Set<string>} */
  const found = new Set();
  /** @type {(value: unknown, path: string, depth: number) => void} */
  const look = (value, path, depth) => {
    if (typeof value !== "object" || value === null || Array.isArray(value) || depth > 8) {
      return;
    }
    for (const [name, member] of Object.entries(value)) {
      // Other names cannot be written in a path.
      if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && found.size < countMax) {
        found.add(`${path}.${name}`);
        look(member, `${path}.${name}`, depth + 1);
      }
    }
  };
  for (const value of values) {
    look(value, "data", 0);
  }
  return [...found];
}

/**
 * Tell whether a text ends within a string or a comment, and where that begins.
 * @param {string} before
 */
function openString(before) {
  const pieces = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"[^"\r\n]*("?)|'[^'\r\n]*('?)/g;
  for (const piece of before.matchAll(pieces)) {
    const reachesEnd = piece.index + piece[0].length === before.length;
    const isComment = piece[0].startsWith("/");
    if (reachesEnd && isComment && !/^\/\*[\s\S]*\*\/$/.test(piece[0])) {
      return { kind: "comment", from: piece.index };
    }
    if (reachesEnd && !isComment && !piece[1] && !piece[2]) {
      return { kind: "string", from: piece.index };
    }
  }
  return { kind: "code", from: 0 };
}

/**
 * Offer event types or subjects within quotes, as what stands before them asks for.
 * @param {string} text
 * @param {string} before
 * @param {number} from
 * @param {number} at
 * @param {Known} known
 * @returns {Offer | null}
 */
function inString(text, before, from, at, known) {
  const quote = before[from];
  const code = before.slice(0, from).trimEnd();
  const rest = /^[^"'\r\n]*/.exec(text.slice(at))?.[0] ?? "";
  const isClosed = text[at + rest.length] === quote;
  // Who takes a name goes on behind the string: what is left of it is replaced, too.
  const after = isClosed ? rest.length + 1 : 0;
  const field = /\.([A-Za-z_]+)\s*(?:==|!=|,|<=?|>=?)$/.exec(code)?.[1]?.toLowerCase();
  const isList = /\[(?:\s*(?:"[^"]*"|'[^']*')\s*,)*\s*$/.test(code);
  const follows = isList
    ? /^[^\]]*\]\s*CONTAINS\s+[A-Za-z_]\w*\.(\w+)/i.exec(text.slice(at))?.[1]
    : undefined;
  const wanted = field ?? follows?.toLowerCase() ?? (isList ? "type" : undefined);
  const names = wanted === "type" ? known.types : wanted === "subject" ? known.subjects : null;
  if (!names) {
    return null;
  }
  const kind = wanted === "type" ? "enum" : "constant";
  const options = names.map((label) => ({ label, type: kind, apply: label + quote }));
  return { from: from + 1, options, wants: wanted ?? null, after };
}

/**
 * @param {RegExpExecArray} path
 * @param {number} at
 * @param {string} text
 * @param {Known} known
 * @returns {Offer | null}
 */
function fieldsAt(path, at, text, known) {
  const [, alias, middle, typed] = path;
  const source = aliasesOf(text).find((each) => each.alias === alias)?.source;
  if (source !== "events" && source !== undefined) {
    return null;
  }
  const parent = middle.slice(1);
  const prefix = parent ? `${parent}.` : "";
  const names = parent ? [] : EVENT_FIELDS;
  const below = known.fields.filter((field) => field.startsWith(prefix));
  const next = below.map((field) => field.slice(prefix.length).split(".")[0]);
  const options = [...new Set([...names, ...next])].map((label) => ({ label, type: "property" }));
  return { from: at - typed.length, options, wants: "field" };
}

/**
 * @param {string} before
 * @param {string} word
 * @returns {Completion[]}
 */
function words(before, word) {
  const tokens = tokenize(before.slice(0, before.length - word.length));
  const last = tokens.at(-1);
  if (last && is(last, "IN")) {
    return SOURCES.map((label) => ({ label, type: "class", detail: "source" }));
  }
  if (last && is(last, "AS")) {
    return TYPES.map((label) => ({ label, type: "type", detail: "converts to" }));
  }
  if (last && is(last, "FROM")) {
    return [
      { label: "e", type: "variable", detail: "a name for each event", apply: "e IN events" },
    ];
  }
  const functions = FUNCTIONS.map((each) => ({
    label: each.name,
    type: "function",
    detail: each.signature.slice(each.name.length),
    info: helpOf(each),
    apply: each.signature.startsWith(`${each.name}()`) ? `${each.name}()` : `${each.name}(`,
  }));
  const aliases = aliasesOf(before).map(({ alias, source }) => ({
    label: alias,
    type: "variable",
    detail: `from ${source}`,
  }));
  const clauses = CLAUSES.map((label) => ({ label, type: "keyword", apply: `${label} ` }));
  const inClauses = new Set(CLAUSES.flatMap((clause) => clause.split(" ")));
  const others = RESERVED_WORDS.filter((each) => !inClauses.has(each));
  const keywords = [...others, ...(tokens.length ? [] : ["EXPLAIN"])];
  const rest = keywords.map((label) => ({ label, type: "keyword" }));
  return [...aliases, ...clauses, ...rest, ...functions];
}

/**
 * Return the help for a function: what it is, and examples.
 * @param {{signature: string, summary: string, examples: string[][]}} entry
 */
export function helpOf(entry) {
  const examples = entry.examples.map(([call, value]) => `${call}  =  ${value}`);
  return [entry.signature, entry.summary, ...examples].join("\n");
}

/**
 * @param {{style: string, text: string}} token
 * @param {string} word
 */
function is(token, word) {
  return token.style !== "string" && token.text.toUpperCase() === word;
}
