import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DIFFERENCES_MAX,
  differencesOf,
  merged,
  spokenOf,
} from "../../../src/everlog/ui/browser/model/difference.js";

/**
 * @param {string} before
 * @param {string} after
 * @param {{isAll?: boolean}} [options]
 */
function told(before, after, options) {
  return differencesOf(before, after, options).differences.map(
    ({ names, kind, before: from, after: to }) =>
      `${kind} ${names.join("/")}: ${from ?? ""} -> ${to ?? ""}`,
  );
}

test("the same text has no differences", () => {
  assert.deepEqual(told('{"a":1,"b":[1,2]}', '{"a":1,"b":[1,2]}'), []);
});

test("members are added, removed and changed at any depth", () => {
  assert.deepEqual(
    told('{"a":1,"b":{"c":"x","d":null},"e":true}', '{"a":2,"b":{"c":"x","f":[]},"g":0}'),
    [
      "changed a: 1 -> 2",
      "added b/f:  -> []",
      "removed b/d: null -> ",
      "added g:  -> 0",
      "removed e: true -> ",
    ],
  );
});

test("numbers are told apart as they are written, whatever a double makes of them", () => {
  assert.deepEqual(told('{"a":9007199254740993}', '{"a":9007199254740992}'), [
    "changed a: 9007199254740993 -> 9007199254740992",
  ]);
  assert.deepEqual(told('{"a":1.0}', '{"a":1}'), ["changed a: 1.0 -> 1"]);
  assert.deepEqual(told('{"a":0.1000000000000000055}', '{"a":0.1}'), [
    "changed a: 0.1000000000000000055 -> 0.1",
  ]);
});

test("a value of another kind is changed as a whole", () => {
  assert.deepEqual(told('{"a":{"b":1}}', '{"a":[1]}'), ['changed a: {"b":1} -> [1]']);
  assert.deepEqual(told('{"a":"1"}', '{"a":1}'), ['changed a: "1" -> 1']);
});

test("items of arrays are found again where others come between", () => {
  assert.deepEqual(told('{"a":[1,2,3]}', '{"a":[0,1,2,3]}'), ["added a/0:  -> 0"]);
  assert.deepEqual(told('{"a":[1,2,3,4]}', '{"a":[1,4]}'), [
    "removed a/1: 2 -> ",
    "removed a/2: 3 -> ",
  ]);
  assert.deepEqual(told('{"a":[1,2,3]}', '{"a":[1,9,3,4]}'), [
    "changed a/1: 2 -> 9",
    "added a/3:  -> 4",
  ]);
  assert.deepEqual(told('{"a":[{"b":1,"c":2}]}', '{"a":[{"b":1,"c":3}]}'), [
    "changed a/0/c: 2 -> 3",
  ]);
});

test("large arrays are compared in bounded time", () => {
  const left = JSON.stringify({ a: Array.from({ length: 3_000 }, (_, index) => index) });
  const right = JSON.stringify({ a: Array.from({ length: 3_000 }, (_, index) => index + 0.5) });
  const { differences, isCut } = differencesOf(left, right);
  assert.equal(differences.length, DIFFERENCES_MAX);
  assert.ok(isCut);
});

test("all of it can be told, changed or not", () => {
  assert.deepEqual(told('{"a":1,"b":2,"c":[1,2]}', '{"a":1,"b":3,"c":[1,3]}', { isAll: true }), [
    "same a: 1 -> 1",
    "changed b: 2 -> 3",
    "same c/0: 1 -> 1",
    "changed c/1: 2 -> 3",
  ]);
});

test("another order of members is the same but for how it is written", () => {
  assert.deepEqual(told('{"a":1,"b":2}', '{"b":2,"a":1}'), [
    'same : {"a":1,"b":2} -> {"b":2,"a":1}',
  ]);
});

test("names that mean something to JavaScript are names like any other", () => {
  assert.deepEqual(told('{"__proto__":1,"constructor":2}', '{"__proto__":3,"constructor":2}'), [
    "changed __proto__: 1 -> 3",
  ]);
});

test("what is known of a subject is what its events said last", () => {
  assert.equal(
    merged('{"a":1,"b":{"c":1,"d":12345678901234567890}}', '{"b":{"c":2},"e":[1]}'),
    '{"a":1,"b":{"c":2,"d":12345678901234567890},"e":[1]}',
  );
  assert.equal(merged('{"a":{"b":1}}', '{"a":null}'), '{"a":null}');
  assert.equal(merged('{"x\\"y":1}', "{}"), '{"x\\"y":1}');
});

test("an event says nothing about what it leaves out", () => {
  const known = '{"a":1,"b":{"c":1,"d":2},"e":[1]}';
  assert.equal(spokenOf(known, '{"b":{"d":3,"x":1},"new":1}'), '{"b":{"d":2}}');
  assert.equal(spokenOf(known, '{"b":1,"e":[2]}'), '{"b":{"c":1,"d":2},"e":[1]}');
  assert.equal(spokenOf("{}", '{"a":1}'), "{}");
  assert.deepEqual(told(spokenOf(known, '{"b":{"d":3}}'), '{"b":{"d":3}}'), [
    "changed b/d: 2 -> 3",
  ]);
});
