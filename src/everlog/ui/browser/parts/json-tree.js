/** JSON as a tree that opens and closes; numbers stay as they are written. */

import { html } from "everlog/html";
import { useMemo, useRef, useState } from "preact/hooks";
import { parse } from "../model/json-text.js";

const OPEN_DEPTH = 3;
const OPEN_ROWS = 200;
const SHOWN_LETTERS = 400;
const SHOWN_MEMBERS = 100;

// What directs or hides text without being seen; it is shown as its number.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** @typedef {import("../model/json-text.js").Node} Node */
/** @typedef {{path: string, name: string | null, node: Node, level: number, rest?: number}} Row */

/** @param {{text: string, label?: string}} props */
export function JsonTree({ text, label = "Data" }) {
  const root = useMemo(() => {
    try {
      return parse(text);
    } catch {
      return null;
    }
  }, [text]);
  // What a person opened or closed; all else is as it was in the beginning.
  const [toggled, setToggled] = useState(/** @type {Map<string, boolean>} */ (new Map()));
  const [more, setMore] = useState(/** @type {Map<string, number>} */ (new Map()));
  const [active, setActive] = useState("$");
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  if (root === null) {
    return html`<pre class="code">${text}</pre>`;
  }
  const isSmall = count(root, OPEN_ROWS) < OPEN_ROWS;
  /** @param {Row} row */
  const isOpen = ({ path, level }) =>
    toggled.get(path) ?? (level === 0 || (isSmall && level < OPEN_DEPTH));
  /** @type {Row[]} */
  const rows = [];
  list({ path: "$", name: null, node: root, level: 0 }, isOpen, more, rows);

  /**
   * @param {Row} row
   * @param {boolean} [open]
   */
  const toggle = (row, open = !isOpen(row)) => setToggled(new Map(toggled).set(row.path, open));
  /** @param {Row} row */
  const showMore = (row) => {
    const owner = ownerOf(row);
    setMore(new Map(more).set(owner, shownOf(more, owner) * 10));
  };
  /** @param {Row | undefined} row */
  const focus = (row) => {
    if (row !== undefined) {
      setActive(row.path);
      const index = rows.indexOf(row);
      /** @type {HTMLElement | undefined} */
      (element.current?.querySelectorAll('[role="treeitem"]')[index])?.focus();
    }
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const index = Math.max(
      0,
      rows.findIndex(({ path }) => path === active),
    );
    const row = rows[index];
    const opens = isContainer(row.node) && row.rest === undefined;
    const actions = {
      ArrowDown: () => focus(rows[index + 1]),
      ArrowUp: () => focus(rows[index - 1]),
      Home: () => focus(rows[0]),
      End: () => focus(rows[rows.length - 1]),
      ArrowRight: () => (opens && !isOpen(row) ? toggle(row, true) : focus(rows[index + 1])),
      ArrowLeft: () => (opens && isOpen(row) ? toggle(row, false) : focus(parentOf(rows, index))),
    };
    const action = actions[/** @type {keyof typeof actions} */ (event.key)];
    if (action !== undefined && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      action();
    }
  };
  const present = rows.some(({ path }) => path === active) ? active : "$";
  return html`<div class="json" role="tree" aria-label=${label} onKeyDown=${press} ref=${element}>
    ${rows.map(
      (row) => html`<div key=${row.path} role="treeitem" aria-level=${row.level + 1}
        aria-expanded=${isContainer(row.node) && row.rest === undefined ? isOpen(row) : undefined}
        tabindex=${row.path === present ? 0 : -1} style=${{ "--level": row.level }}
        onFocus=${() => setActive(row.path)}>
        ${
          row.rest === undefined
            ? html`<${Entry} row=${row} isOpen=${isOpen(row)} onToggle=${() => toggle(row)} />`
            : html`<span class="twist"></span><button type="button" class="quiet"
                onClick=${() => showMore(row)}>
                ${row.rest.toLocaleString("en")} more</button>`
        }
      </div>`,
    )}
  </div>`;
}

