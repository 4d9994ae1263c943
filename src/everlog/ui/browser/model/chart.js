/**
 * Rows as a table and as a chart: which columns there are, and which of them can be drawn.
 */

/** @typedef {"number" | "time" | "text" | "other"} ColumnKind */
/** @typedef {{name: string, kind: ColumnKind, isPlain: boolean}} Column */

/** The name of the only column where rows are no records. */
export const VALUE = "value";

const TIME = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

/** @param {any} row */
function isRecord(row) {
  return typeof row === "object" && row !== null && !Array.isArray(row);
}

/**
 * Return the columns of rows: the members of records in the order of their first sight, at most so
 * many.
 * @param {any[]} rows
 * @param {number} countMax
 * @returns {Column[]}
 */
export function columnsOf(rows, countMax = 60) {
  /** @type {Map<string, any[]>} */
  const values = new Map();
  for (const row of rows) {
    for (const [name, value] of isRecord(row) ? Object.entries(row) : [[VALUE, row]]) {
      const known = values.get(name);
      if (known) {
        known.push(value);
      } else if (values.size < countMax) {
        values.set(name, [value]);
      }
    }
  }
  return inOrder([...values]).map(([name, each]) => ({
    name,
    kind: kindOf(each),
    isPlain: each.every(isPlain),
  }));
}

// Of whole events, what tells them apart stands first.
const FIRST = ["id", "time", "subject", "type", "data"];

/** @param {[string, any[]][]} columns */
function inOrder(columns) {
  const names = columns.map(([name]) => name);
  if (![...FIRST, "predecessorhash"].every((name) => names.includes(name))) {
    return columns;
  }
  const rest = columns.filter(([name]) => !FIRST.includes(name));
  return [...FIRST.flatMap((name) => columns.filter(([each]) => each === name)), ...rest];
}

/** @param {any} value */
function isPlain(value) {
  return typeof value !== "object" || value === null;
}

/**
 * @param {any[]} values
 * @returns {ColumnKind}
 */
function kindOf(values) {
  const there = values.filter((value) => value !== null);
  if (there.length === 0) {
    return "other";
  }
  if (there.every((value) => typeof value === "number")) {
    return "number";
  }
  if (there.every((value) => typeof value === "string")) {
    const isTime = there.every((value) => TIME.test(value) && !Number.isNaN(Date.parse(value)));
    return isTime ? "time" : "text";
  }
  return "other";
}

/**
 * Return the value of a row in a column; undefined where it has none.
 * @param {any} row
 * @param {string} name
 */
export function cellOf(row, name) {
  if (!isRecord(row)) {
    return name === VALUE ? row : undefined;
  }
  return Object.hasOwn(row, name) ? row[name] : undefined;
}

/**
 * How rows are drawn: `x` is the name of a column, or null for the number of the row; bars where x is
 * a text, else lines.
 * @typedef {{x: Column | null, ys: Column[], form: "bars" | "lines"}} Drawing
 */

/**
 * Return how rows can be drawn, null if they have no number.
 *
 * Time is x before text, and text before numbers; numbers are y. A first column of numbers that only
 * grows is x, if there is another one.
 * @param {any[]} rows
 * @param {Column[]} columns
 * @param {{x?: string | null, ys?: string[]}} [asked] what a person chose; what cannot be is left out
 * @returns {Drawing | null}
 */
export function drawingOf(rows, columns, asked = {}) {
  const numbers = columns.filter(({ kind }) => kind === "number");
  if (numbers.length === 0 || rows.length === 0) {
    return null;
  }
  const chosen = columns.find(({ name }) => name === asked.x);
  const x = chosen ?? (asked.x === null ? null : defaultX(rows, columns, numbers));
  const wanted = numbers.filter(({ name }) => asked.ys?.includes(name));
  const others = numbers.filter((each) => each !== x);
  const ys = wanted.length > 0 ? wanted : others.slice(0, 6);
  if (ys.length === 0) {
    return { x: null, ys: numbers.slice(0, 6), form: "lines" };
  }
  return { x, ys, form: x?.kind === "text" ? "bars" : "lines" };
}

/**
 * @param {any[]} rows
 * @param {Column[]} columns
 * @param {Column[]} numbers
 * @returns {Column | null}
 */
function defaultX(rows, columns, numbers) {
  const time = columns.find(({ kind }) => kind === "time");
  const text = columns.find(({ kind }) => kind === "text");
  if (time ?? text) {
    return time ?? text ?? null;
  }
  const first = numbers[0];
  return numbers.length > 1 && grows(rows, first.name) ? first : null;
}

/**
 * @param {any[]} rows
 * @param {string} name
 */
function grows(rows, name) {
  return rows.every((row, at) => at === 0 || cellOf(row, name) > cellOf(rows[at - 1], name));
}

/** How many points are drawn; a screen has no more. */
export const POINTS_MAX = 5000;
export const BARS_MAX = 200;

/**
 * Return what uPlot draws: the places of x, ascending, and a series for each y; `labels` are the texts
 * below bars. `cutCount` rows are left out.
 * @param {any[]} rows
 * @param {Drawing} drawing
 */
export function seriesOf(rows, { x, ys, form }) {
  const shown = rows.slice(0, form === "bars" ? BARS_MAX : POINTS_MAX);
  const places = shown.map((row, at) => placeOf(row, x, form, at));
  const order = shown.map((_, at) => at).filter((at) => places[at] !== null);
  order.sort((a, b) => Number(places[a]) - Number(places[b]));
  const labels =
    x && form === "bars" ? shown.map((row) => String(cellOf(row, x.name) ?? "null")) : [];
  const series = ys.map(({ name }) => order.map((at) => cellOf(shown[at], name) ?? null));
  return {
    xs: order.map((at) => Number(places[at])),
    series,
    labels,
    cutCount: rows.length - shown.length,
  };
}

/**
 * @param {any} row
 * @param {Column | null} x
 * @param {"bars" | "lines"} form
 * @param {number} at
 */
function placeOf(row, x, form, at) {
  if (!x || form === "bars") {
    return at;
  }
  const value = cellOf(row, x.name) ?? null;
  return x.kind === "time" && value !== null ? Date.parse(value) / 1000 : value;
}
