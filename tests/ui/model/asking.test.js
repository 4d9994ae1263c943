import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { Arrivals, arrivedText } from "../../../src/everlog/ui/browser/model/arrivals.js";
import { lineOf } from "../../../src/everlog/ui/browser/model/csv.js";
import { curl, quoted as shell } from "../../../src/everlog/ui/browser/model/curl.js";
import {
  countOf,
  firstSince,
  queryOf,
  quoted,
  traceOf,
} from "../../../src/everlog/ui/browser/model/eventql.js";
import {
  fieldOf,
  fieldValue,
  isField,
  pathOf,
} from "../../../src/everlog/ui/browser/model/field.js";
import { stateOf } from "../../../src/everlog/ui/browser/model/table.js";

/** @typedef {{since: string | null, until: string | null}} Times */

/** @type {Times} */
const NO_TIMES = { since: null, until: null };

/** @param {string} text */
function query(text, times = NO_TIMES) {
  return queryOf(stateOf(new URLSearchParams(text)), times);
}

test("the query of a page says what the page shows", () => {
  assert.equal(query(""), "FROM e IN events\nORDER BY e.id AS INT DESC\nTOP 100\nPROJECT INTO e");
  assert.equal(
    query("subject=/a&type=io.everlog.one&type=io.everlog.two&size=25&from=7", {
      since: "2026-01-01T00:00:00Z",
      until: "2026-02-01T00:00:00Z",
    }),
    [
      "FROM e IN events",
      "WHERE ['io.everlog.one', 'io.everlog.two'] CONTAINS e.type",
      "  AND STARTSWITH(e.subject, '/a')",
      "  AND (e.subject == '/a' OR STARTSWITH(e.subject, '/a/'))",
      "  AND e.time >= '2026-01-01T00:00:00Z' AS DATETIME",
      "  AND e.time < '2026-02-01T00:00:00Z' AS DATETIME",
      "  AND e.id AS INT >= 7",
      "ORDER BY e.id AS INT ASC",
      "TOP 25",
      "PROJECT INTO e",
    ].join("\n"),
  );
  assert.match(
    query("subject=/a&recursive=false&before=3"),
    /e\.subject == '\/a'\n {2}AND e\.id AS INT < 3/,
  );
});

test("how many a filter means is asked without its pages", () => {
  const state = stateOf(new URLSearchParams("type=io.everlog.one&from=7"));
  assert.equal(
    countOf(state, NO_TIMES),
    "FROM e IN events\nWHERE e.type == 'io.everlog.one'\nPROJECT INTO COUNT()",
  );
  assert.equal(
    countOf(stateOf(new URLSearchParams()), NO_TIMES),
    "FROM e IN events\nPROJECT INTO COUNT()",
  );
  assert.match(firstSince("2026-01-01T00:00:00Z"), /TOP 1\nPROJECT INTO e\.id$/);
});

test("a trace is looked for in all events or some of them", () => {
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  assert.match(traceOf(trace, null, 10), /WHERE STARTSWITH\(e\.traceparent, '00-4bf9[0-9a-f]+-'\)/);
  assert.match(
    traceOf(trace, { first: 5n, last: 9n }, 10),
    /WHERE e\.id AS INT >= 5 AND e\.id AS INT <= 9\n {2}AND STARTSWITH/,
  );
});

test("strings have the quotes that they do not contain", () => {
  assert.equal(quoted("a"), "'a'");
  assert.equal(quoted("it's"), `"it's"`);
  assert.equal(quoted(`'"`), null);
  assert.equal(quoted("a\nb"), null);
});

