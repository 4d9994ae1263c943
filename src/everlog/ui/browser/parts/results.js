/** What came of a query: as a table, as JSON, as a chart, or as a plan, and as a file. */

import { html } from "everlog/html";
import { useEffect, useMemo, useState } from "preact/hooks";
import { columnsOf, drawingOf } from "../model/chart.js";
import { isPlan } from "../model/plan.js";
import { isEvent, ROWS_MAX, textOf, written } from "../model/rows.js";
import { link } from "../router.js";
import { Download, Empty, Loading, Notice, Tabs } from "./basics.js";
import { Dialog } from "./dialog.js";
import { JsonTree } from "./json-tree.js";
import { PlanView } from "./plan.js";
import { Table } from "./table.js";

/** @typedef {import("../model/rows.js").Row} Row */
/** @typedef {import("../model/chart.js").Column} Column */

const TREE_ROWS = 1_000;
const TREE_LETTERS = 2_000_000;
const CELL_LETTERS = 240;

/**
 * @param {{rows: Row[], isCut: boolean, isDone: boolean, view: string, x: string | null,
 *   ys: string[], onChange: (changes: Record<string, any>) => void}} props `onChange` is given the
 *   parameters of the page that change: view, x, y.
 */
export function Results({ rows, isCut, isDone, view, x, ys, onChange }) {
  const values = useMemo(() => rows.map(({ row }) => row), [rows]);
  const columns = useMemo(() => columnsOf(values), [values]);
  const plan = isDone && rows.length === 1 && isPlan(values[0]) ? values[0] : null;
  if (rows.length === 0) {
    return isDone
      ? html`<${Empty} title="No rows"><p>Nothing in the log answers this query.</p><//>`
      : null;
  }
  const names = plan === null ? ["table", "json", "chart"] : ["plan", "json"];
  const selected = names.includes(view) ? view : names[0];
  const words = /** @type {Record<string, string>} */ ({
    table: "Table",
    json: "JSON",
    chart: "Chart",
    plan: "Plan",
  });
  const tabs = names.map((key) => ({ key, label: words[key] }));
  return html`<section class="stack tight" aria-label="Result">
    ${isCut ? html`<${Cut} count=${rows.length} />` : null}
    <${Tabs} tabs=${tabs} selected=${selected} label="Show the result as"
      onSelect=${(/** @type {string} */ key) => onChange({ view: key === names[0] ? null : key })}>
      ${selected === "table" ? html`<${RowTable} rows=${rows} columns=${columns} />` : null}
      ${selected === "json" ? html`<${RowTree} rows=${rows} />` : null}
      ${selected === "plan" ? html`<${PlanView} plan=${plan} />` : null}
      ${selected === "chart" ? html`<${Chosen} values=${values} columns=${columns} x=${x} ys=${ys} onChange=${onChange} />` : null}
    <//>
    ${plan === null ? html`<${Files} rows=${rows} />` : null}
  </section>`;
}

/** @param {{count: number}} props */
function Cut({ count }) {
  const shown = count.toLocaleString("en");
  const why = count === ROWS_MAX ? "" : ", which are 32 MB";
  return html`<${Notice} kind="warning" title="There are more rows.">
    The first ${shown} are shown${why}, and the query was stopped there. TOP asks for fewer; the command below has all of them.
  <//>`;
}

/** @param {{rows: Row[]}} props */
function Files({ rows }) {
  return html`<div class="row" role="group" aria-label="Download the rows that are shown">
    <span class="small muted">Download</span>
    <${Download} name="rows.ndjson" type="application/x-ndjson" label="NDJSON" make=${() => written(rows, "ndjson")} />
    <${Download} name="rows.csv" type="text/csv" label="CSV" make=${() => written(rows, "csv")} />
    <${Download} name="rows.json" type="application/json" label="JSON" make=${() => written(rows, "json")} />
  </div>`;
}

/** @param {{rows: Row[], columns: Column[]}} props */
function RowTable({ rows, columns }) {
  const [opened, setOpened] = useState(/** @type {Row | null} */ (null));
  const shown = columns.map(({ name, kind }) => ({
    key: name,
    title: name,
    align: kind === "number" ? /** @type {const} */ ("number") : undefined,
    width: widthOf(name, kind, columns.length),
    class: kind === "text" && name !== "id" ? "" : "mono",
    render: (/** @type {Row} */ row) => cell(row, name),
  }));
  return html`<div class="card flush results" style=${{ "--columns": columns.length }}>
      <${Table} label="Rows" columns=${shown} rows=${rows} height="min(60vh, 640px)"
        onOpen=${(/** @type {Row} */ row) => setOpened(row)} />
    </div>
    ${opened === null ? null : html`<${RowDialog} row=${opened} onClose=${() => setOpened(null)} />`}`;
}

