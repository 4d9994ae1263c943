// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isEvent,
  LETTERS_MAX,
  ROWS_MAX,
  Rows,
  textOf,
  written,
} from "../../../src/everlog/ui/browser/model/rows.js";

const rowOf = (raw) => ({ row: JSON.parse(raw), raw });

test("cells say what was sent, digits and all", () => {
  const row = rowOf('{"n":12345678901234567890.50,"s":"a\\"b","o":{"x":1.0},"z":null}');
  assert.deepEqual(textOf(row, "n"), { text: "12345678901234567890.50", kind: "number" });
  assert.deepEqual(textOf(row, "s"), { text: 'a"b', kind: "string" });
  assert.deepEqual(textOf(row, "o"), { text: '{"x":1.0}', kind: "object" });
  assert.deepEqual(textOf(row, "z"), { text: "null", kind: "null" });
  assert.equal(textOf(row, "gone"), null);
  assert.deepEqual(textOf(rowOf("1.50"), "value"), { text: "1.50", kind: "number" });
  assert.deepEqual(textOf(rowOf("[1]"), "value"), { text: "[1]", kind: "object" });
});

test("rows are kept up to a bound", () => {
  const rows = new Rows();
  const row = rowOf("1");
  for (let at = 0; at < ROWS_MAX; at++) {
    assert.ok(rows.add(row));
  }
  assert.ok(!rows.isCut);
  assert.ok(!rows.add(row));
  assert.ok(rows.isCut);
  assert.equal(rows.all.length, ROWS_MAX);
  const wide = new Rows();
  assert.ok(!wide.add({ row: "", raw: " ".repeat(LETTERS_MAX + 1) }));
});

test("rows are written as they came", () => {
  const rows = [rowOf('{"a":1.0,"b":"x,\\"y"}'), rowOf('{"b":"=1+1"}')];
  assert.equal(written(rows, "ndjson"), '{"a":1.0,"b":"x,\\"y"}\n{"b":"=1+1"}\n');
  assert.equal(written(rows, "json"), '[\n{"a":1.0,"b":"x,\\"y"},\n{"b":"=1+1"}\n]\n');
  assert.equal(written(rows, "csv"), 'a,b\r\n1.0,"x,""y"\r\n,\'=1+1\r\n');
});

test("a whole event is told by what only events have", () => {
  assert.ok(isEvent({ id: "7", hash: "x", type: "a.b.c" }));
  assert.ok(!isEvent({ id: 7, hash: "x", type: "a.b.c" }));
  assert.ok(!isEvent(null));
});