test("a command is what a shell takes for it, and has no token in it", () => {
  const body = JSON.stringify({ subject: "/it's", options: { recursive: true } });
  const url = "https://h.example/x y/api/v2/data/read-events";
  const command = curl({ method: "QUERY", url, body });
  const echoed = execFileSync("sh", ["-c", command.replace(/^curl/, "printf '%s\\n'")], {
    env: { EVERLOG_API_TOKEN: "from-the-shell" },
    encoding: "utf8",
  });
  assert.deepEqual(echoed.trimEnd().split("\n"), [
    "--request",
    "QUERY",
    "--header",
    "Authorization: Bearer from-the-shell",
    "--data-binary",
    body,
    url,
  ]);
  assert.match(curl({ method: "GET", url, isStream: true }), /^curl --no-buffer \\\n {2}--header/);
  assert.equal(shell("$(rm x)`y`'z'"), "'$(rm x)`y`'\\''z'\\'''");
});

test("lines of CSV quote what would end a cell, and no text is a formula", () => {
  const text = (/** @type {string} */ value) => ({ text: value, kind: "string" });
  assert.equal(lineOf([text("a"), null, text('say "no", now')]), 'a,,"say ""no"", now"\r\n');
  assert.equal(lineOf([text("two\nlines")]), '"two\nlines"\r\n');
  assert.equal(lineOf([{ text: "-1.50", kind: "number" }, text("-1")]), "-1.50,'-1\r\n");
  assert.equal(lineOf([text('=HYPERLINK("x")')]), '"\'=HYPERLINK(""x"")"\r\n');
});

test("fields are written as in EventQL", () => {
  assert.deepEqual(pathOf("data.a.b"), ["a", "b"]);
  assert.deepEqual(pathOf(`data."first name".'say "x"'.0`), ["first name", 'say "x"', "0"]);
  assert.deepEqual(pathOf("data"), []);
  for (const text of ["title", "data.", "data..a", 'data."a', "datax", ""]) {
    assert.equal(pathOf(text), null, text);
  }
  for (const names of [["a"], ["first name", "0"], ['"', "'"], [""]]) {
    assert.deepEqual(pathOf(fieldOf(names) ?? ""), names);
  }
  assert.equal(fieldOf([`'"`]), null);
  assert.ok(isField("traceparent"));
  assert.ok(!isField("traceparents"));
});

test("a field's value is what is stored", () => {
  const event = {
    id: "7",
    signature: null,
    raw: '{"a":{"n":12345678901234567890.10,"s":"x\\ny","o":{"k":1},"l":[true]},"__proto__":1}',
  };
  const value = (/** @type {string} */ field) => fieldValue(event, field);
  assert.deepEqual(value("id"), { text: "7", kind: "string" });
  assert.equal(value("signature"), null);
  assert.equal(value("traceparent"), null);
  assert.deepEqual(value("data.a.n"), { text: "12345678901234567890.10", kind: "number" });
  assert.deepEqual(value("data.a.s"), { text: "x\ny", kind: "string" });
  assert.deepEqual(value("data.a.o"), { text: '{"k":1}', kind: "object" });
  assert.deepEqual(value("data.a.l.0"), { text: "true", kind: "boolean" });
  assert.deepEqual(value("data.__proto__"), { text: "1", kind: "number" });
  assert.equal(value("data.a.missing.too"), null);
  assert.equal(value("data")?.text, event.raw);
});

test("of what arrives, the last ones are kept and all are counted", () => {
  const arrivals = new Arrivals(3);
  for (let id = 0; id < 1_000; id += 1) {
    arrivals.add({ id: String(id) });
  }
  assert.equal(arrivals.count, 1_000);
  assert.equal(arrivals.kept.length, 3);
  assert.deepEqual(
    arrivals.take().map(({ id }) => id),
    ["999", "998", "997"],
  );
  assert.equal(arrivals.count, 0);
  arrivals.add({ id: "1000" });
  assert.deepEqual(
    arrivals.take().map(({ id }) => id),
    ["1000"],
  );
  assert.deepEqual(arrivals.take(), []);
  assert.equal(arrivedText(1), "1 new event");
  assert.equal(arrivedText(1204), "1,204 new events");
});