/**
 * @param {string} name
 * @param {string} kind
 * @param {number} count
 */
function widthOf(name, kind, count) {
  if (count === 1) {
    return undefined;
  }
  return name === "id"
    ? "96px"
    : kind === "number"
      ? "140px"
      : kind === "time"
        ? "260px"
        : undefined;
}

/**
 * @param {Row} row
 * @param {string} name
 */
function cell(row, name) {
  const found = textOf(row, name);
  if (found === null) {
    return html`<span class="muted" title="This row has no such member">–</span>`;
  }
  const isLong = found.text.length > CELL_LETTERS;
  const text = isLong ? `${found.text.slice(0, CELL_LETTERS)}…` : found.text;
  return found.kind === "null" ? html`<span class="muted">null</span>` : text;
}

/** @param {{row: Row, onClose: () => void}} props */
function RowDialog({ row, onClose }) {
  const actions = html`
    ${isEvent(row.row) ? html`<a class="button" href=${link("event", { id: row.row.id })}>Open event ${row.row.id}</a>` : null}
    <button type="button" onClick=${onClose}>Close</button>`;
  return html`<${Dialog} title="Row" class="wide" onClose=${onClose} actions=${actions}>
    <${JsonTree} text=${row.raw} label="Row" />
  <//>`;
}

/** @param {{rows: Row[]}} props */
function RowTree({ rows }) {
  const [text, count] = useMemo(() => {
    let letters = 0;
    const end = rows.findIndex(({ raw }, at) => {
      letters += raw.length;
      return at === TREE_ROWS || letters > TREE_LETTERS;
    });
    const shown = end < 0 ? rows : rows.slice(0, Math.max(end, 1));
    return [`[${shown.map(({ raw }) => raw).join(",")}]`, shown.length];
  }, [rows]);
  return html`<div class="card">
    ${count < rows.length ? html`<p class="muted small">The first ${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows; the files below have all that are shown in the table.</p>` : null}
    <${JsonTree} text=${text} label="Rows" />
  </div>`;
}

/**
 * @param {{values: any[], columns: Column[], x: string | null, ys: string[],
 *   onChange: (changes: Record<string, any>) => void}} props
 */
function Chosen({ values, columns, x, ys, onChange }) {
  const drawing = drawingOf(values, columns, { x: x === "#" ? null : (x ?? undefined), ys });
  if (drawing === null) {
    return html`<${Empty} title="Nothing to draw">
      <p>A chart needs a column of numbers, and at best one of times or names beside it, such as
      <code>PROJECT INTO { type: e.type, count: COUNT() }</code>.</p><//>`;
  }
  const numbers = columns.filter(({ kind }) => kind === "number");
  const chosen = drawing.ys.map(({ name }) => name);
  /** @param {string} name */
  const toggle = (name) => {
    const next = chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name];
    onChange({ y: next });
  };
  const places = columns.filter(({ isPlain, kind }) => isPlain && kind !== "other");
  return html`<div class="card">
    <div class="row">
      <label class="row"><span class="small muted">Along</span>
        <select value=${drawing.x?.name ?? "#"} onChange=${(/** @type {any} */ event) => onChange({ x: event.target.value })}>
          <option value="#">the number of the row</option>
          ${places.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}
        </select></label>
      ${
        numbers.length < 2
          ? null
          : html`<div class="row" role="group" aria-label="What is drawn">
              ${numbers.map(
                ({ name }) => html`<button type="button" class="small" key=${name}
                  aria-pressed=${chosen.includes(name)} onClick=${() => toggle(name)}>${name}</button>`,
              )}</div>`
      }
    </div>
    <${LoadedPlot} rows=${values} drawing=${drawing} label="Chart of ${chosen.join(", ")} along ${drawing.x?.name ?? "the rows"}; the table has the same numbers" />
  </div>`;
}

/**
 * A plot, which is loaded when somebody asks for one: most do not.
 * @param {any} props
 */
function LoadedPlot(props) {
  const [Plot, setPlot] = useState(/** @type {any} */ (null));
  useEffect(() => {
    import("./plot.js").then((module) => setPlot(() => module.Plot));
  }, []);
  return Plot === null ? html`<${Loading} />` : html`<${Plot} ...${props} />`;
}