/** @param {{row: Row, isOpen: boolean, onToggle: () => void}} props */
function Entry({ row, isOpen, onToggle }) {
  const { name, node } = row;
  const isBoth = isContainer(node) && (node.members ?? []).length > 0;
  const key =
    name === null
      ? null
      : html`<span class="key"><${Letters} text=${name} /></span>
          <span class="punctuation">:${" "}</span>`;
  return html`<span class="twist" aria-hidden="true" onClick=${isBoth ? onToggle : undefined}>
      ${isBoth ? (isOpen ? "▾" : "▸") : ""}</span>
    <span class="entry" onClick=${isBoth && !isOpen ? onToggle : undefined}
      >${key}<${Value} node=${node} isOpen=${isOpen} /></span>`;
}

/** @param {{node: Node, isOpen: boolean}} props */
function Value({ node, isOpen }) {
  const size = (node.members ?? []).length;
  if (node.kind === "object" || node.kind === "array") {
    const [open, close] = node.kind === "object" ? "{}" : "[]";
    if (size === 0) {
      return html`<span class="punctuation">${open}${close}</span>`;
    }
    const word = node.kind === "object" ? "member" : "item";
    const words = `${size.toLocaleString("en")} ${word}${size === 1 ? "" : "s"}`;
    const shown = isOpen ? open : `${open} … ${close}`;
    return html`<span class="punctuation">${shown}</span>${" "}
      <span class="count small">${words}</span>`;
  }
  if (node.kind === "string") {
    return html`<span class="string">"<${Letters} text=${node.value ?? ""} />"</span>`;
  }
  return html`<span class=${node.kind}>${node.text}</span>`;
}

/**
 * Text that somebody else wrote: long ones are shown in part, hidden letters as their numbers.
 * @param {{text: string}} props
 */
export function Letters({ text }) {
  const [isWhole, setWhole] = useState(false);
  const isLong = text.length > 1.5 * SHOWN_LETTERS;
  const shown = isLong && !isWhole ? text.slice(0, SHOWN_LETTERS) : text;
  return html`${visible(shown)}${
    isLong
      ? html`${isWhole ? " " : "… "}<button type="button" class="quiet small"
          onClick=${() => setWhole(!isWhole)}>${
            isWhole ? "show less" : `show all ${text.length.toLocaleString("en")} letters`
          }</button>`
      : null
  }`;
}

/** @param {string} text */
function visible(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match[0] === "\n") {
      continue;
    }
    const code = match[0].charCodeAt(0).toString(16).padStart(4, "0");
    parts.push(
      text.slice(from, match.index),
      html`<span class="control" title="U+${code}">\\u${code}</span>`,
    );
    from = match.index + 1;
  }
  parts.push(text.slice(from));
  return parts;
}

/**
 * @param {Row} row
 * @param {(row: Row) => boolean} isOpen
 * @param {Map<string, number>} more
 * @param {Row[]} rows
 */
function list(row, isOpen, more, rows) {
  rows.push(row);
  const { node, path, level } = row;
  if (!isContainer(node) || !isOpen(row)) {
    return;
  }
  const members = node.members ?? [];
  const shown = shownOf(more, path);
  for (const [index, { name, node: each }] of members.slice(0, shown).entries()) {
    list({ path: `${path}.${index}`, name, node: each, level: level + 1 }, isOpen, more, rows);
  }
  if (members.length > shown) {
    rows.push({
      path: `${path}.more`,
      name: null,
      node,
      level: level + 1,
      rest: members.length - shown,
    });
  }
}

/**
 * @param {Map<string, number>} more
 * @param {string} path
 */
function shownOf(more, path) {
  return more.get(path) ?? SHOWN_MEMBERS;
}

/** @param {Row} row */
function ownerOf({ path }) {
  return path.slice(0, -".more".length);
}

/**
 * @param {Row[]} rows
 * @param {number} index
 */
function parentOf(rows, index) {
  return rows.slice(0, index).findLast(({ level }) => level < rows[index].level);
}

/** @param {Node} node */
function isContainer({ kind }) {
  return kind === "object" || kind === "array";
}

/**
 * @param {Node} node
 * @param {number} enough
 * @returns {number}
 */
function count(node, enough) {
  let sum = 1;
  for (const { node: each } of node.members ?? []) {
    if (sum >= enough) {
      break;
    }
    sum += count(each, enough);
  }
  return sum;
}
