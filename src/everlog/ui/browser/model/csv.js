/**
 * Rows as CSV (RFC 4180), which spreadsheets open.
 *
 * A spreadsheet computes what begins like a formula, whoever wrote it: a text that does gets an
 * apostrophe in front, which spreadsheets do not show. NDJSON and JSON have everything as stored.
 */

const FORMULA = /^[=+\-@\t\r]/;

/**
 * Returns a line, with its end.
 * @param {({text: string, kind: string} | null)[]} cells
 */
export function lineOf(cells) {
  return `${cells.map(cellOf).join(",")}\r\n`;
}

/** @param {{text: string, kind: string} | null} cell */
function cellOf(cell) {
  if (cell === null) {
    return "";
  }
  const text = cell.kind !== "number" && FORMULA.test(cell.text) ? `'${cell.text}` : cell.text;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
