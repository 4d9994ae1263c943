/**
 * What is different between two JSON texts, told by what is written: `1.0` and `1` are different,
 * since they are stored differently, and numbers keep all their digits.
 */

import { parse } from "./json-text.js";

/** @typedef {import("./json-text.js").Node} Node */

/**
 * A place where two values differ, or are the same: `before` and `after` are texts as written,
 * undefined where there is nothing.
 * @typedef {{names: string[], kind: "added" | "removed" | "changed" | "same",
 *   before?: string, after?: string}} Difference
 */

// Beyond that, items of arrays are compared in their places only.
const ARRAY_CELLS_MAX = 250_000;
// Who has to look at more has other means.
export const DIFFERENCES_MAX = 2_000;

/**
 * Returns where two JSON texts differ, in the order of the second, with what only the first has
 * behind what it stood behind; `isAll` adds what is the same.
 * @param {string} before
 * @param {string} after
 * @param {{isAll?: boolean}} [options]
 * @returns {{differences: Difference[], isCut: boolean}}
 */
export function differencesOf(before, after, { isAll = false } = {}) {
  /** @type {Difference[]} */
  const found = [];
  for (const each of compare(parse(before), parse(after), [], isAll)) {
    if (found.length === DIFFERENCES_MAX) {
      return { differences: found, isCut: true };
    }
    found.push(each);
  }
  return { differences: found, isCut: false };
}

/**
 * Returns an object that has all members of another one and those of a second one, which count
 * where both have them; objects in them are put together in the same way.
 * @param {string} known
 * @param {string} next
 * @returns {string}
 */
export function merged(known, next) {
  return merge(parse(known), parse(next));
}

/**
 * @param {Node | undefined} before
 * @param {Node | undefined} after
 * @param {string[]} names
 * @param {boolean} isAll
 * @returns {Generator<Difference, void, void>}
 */
function* compare(before, after, names, isAll) {
  if (before === undefined || after === undefined) {
    if (after !== undefined) {
      yield { names, kind: "added", after: after.text };
    } else if (before !== undefined) {
      yield { names, kind: "removed", before: before.text };
    }
  } else if (before.text === after.text) {
    if (isAll) {
      yield { names, kind: "same", before: before.text, after: after.text };
    }
  } else if (before.kind === "object" && after.kind === "object") {
    const ways = inOrder(membersOf(before), membersOf(after));
    let isEqual = true;
    for (const [name, left, right] of ways) {
      for (const each of compare(left, right, [...names, name], isAll)) {
        isEqual = false;
        yield each;
      }
    }
    if (isEqual) {
      // The order of members, or space between them.
      yield { names, kind: "same", before: before.text, after: after.text };
    }
  } else if (before.kind === "array" && after.kind === "array") {
    yield* compareItems(itemsOf(before), itemsOf(after), names, isAll);
  } else {
    yield { names, kind: "changed", before: before.text, after: after.text };
  }
}

/**
 * @param {Node[]} before
 * @param {Node[]} after
 * @param {string[]} names
 * @param {boolean} isAll
 * @returns {Generator<Difference, void, void>}
 */
function* compareItems(before, after, names, isAll) {
  let first = 0;
  while (before[first] !== undefined && before[first]?.text === after[first]?.text) {
    first += 1;
  }
  let last = 0;
  const shorter = Math.min(before.length, after.length) - first;
  while (last < shorter && before.at(-1 - last)?.text === after.at(-1 - last)?.text) {
    last += 1;
  }
  const left = before.slice(first, before.length - last);
  const right = after.slice(first, after.length - last);
  if (isAll) {
    yield* unchanged(after, 0, first, names);
  }
  for (const [i, j] of align(left, right)) {
    const place = String(first + (j ?? i ?? 0));
    const one = i === null ? undefined : left[i];
    const other = j === null ? undefined : right[j];
    yield* compare(one, other, [...names, place], isAll);
  }
  if (isAll) {
    yield* unchanged(after, after.length - last, after.length, names);
  }
}

/**
 * @param {Node[]} items
 * @param {number} first
 * @param {number} end
 * @param {string[]} names
 * @returns {Generator<Difference, void, void>}
 */
