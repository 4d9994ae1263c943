/**
 * Saving what a filter means as a file, however much it is: it is read piece by piece, and the
 * pieces are handed to the browser, which keeps large ones on the disk.
 */

import { html } from "everlog/html";
import { useEffect, useRef, useState } from "preact/hooks";
import { events } from "../api.js";
import { size, whole } from "../model/amounts.js";
import { lineOf } from "../model/csv.js";
import { fieldValue } from "../model/field.js";
import { Field, Notice } from "./basics.js";
import { Dialog } from "./dialog.js";

/** @typedef {import("../api.js").EventItem} EventItem */
/** @typedef {import("../api.js").Selection} Selection */
/** @typedef {"ndjson" | "json" | "csv"} Form */

// A tab is no place for more: curl writes to a file.
const SIZE_MAX = 1024 * 1024 * 1024;
const PIECE_LETTERS = 1024 * 1024;
const TOLD_MS = 200;

/** @type {Record<Form, {label: string, type: string}>} */
const FORMS = {
  ndjson: { label: "NDJSON: one event per line, as stored", type: "application/x-ndjson" },
  json: { label: "JSON: one array of events, as stored", type: "application/json" },
  csv: { label: "CSV: the columns of the table, for spreadsheets", type: "text/csv" },
};

/**
 * @param {{selection: Selection, columns: string[], name: string, onClose: () => void}} props
 */
export function Export({ selection, columns, name, onClose }) {
  const [form, setForm] = useState(/** @type {Form} */ ("ndjson"));
  const [state, setState] = useState(
    /** @type {{count: number, size: number, end: "" | "running" | "done" | "full" | "error",
     *   error?: unknown}} */ ({ count: 0, size: 0, end: "" }),
  );
  const ended = useRef(/** @type {AbortController | null} */ (null));
  useEffect(() => () => ended.current?.abort(), []);
  const run = async () => {
    const mine = new AbortController();
    ended.current = mine;
    setState({ count: 0, size: 0, end: "running" });
    let last = { count: 0, size: 0 };
    try {
      const { blob, isFull } = await collect(form, columns, selection, mine.signal, (now) => {
        last = now;
        setState({ ...now, end: "running" });
      });
      if (!mine.signal.aborted) {
        save(`${name}.${form}`, blob);
        setState({ ...last, size: blob.size, end: isFull ? "full" : "done" });
      }
    } catch (error) {
      if (!mine.signal.aborted) {
        setState({ ...last, end: "error", error });
      }
    }
  };
  const cancel = () => {
    ended.current?.abort();
    setState({ count: 0, size: 0, end: "" });
  };
  const isRunning = state.end === "running";
  const told = `${whole(state.count)} events, ${size(state.size)}`;
  return html`<${Dialog} title="Download all that the filter means" onClose=${onClose}
    actions=${html`
      ${
        isRunning
          ? html`<button type="button" onClick=${cancel}>Cancel</button>`
          : html`<button type="button" onClick=${onClose}>Close</button>
              <button type="button" class="primary" onClick=${run}>Download</button>`
      }`}>
    <${Field} label="Form">${(/** @type {any} */ attributes) => html`<select ...${attributes}
      disabled=${isRunning} value=${form}
        onChange=${(/** @type {any} */ event) => setForm(event.currentTarget.value)}>
      ${Object.entries(FORMS).map(
        ([key, { label }]) => html`<option key=${key} value=${key}>
        ${label}</option>`,
      )}
    </select>`}<//>
    ${
      form === "csv"
        ? html`<p class="muted small">Columns: ${columns.join(", ")}. A text that a spreadsheet
          would
            compute gets an apostrophe in front.</p>`
        : null
    }
    ${
      isRunning
        ? html`<div class="row" role="status"><span class="spinner" aria-hidden="true">
      </span>${told}</div>`
        : null
    }
    ${state.end === "done" ? html`<${Notice} kind="good" title="Saved.">${told}<//>` : null}
    ${
      state.end === "full"
        ? html`<${Notice} kind="warning" title="Saved in part.">
          ${told}. A tab takes no more: for all
            of it, use the command below the table.<//>`
        : null
    }
    ${
      state.end === "error"
        ? html`<${Notice} kind="bad" title="Nothing was saved.">
            ${state.error instanceof Error ? state.error.message : String(state.error)} ${told} had
              come.<//>`
        : null
    }
  <//>`;
}

/**
 * @param {Form} form
 * @param {string[]} columns
 * @param {Selection} selection
 * @param {AbortSignal} signal
 * @param {(now: {count: number, size: number}) => void} tell
 * @returns {Promise<{blob: Blob, isFull: boolean}>}
 */
async function collect(form, columns, selection, signal, tell) {
  /** @type {Blob} */
  let blob = new Blob([], { type: FORMS[form].type });
  let piece =
    form === "json"
      ? "["
      : form === "csv"
        ? lineOf(columns.map((text) => ({ text, kind: "string" })))
        : "";
  let count = 0;
  let toldAt = 0;
  const flush = () => {
    blob = new Blob([blob, piece], { type: blob.type });
    piece = "";
  };
  let isFull = false;
  for await (const event of events(selection, { signal })) {
    piece += written(form, columns, event, count === 0);
    count += 1;
    if (piece.length > PIECE_LETTERS) {
      flush();
      isFull = blob.size > SIZE_MAX;
    }
    const now = performance.now();
    if (now - toldAt > TOLD_MS) {
      toldAt = now;
      tell({ count, size: blob.size + piece.length });
    }
    if (isFull) {
      break;
    }
  }
  piece += form === "json" ? "\n]\n" : "";
  flush();
  tell({ count, size: blob.size });
  return { blob, isFull };
}

/**
 * @param {Form} form
 * @param {string[]} columns
 * @param {EventItem} event
 * @param {boolean} isFirst
 */
function written(form, columns, event, isFirst) {
  if (form === "ndjson") {
    return `${event.text}\n`;
  }
  if (form === "json") {
    return `${isFirst ? "\n" : ",\n"}${event.text}`;
  }
  return lineOf(columns.map((column) => fieldValue(event, column)));
}

/**
 * @param {string} name
 * @param {Blob} blob
 */
function save(name, blob) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}
