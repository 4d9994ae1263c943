import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DEFAULT_COLUMNS,
  isNewest,
  moved,
  pageOf,
  paramsOf,
  selectionOf,
  stateOf,
  timeOf,
} from "../../../src/everlog/ui/browser/model/table.js";

const ALL_TIMES = { first: null, end: null };

function state(text = "") {
  return stateOf(new URLSearchParams(text));
}

test("an empty address is the newest page of the whole log", () => {
  const first = state();
  assert.deepEqual(first, {
    subject: "/",
    recursive: true,
    types: [],
    since: "",
    until: "",
    from: null,
    before: null,
    isOldestFirst: false,
    size: 100,
    columns: DEFAULT_COLUMNS,
    isLive: false,
  });
  assert.equal(String(paramsOf(first)), "");
  assert.ok(isNewest(first));
});

test("every state is an address, and every address that is one of ours stays the same", () => {
  for (const text of [
    "subject=/a/b&recursive=false",
    "type=io.everlog.one&type=io.everlog.two",
    "since=2026-01-01&until=2026-02-01T12:00",
    "from=12",
    "before=9007199254740993",
    "order=chronological&size=25",
    'column=id&column=data.title&column=data."first name".0',
    "live=true",
  ]) {
    const params = new URLSearchParams(text);
    assert.equal(String(paramsOf(stateOf(params))), String(params));
  }
});

test("what is not understood in an address is left out", () => {
  const found = state("size=7&from=-1&before=1e3&column=nonsense&column=id&column=id&order=up");
  assert.equal(found.size, 100);
  assert.equal(found.from, null);
  assert.equal(found.before, null);
  assert.deepEqual(found.columns, ["id"]);
  assert.equal(found.isOldestFirst, false);
  assert.equal(state("from=007").from, "7");
  assert.equal(state("from=1&before=5").before, null);
});

test("the newest page asks for one more than it shows, from the end", () => {
  assert.deepEqual(selectionOf(state("size=25"), ALL_TIMES), {
    subject: "/",
    recursive: true,
    order: "antichronological",
  });
});

test("pages of the whole log have both bounds, so that no more is read", () => {
  assert.deepEqual(selectionOf(state("size=25&before=1000"), ALL_TIMES), {
    subject: "/",
    recursive: true,
    order: "antichronological",
    lowerBound: { id: "974", type: "inclusive" },
    upperBound: { id: "999", type: "inclusive" },
  });
  assert.deepEqual(selectionOf(state("size=25&from=1000"), ALL_TIMES), {
    subject: "/",
    recursive: true,
    order: "chronological",
    lowerBound: { id: "1000", type: "inclusive" },
    upperBound: { id: "1025", type: "inclusive" },
  });
  assert.deepEqual(selectionOf(state("size=25&before=3"), ALL_TIMES), {
    subject: "/",
    recursive: true,
    order: "antichronological",
    upperBound: { id: "2", type: "inclusive" },
  });
});

test("pages of a part of the log have the bound where they begin", () => {
  assert.deepEqual(selectionOf(state("subject=/a&before=1000&type=io.everlog.one"), ALL_TIMES), {
    subject: "/a",
    recursive: true,
    order: "antichronological",
    upperBound: { id: "999", type: "inclusive" },
    types: ["io.everlog.one"],
  });
});

test("times bound a page too, and may leave no room", () => {
  const range = { first: 100n, end: 200n };
  const bounds = (/** @type {string} */ text) => {
    const found = selectionOf(state(text), range);
    return [found?.lowerBound?.id, found?.upperBound?.id];
  };
  assert.deepEqual(bounds("size=25"), ["100", "199"]);
  assert.deepEqual(bounds("size=25&before=110"), ["100", "109"]);
  assert.deepEqual(bounds("size=25&from=190"), ["190", "199"]);
  assert.equal(selectionOf(state("from=200"), range), null);
  assert.equal(selectionOf(state("before=100"), range), null);
  assert.equal(selectionOf(state(), { first: null, end: 0n }), null);
  assert.equal(selectionOf(state("before=0"), ALL_TIMES), null);
});

