/** Queries that are kept in this browser: saved ones, those that ran, and some to begin with. */

import { html } from "everlog/html";
import { useState } from "preact/hooks";
import { faultOfSaving, forget, readQueries, save } from "../model/queries.js";
import { Empty, Field, Tabs } from "./basics.js";
import { Dialog } from "./dialog.js";
import { Icon } from "./icons.js";
import { toast } from "./toasts.js";

/** @typedef {import("@preact/signals").Signal<import("../model/queries.js").Queries>} Kept */

const EXAMPLES = [
  ["Latest events", "FROM e IN events\nORDER BY e.time DESC\nTOP 100\nPROJECT INTO e"],
  [
    "Events of each type",
    "FROM e IN events\nGROUP BY e.type\nORDER BY COUNT() DESC\nPROJECT INTO { type: e.type, count: COUNT() }",
  ],
  [
    "Events of each day",
    "FROM e IN events\nGROUP BY SUBSTRING(e.time AS STRING, 0, 10)\nPROJECT INTO {\n  day: SUBSTRING(e.time AS STRING, 0, 10),\n  count: COUNT()\n}",
  ],
  [
    "Busiest subjects",
    "FROM e IN events\nGROUP BY e.subject\nORDER BY COUNT() DESC\nTOP 20\nPROJECT INTO { subject: e.subject, count: COUNT() }",
  ],
  [
    "All subjects below one",
    "FROM s IN subjects\nWHERE STARTSWITH(s, '/')\nTOP 100\nPROJECT INTO s",
  ],
];

/**
 * @param {{queries: Kept, onTake: (text: string) => void, onRun: (text: string) => void}} props
 */
export function KeptQueries({ queries, onTake, onRun }) {
  const { saved, history } = readQueries(queries.value);
  const [selected, setSelected] = useState("");
  const first = saved.length > 0 ? "saved" : "examples";
  const tab = selected || first;
  const tabs = [
    { key: "saved", label: "Saved" },
    { key: "history", label: "History" },
    { key: "examples", label: "Examples" },
  ];
  const remove = (/** @type {string} */ name) => {
    const before = queries.value;
    queries.value = forget(readQueries(before), name);
    const undo = () => {
      queries.value = before;
    };
    toast(
      `“${name}” is not kept any more.`,
      html`<button type="button" class="small" onClick=${undo}>Undo</button>`,
    );
  };
  const entry = (/** @type {{name: string | null, text: string, note?: string}} */ each) => html`
    <${Entry} ...${each} onTake=${onTake} onRun=${onRun}
      onRemove=${tab === "saved" ? () => remove(each.name ?? "") : undefined} />`;
  const shown = /** @type {Record<string, any[]>} */ ({
    saved: saved.map(entry),
    history: history.map(({ text, at }) =>
      entry({ name: null, text, note: new Date(at).toLocaleString() }),
    ),
    examples: EXAMPLES.map(([name, text]) => entry({ name, text })),
  })[tab];
  return html`<aside class="card kept" aria-label="Queries that are kept">
    <${Tabs} tabs=${tabs} selected=${tab} onSelect=${setSelected} label="Queries that are kept">
      ${
        shown.length > 0
          ? html`<ul>${shown}</ul>`
          : html`<${Empty} title=${tab === "saved" ? "None is saved" : "None has run"}>
        <p class="small">${tab === "saved" ? "Save a query to find it here again." : "What you run is kept here."} Only this browser knows it.</p><//>`
      }
    <//>
  </aside>`;
}

/**
 * @param {{name: string | null, text: string, note?: string, onTake: (text: string) => void,
 *   onRun: (text: string) => void, onRemove?: () => void}} props
 */
function Entry({ name, text, note, onTake, onRun, onRemove }) {
  const label = name ?? text.replace(/\s+/g, " ");
  return html`<li>
    <button type="button" class="take" title=${text} onClick=${() => onTake(text)}>
      ${name === null ? null : html`<span class="truncate">${name}</span>`}
      <code class="truncate muted">${text.replace(/\s+/g, " ")}</code>
      ${note === undefined ? null : html`<span class="small muted">${note}</span>`}
    </button>
    <button type="button" class="quiet small" onClick=${() => onRun(text)} aria-label="Run ${label}">Run</button>
    ${
      onRemove === undefined
        ? null
        : html`<button type="button" class="quiet small icon" aria-label="Remove ${label}" title="Remove"
            onClick=${onRemove}><${Icon} name="close" /></button>`
    }
  </li>`;
}

/** @param {{queries: Kept, text: string, onClose: () => void}} props */
export function SaveDialog({ queries, text, onClose }) {
  const all = readQueries(queries.value);
  const [name, setName] = useState(all.saved.find((each) => each.text === text.trim())?.name ?? "");
  const [fault, setFault] = useState(/** @type {string | null} */ (null));
  const isKnown = all.saved.some((each) => each.name === name.trim());
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const wrong = faultOfSaving(all, name.trim(), text);
    setFault(wrong);
    if (wrong === null) {
      queries.value = save(all, name.trim(), text);
      toast(`“${name.trim()}” is saved in this browser.`);
      onClose();
    }
  };
  return html`<${Dialog} title="Save this query" onClose=${onClose}>
    <form class="stack" onSubmit=${submit}>
      <${Field} label="Name" fault=${fault} hint="Only this browser knows it. To share a query, copy its link.">
        ${(
          /** @type {any} */ attributes,
        ) => html`<input ...${attributes} value=${name} autofocus autocomplete="off"
          onInput=${(/** @type {any} */ event) => setName(event.target.value)} />`}
      <//>
      <footer>
        <button type="button" onClick=${onClose}>Cancel</button>
        <button type="submit" class="primary">${isKnown ? "Replace" : "Save"}</button>
      </footer>
    </form>
  <//>`;
}
