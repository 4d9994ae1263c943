// @ts-nocheck: cases are values of any shape, also of wrong ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cellOf,
  columnsOf,
  drawingOf,
  seriesOf,
} from "../../../src/everlog/ui/browser/model/chart.js";

const kinds = (rows) => columnsOf(rows).map(({ name, kind }) => `${name}:${kind}`);

test("columns are the members of records, by what is in them", () => {
  const rows = [
    { day: "2026-11-23", n: 1, who: "a", at: "2026-11-23T12:00:00.5Z" },
    { day: null, n: 2.5, who: "b", deep: [1] },
  ];
  assert.deepEqual(kinds(rows), ["day:time", "n:number", "who:text", "at:time", "deep:other"]);
  assert.deepEqual(kinds([1, 2]), ["value:number"]);
  assert.deepEqual(kinds([null]), ["value:other"]);
  assert.deepEqual(kinds([]), []);
});

test("a name that every object has is a column as any other", () => {
  const row = JSON.parse('{"__proto__": 1, "constructor": 2}');
  assert.deepEqual(kinds([row]), ["__proto__:number", "constructor:number"]);
  assert.equal(cellOf({}, "constructor"), undefined);
});

test("there are at most so many columns", () => {
  const wide = Object.fromEntries(Array.from({ length: 500 }, (_, each) => [`c${each}`, each]));
  assert.equal(columnsOf([wide], 60).length, 60);
});

const draw = (rows, asked) => {
  const drawing = drawingOf(rows, columnsOf(rows), asked);
  return drawing && [drawing.form, drawing.x?.name ?? null, ...drawing.ys.map(({ name }) => name)];
};

test("what can be drawn is drawn, over time, names or numbers", () => {
  assert.deepEqual(draw([{ day: "2026-11-23", n: 1 }]), ["lines", "day", "n"]);
  assert.deepEqual(draw([{ type: "a", n: 1, m: 2 }]), ["bars", "type", "n", "m"]);
  assert.deepEqual(
    draw([
      { x: 1, y: 5 },
      { x: 2, y: 3 },
    ]),
    ["lines", "x", "y"],
  );
  assert.deepEqual(
    draw([
      { x: 2, y: 5 },
      { x: 1, y: 3 },
    ]),
    ["lines", null, "x", "y"],
  );
  assert.deepEqual(draw([5, 3]), ["lines", null, "value"]);
  assert.equal(draw([{ a: "x" }]), null);
  assert.equal(draw([]), null);
});

test("a person may choose otherwise", () => {
  const rows = [{ type: "a", n: 1, m: 2 }];
  assert.deepEqual(draw(rows, { x: "n", ys: ["m"] }), ["lines", "n", "m"]);
  assert.deepEqual(draw(rows, { x: "gone", ys: ["gone"] }), ["bars", "type", "n", "m"]);
});

test("series are in the order of x, and what is missing is a gap", () => {
  const rows = [
    { at: "2026-11-23T12:00:01Z", n: 2 },
    { at: "2026-11-23T12:00:00Z" },
    { at: null, n: 3 },
  ];
  const drawing = drawingOf(rows, columnsOf(rows));
  const { xs, series } = seriesOf(rows, drawing);
  assert.equal(xs[1] - xs[0], 1);
  assert.deepEqual(series, [[null, 2]]);
});

test("more than a screen shows is left out, and told", () => {
  const rows = Array.from({ length: 300 }, (_, each) => ({ name: `n${each}`, n: each }));
  const { labels, cutCount } = seriesOf(rows, drawingOf(rows, columnsOf(rows)));
  assert.equal(labels.length, 200);
  assert.equal(cutCount, 100);
});
