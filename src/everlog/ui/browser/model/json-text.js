/**
 * JSON as it is written: numbers keep their digits, members their order, also where one comes
 * twice. What `JSON.parse` makes of it is what a program wants, not what is stored.
 */

/**
 * A value of a JSON text: `text` is its own text. Of a string, `value` is what it says; of arrays
 * and objects, `members` are what is in them.
 * @typedef {{kind: "object" | "array" | "string" | "number" | "boolean" | "null", text: string,
 *   value?: string, members?: {name: string, node: Node}[]}} Node
 */

/**
 * Returns the value that a text is.
 * @param {string} text
 * @returns {Node}
 * @throws {SyntaxError} It is not JSON.
 */
export function parse(text) {
  // It judges the whole text, faster than we could; what follows need not look for faults.
  JSON.parse(text);
  return new Reader(text).value();
}

/**
 * Returns the text of a member of an object, exactly as it is written, or undefined.
 * @param {string} text The text of an object.
 * @param {string} name A name without letters that JSON would escape.
 */
export function memberText(text, name) {
  /** @type {string | undefined} */
  let found;
  eachMember(text, (key, start, end) => {
    if (found === undefined && key === name) {
      found = text.slice(start, end);
    }
  });
  return found;
}

/**
 * Calls a function with the name of each member of an object and where its value begins and ends.
 * @param {string} text
 * @param {(key: string, start: number, end: number) => void} visit
 */
export function eachMember(text, visit) {
  let at = skipSpace(text, skipSpace(text, 0) + 1);
  while (at < text.length && text[at] !== "}") {
    const keyEnd = endOfString(text, at);
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = endOfValue(text, start);
    visit(JSON.parse(text.slice(at, keyEnd)), start, end);
    at = skipSpace(text, end);
    if (text[at] === ",") {
      at = skipSpace(text, at + 1);
    }
  }
}

/**
 * Returns a text with line breaks and two spaces for each level, and all else as it was.
 * @param {string} text
 */
export function indented(text) {
  return write(parse(text), "");
}

/**
 * @param {Node} node
 * @param {string} indent
 * @returns {string}
 */
function write(node, indent) {
  const members = node.members ?? [];
  if (members.length === 0) {
    return node.kind === "object" ? "{}" : node.kind === "array" ? "[]" : node.text;
  }
  const inner = `${indent}  `;
  const isObject = node.kind === "object";
  const lines = members.map(
    ({ name, node: each }) =>
      `${inner}${isObject ? `${JSON.stringify(name)}: ` : ""}${write(each, inner)}`,
  );
  return `${isObject ? "{" : "["}\n${lines.join(",\n")}\n${indent}${isObject ? "}" : "]"}`;
}

const SPACE = new Set([" ", "\t", "\n", "\r"]);
const END_OF_WORD = /[,\]}\s]/g;

/**
 * @param {string} text
 * @param {number} at
 */
function skipSpace(text, at) {
  let next = at;
  while (SPACE.has(text[next])) {
    next += 1;
  }
  return next;
}

/**
 * @param {string} text
 * @param {number} at Where its quote is.
 */
function endOfString(text, at) {
  let end = text.indexOf('"', at + 1);
  while (isEscaped(text, end)) {
    end = text.indexOf('"', end + 1);
  }
  return end + 1;
}

/**
 * @param {string} text
 * @param {number} at
 */
function isEscaped(text, at) {
  let first = at;
  while (text[first - 1] === "\\") {
    first -= 1;
  }
  return (at - first) % 2 === 1;
}

/**
 * @param {string} text
 * @param {number} at
 */
function endOfValue(text, at) {
  const first = text[at];
  if (first === '"') {
    return endOfString(text, at);
  }
  if (first !== "{" && first !== "[") {
    END_OF_WORD.lastIndex = at;
    return END_OF_WORD.exec(text)?.index ?? text.length;
  }
  let depth = 0;
  let next = at;
  do {
    const letter = text[next];
    if (letter === '"') {
      next = endOfString(text, next);
      continue;
    }
    if (letter === "{" || letter === "[") {
      depth += 1;
    } else if (letter === "}" || letter === "]") {
      depth -= 1;
    }
    next += 1;
  } while (depth > 0);
  return next;
}

const WORDS = /** @type {const} */ ({ t: "boolean", f: "boolean", n: "null" });

/** Reads a text that is known to be JSON. */
class Reader {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = skipSpace(text, 0);
  }

  /** @returns {Node} */
  value() {
    const start = this.at;
    const first = this.text[start];
    if (first === "{" || first === "[") {
      return this.container(first === "{");
    }
    this.at = endOfValue(this.text, start);
    const text = this.text.slice(start, this.at);
    if (first === '"') {
      return { kind: "string", text, value: JSON.parse(text) };
    }
    return { kind: WORDS[/** @type {"t"} */ (first)] ?? "number", text };
  }

  /**
   * @param {boolean} isObject
   * @returns {Node}
   */
  container(isObject) {
    const start = this.at;
    const members = [];
    this.at = skipSpace(this.text, start + 1);
    while (this.text[this.at] !== (isObject ? "}" : "]")) {
      /** @type {string} */
      const name = isObject ? this.name() : String(members.length);
      members.push({ name, node: this.value() });
      this.at = skipSpace(this.text, this.at);
      if (this.text[this.at] === ",") {
        this.at = skipSpace(this.text, this.at + 1);
      }
    }
    this.at += 1;
    const text = this.text.slice(start, this.at);
    return { kind: isObject ? "object" : "array", text, members };
  }

  /** @returns {string} */
  name() {
    const end = endOfString(this.text, this.at);
    const name = JSON.parse(this.text.slice(this.at, end));
    this.at = skipSpace(this.text, skipSpace(this.text, end) + 1);
    return name;
  }
}