/**
 * Reads a page of a log of so many events, of which every so many is on the subject.
 * @param {string} text
 */
function read(text, { count = 1_000, step = 1 } = {}) {
  const asked = state(text);
  const selection = selectionOf(asked, ALL_TIMES);
  const lower = Number(selection?.lowerBound?.id ?? 0);
  const upper = Number(selection?.upperBound?.id ?? count - 1);
  let ids = Array.from({ length: count }, (_, id) => id).filter(
    (id) => id % step === 0 && id >= lower && id <= upper,
  );
  if (selection === null) {
    ids = [];
  } else if (selection.order === "antichronological") {
    ids.reverse();
  }
  return {
    asked,
    ...pageOf(
      asked,
      ids.slice(0, asked.size + 1).map((id) => ({ id: String(id) })),
    ),
  };
}

for (const { name, start, step } of [
  { name: "the whole log", start: "size=25", step: 1 },
  { name: "a part of it", start: "size=25&subject=/a", step: 3 },
]) {
  test(`going older and then newer shows every event of ${name} once`, () => {
    const down = [];
    let page = read(start, { step });
    for (;;) {
      down.push(...page.rows.map(({ id }) => Number(id)));
      if (page.older === null) {
        break;
      }
      page = read(String(paramsOf(moved(page.asked, page.older))), { step });
    }
    const everything = Array.from({ length: 1_000 }, (_, id) => id).filter((id) => id % step === 0);
    assert.deepEqual(down, everything.toReversed());

    const up = [];
    page = read(`${start}&from=0`, { step });
    for (;;) {
      up.push(...page.rows.map(({ id }) => Number(id)).toReversed());
      if (page.newer === null) {
        break;
      }
      page = read(String(paramsOf(moved(page.asked, page.newer))), { step });
    }
    assert.deepEqual(up, everything);
  });
}

test("the oldest page has none before it, the newest none behind it", () => {
  assert.equal(read("size=25").newer, null);
  assert.notEqual(read("size=25").older, null);
  assert.equal(read("size=25&from=0").older, null);
  assert.deepEqual(read("size=25&from=0").newer, { from: "25" });
  assert.deepEqual(read("size=25&before=500").newer, { from: "500" });
  assert.deepEqual(read("size=25", { count: 0 }), {
    asked: state("size=25"),
    rows: [],
    older: null,
    newer: null,
  });
});

test("oldest first is the same page the other way round", () => {
  const ids = (/** @type {string} */ text) => read(text).rows.map(({ id }) => id);
  assert.deepEqual(
    ids("size=25&before=500&order=chronological"),
    ids("size=25&before=500").toReversed(),
  );
  assert.deepEqual(ids("size=25&from=500&order=chronological")[0], "500");
});

test("a page beside this one is not live, and a filter leads back to its newest page", () => {
  const here = state("from=12&live=true");
  assert.equal(moved(here, { before: "7" }).from, null);
  assert.equal(moved(here, { before: "7" }).isLive, false);
  assert.ok(isNewest(moved(here, { types: ["io.everlog.one"] })));
  assert.ok(!isNewest(state("until=2026-01-01")));
});

test("times are days, minutes, or all of RFC 3339", () => {
  assert.equal(timeOf("2026-01-31"), "2026-01-31T00:00:00Z");
  assert.equal(timeOf(" 2026-01-31 12:30 "), "2026-01-31T12:30:00Z");
  assert.equal(timeOf("2026-01-31T12:30:15.123456789Z"), "2026-01-31T12:30:15.123456789Z");
  assert.equal(timeOf("2026-01-31T12:30:15+02:00"), "2026-01-31T10:30:15Z");
  for (const text of ["", "yesterday", "2026-02-30", "2026-13-01", "2026-01-31T25:00", "12:30"]) {
    assert.equal(timeOf(text), null, text);
  }
});
