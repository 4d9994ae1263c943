/**
 * Fields of events as people write them, which is how EventQL writes them: `time`, `data.title`,
 * `data."first name".0`; and what an event has there, exactly as it is stored.
 */

import { parse } from "./json-text.js";

/** @typedef {import("./json-text.js").Node} Node */

/** What an event has besides `data`. */
export const FIELDS = [
  "id",
  "time",
  "subject",
  "type",
  "source",
  "hash",
  "predecessorhash",
  "signature",
  "traceparent",
  "tracestate",
  "specversion",
  "datacontenttype",
];

const IDENTIFIER = /^[A-Za-z_][0-9A-Za-z_]*$/;
const SEGMENT = /\.(?:"([^"]*)"|'([^']*)'|([^."']+))/y;

/**
 * Returns the names that lead to a field of `data`, or null where the text is no such field.
 * @param {string} text
 * @returns {string[] | null}
 */
export function pathOf(text) {
  if (!text.startsWith("data")) {
    return null;
  }
  const names = [];
  SEGMENT.lastIndex = 4;
  while (SEGMENT.lastIndex < text.length) {
    const found = SEGMENT.exec(text);
    if (found === null) {
      return null;
    }
    names.push(found[1] ?? found[2] ?? found[3] ?? "");
  }
  return names;
}

/**
 * Returns how a field of `data` is written; null where a name has both kinds of quotes.
 * @param {string[]} names
 * @returns {string | null}
 */
export function fieldOf(names) {
  let text = "data";
  for (const name of names) {
    if (IDENTIFIER.test(name)) {
      text += `.${name}`;
    } else if (!name.includes('"')) {
      text += `."${name}"`;
    } else if (!name.includes("'")) {
      text += `.'${name}'`;
    } else {
      return null;
    }
  }
  return text;
}

/**
 * Tells whether a text names a field.
 * @param {string} text
 */
export function isField(text) {
  return FIELDS.includes(text) || pathOf(text) !== null;
}

/**
 * Returns what is in a field of an event as text: strings as what they say, everything else as it
 * is stored. It is null where there is nothing.
 * @param {{raw: string}} event
 * @param {string} field
 * @returns {{text: string, kind: Node["kind"]} | null}
 */
export function fieldValue(event, field) {
  const names = pathOf(field);
  if (names === null) {
    const value = /** @type {Record<string, unknown>} */ (event)[field];
    return value === undefined || value === null ? null : { text: String(value), kind: "string" };
  }
  if (names.length === 0) {
    return { text: event.raw, kind: "object" };
  }
  const node = descend(parse(event.raw), names);
  return node === null ? null : { text: node.value ?? node.text, kind: node.kind };
}

/**
 * @param {Node} top
 * @param {string[]} names
 * @returns {Node | null}
 */
function descend(top, names) {
  let node = top;
  for (const name of names) {
    // Of two members with one name, the last one counts for those who parse.
    const member = node.members?.findLast((each) => each.name === name);
    if (member === undefined) {
      return null;
    }
    node = member.node;
  }
  return node;
}
