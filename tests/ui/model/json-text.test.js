import assert from "node:assert/strict";
import { test } from "node:test";
import {
  eachMember,
  indented,
  memberText,
  parse,
} from "../../../src/everlog/ui/browser/model/json-text.js";

test("a member is found exactly as it is written", () => {
  const line =
    '{"type":"event", "data" : {"data":{"n":1.50e+3,"s":"}\\"{\\\\"}} ,"x":[{"data":1}]}';
  assert.equal(memberText(line, "data"), '{"data":{"n":1.50e+3,"s":"}\\"{\\\\"}}');
  assert.equal(memberText(memberText(line, "data") ?? "", "data"), '{"n":1.50e+3,"s":"}\\"{\\\\"}');
  assert.equal(memberText(line, "x"), '[{"data":1}]');
  assert.equal(memberText(line, "gone"), undefined);
  assert.equal(memberText("{}", "data"), undefined);
  assert.equal(memberText('{"a":null}', "a"), "null");
});

test("numbers keep their digits, members their order, also where one comes twice", () => {
  const node = parse('{"b":12345678901234567890.50,"a":-0,"b":1E400,"__proto__":{}}');
  assert.deepEqual(
    node.members?.map(({ name, node: each }) => [name, each.kind, each.text]),
    [
      ["b", "number", "12345678901234567890.50"],
      ["a", "number", "-0"],
      ["b", "number", "1E400"],
      ["__proto__", "object", "{}"],
    ],
  );
});

test("strings say what they mean, and are kept as they are written", () => {
  const { members } = parse('["\\u0041\\n","\\ud800","",true,false,null]');
  assert.deepEqual(
    members?.map(({ node }) => [node.kind, node.value, node.text]),
    [
      ["string", "A\n", '"\\u0041\\n"'],
      ["string", "\ud800", '"\\ud800"'],
      ["string", "", '""'],
      ["boolean", undefined, "true"],
      ["boolean", undefined, "false"],
      ["null", undefined, "null"],
    ],
  );
});

test("what is no JSON is refused", () => {
  for (const text of ["", "{", "[1,]", '{"a":01}', "nul", '"a', "1 2"]) {
    assert.throws(() => parse(text), SyntaxError, text);
  }
});

test("a text is laid out without being changed", () => {
  const text = '{"a":[1.0,{"b":[]},{}],"c":"x"}';
  assert.equal(
    indented(text),
    '{\n  "a": [\n    1.0,\n    {\n      "b": []\n    },\n    {}\n  ],\n  "c": "x"\n}',
  );
  assert.equal(JSON.stringify(JSON.parse(indented(text))), JSON.stringify(JSON.parse(text)));
});

test("generated texts are read as JSON.parse reads them", () => {
  let seed = 16;
  /** @param {number} below */
  const next = (below) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  /**
   * @param {number} depth
   * @returns {any}
   */
  const make = (depth) => {
    const kind = next(depth > 4 ? 4 : 6);
    const text = ['"', "\\", "{", "}", "[", "]", ",", ":", " ", "ü", "\n", "\u2028"];
    const word = () => Array.from({ length: next(6) }, () => text[next(text.length)]).join("");
    return [
      () => next(1000) / 8,
      () => word(),
      () => next(2) === 0,
      () => null,
      () => Array.from({ length: next(4) }, () => make(depth + 1)),
      () => Object.fromEntries(Array.from({ length: next(4) }, () => [word(), make(depth + 1)])),
    ][kind]();
  };
  /**
   * @param {import("../../../src/everlog/ui/browser/model/json-text.js").Node} node
   * @returns {any}
   */
  const value = ({ kind, value: text, text: written, members = [] }) => {
    if (kind === "object") {
      return Object.fromEntries(members.map(({ name, node }) => [name, value(node)]));
    }
    if (kind === "array") {
      return members.map(({ node }) => value(node));
    }
    return kind === "string" ? text : JSON.parse(written);
  };
  for (let round = 0; round < 2_000; round += 1) {
    const made = { data: make(0), other: make(0) };
    const text = JSON.stringify(made, null, next(3));
    assert.deepEqual(value(parse(text)), JSON.parse(text));
    assert.deepEqual(JSON.parse(memberText(text, "data") ?? ""), made.data);
    /** @type {string[]} */
    const names = [];
    eachMember(text, (name) => names.push(name));
    assert.deepEqual(names, ["data", "other"]);
  }
});