function* unchanged(items, first, end, names) {
  for (let index = first; index < end; index += 1) {
    const text = items[index]?.text ?? "";
    yield { names: [...names, String(index)], kind: "same", before: text, after: text };
  }
}

/**
 * Returns which items of two arrays belong together: the same ones in their order, and those
 * between them one by one.
 * @param {Node[]} left
 * @param {Node[]} right
 * @returns {[number | null, number | null][]}
 */
function align(left, right) {
  /** @type {[number, number][]} */
  const same = left.length * right.length > ARRAY_CELLS_MAX ? [] : longest(left, right);
  /** @type {[number | null, number | null][]} */
  const pairs = [];
  let i = 0;
  let j = 0;
  for (const [nextI, nextJ] of [...same, [left.length, right.length]]) {
    while (i < nextI || j < nextJ) {
      pairs.push([i < nextI ? i++ : null, j < nextJ ? j++ : null]);
    }
    if (nextI < left.length && nextJ < right.length) {
      pairs.push([i++, j++]);
    }
  }
  return pairs;
}

/**
 * The longest common subsequence, by its table.
 * @param {Node[]} left
 * @param {Node[]} right
 * @returns {[number, number][]}
 */
function longest(left, right) {
  const width = right.length + 1;
  const lengths = new Uint32Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      const at = i * width + j;
      lengths[at] =
        left[i]?.text === right[j]?.text
          ? (lengths[at + width + 1] ?? 0) + 1
          : Math.max(lengths[at + width] ?? 0, lengths[at + 1] ?? 0);
    }
  }
  /** @type {[number, number][]} */
  const pairs = [];
  let i = 0;
  let j = 0;
  while (i < left.length && j < right.length) {
    const at = i * width + j;
    if (left[i]?.text === right[j]?.text) {
      pairs.push([i++, j++]);
    } else if ((lengths[at + width] ?? 0) >= (lengths[at + 1] ?? 0)) {
      i += 1;
    } else {
      j += 1;
    }
  }
  return pairs;
}

/**
 * @param {Map<string, Node>} before
 * @param {Map<string, Node>} after
 * @returns {[string, Node | undefined, Node | undefined][]}
 */
function inOrder(before, after) {
  /** @type {[string, Node | undefined, Node | undefined][]} */
  const ways = [];
  const gone = [...before.keys()].filter((name) => !after.has(name));
  for (const [name, node] of after) {
    ways.push([name, before.get(name), node]);
  }
  for (const name of gone) {
    ways.push([name, before.get(name), undefined]);
  }
  return ways;
}

/** @param {Node} node */
function membersOf({ members = [] }) {
  return new Map(members.map(({ name, node }) => [name, node]));
}

/** @param {Node} node */
function itemsOf({ members = [] }) {
  return members.map(({ node }) => node);
}

/**
 * @param {Node} known
 * @param {Node} next
 * @returns {string}
 */
function merge(known, next) {
  if (known.kind !== "object" || next.kind !== "object") {
    return next.text;
  }
  const before = membersOf(known);
  const after = membersOf(next);
  const names = new Set([...before.keys(), ...after.keys()]);
  const members = [...names].map((name) => {
    const left = before.get(name);
    const right = after.get(name);
    const text = left && right ? merge(left, right) : (right ?? left)?.text;
    return `${JSON.stringify(name)}:${text}`;
  });
  return `{${members.join(",")}}`;
}

/**
 * Returns of what was known before the part that an event speaks of, so that what it leaves out is
 * no difference; in its order.
 * @param {string} known
 * @param {string} next
 * @returns {string}
 */
export function spokenOf(known, next) {
  return spoken(parse(known), parse(next)) ?? "{}";
}

/**
 * @param {Node | undefined} known
 * @param {Node} next
 * @returns {string | undefined}
 */
function spoken(known, next) {
  if (known?.kind !== "object" || next.kind !== "object") {
    return known?.text;
  }
  const before = membersOf(known);
  const members = [...membersOf(next)].flatMap(([name, node]) => {
    const text = spoken(before.get(name), node);
    return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`];
  });
  return `{${members.join(",")}}`;
}
