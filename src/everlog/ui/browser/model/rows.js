/**
 * The rows of a query as they come: kept up to a bound, shown as text without losing digits, and
 * written down for a file.
 */

import { cellOf, columnsOf, VALUE } from "./chart.js";
import { lineOf } from "./csv.js";
import { memberText } from "./json-text.js";

/** @typedef {{row: any, raw: string}} Row `raw` is the row exactly as it came */

/** More of them nobody reads; whoever wants all of them asks with a program. */
export const ROWS_MAX = 10_000;
export const LETTERS_MAX = 32 * 1024 * 1024;

/** Rows that are kept, and whether there would be more. */
export class Rows {
  constructor() {
    /** @type {Row[]} */
    this.all = [];
    this.letters = 0;
    this.isCut = false;
  }

  /**
   * Take a row; returns whether there is room for another one. What is beyond the bound is left out.
   * @param {Row} row
   */
  add(row) {
    if (this.all.length >= ROWS_MAX || this.letters + row.raw.length > LETTERS_MAX) {
      this.isCut = true;
      return false;
    }
    this.all.push(row);
    this.letters += row.raw.length;
    return true;
  }
}

/**
 * Return what a cell says, and what kind it is: strings without quotes, all else as it is written.
 * @param {Row} row
 * @param {string} name
 * @returns {{text: string, kind: string} | null}
 */
export function textOf({ row, raw }, name) {
  const value = cellOf(row, name);
  if (value === undefined) {
    return null;
  }
  if (typeof value === "string") {
    return { text: value, kind: "string" };
  }
  const isRecord = typeof row === "object" && row !== null && !Array.isArray(row);
  const text = isRecord ? (memberText(raw, name) ?? JSON.stringify(value)) : raw;
  return { text, kind: value === null ? "null" : typeof value };
}

/**
 * Return whether a row is a whole event, which has a page of its own.
 * @param {any} row
 */
export function isEvent(row) {
  const isText = ["id", "hash", "type"].every((name) => typeof row?.[name] === "string");
  return isText && /^\d+$/.test(row.id);
}

/**
 * @param {Row[]} rows
 * @param {"ndjson" | "json" | "csv"} form
 * @returns {string}
 */
export function written(rows, form) {
  if (form === "ndjson") {
    return rows.map(({ raw }) => `${raw}\n`).join("");
  }
  if (form === "json") {
    return `[\n${rows.map(({ raw }) => raw).join(",\n")}\n]\n`;
  }
  const names = columnsOf(rows.map(({ row }) => row)).map(({ name }) => name);
  const head = lineOf(names.map((text) => ({ text, kind: "string" })));
  const lines = rows.map((row) => lineOf(names.map((name) => textOf(row, name))));
  return head + lines.join("");
}

/** The name of the only column where rows are no records. */
export { VALUE };
