import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ancestorsOf,
  childOf,
  completing,
  nameOf,
  PAGE_SIZE,
  parentOf,
  Tree,
} from "../../../src/everlog/ui/browser/model/tree.js";

/** @typedef {import("../../../src/everlog/ui/browser/model/tree.js").Page} Page */

/** A server with subjects in memory, which answers as read-child-subjects does. */
class Server {
  /** @param {string[]} subjects */
  constructor(subjects) {
    /** @type {Map<string, {own: number, below: number, children: Set<string>}>} */
    this.counts = new Map();
    for (const subject of subjects) {
      for (const each of [...ancestorsOf(subject), subject]) {
        const counts = this.counts.get(each) ?? { own: 0, below: 0, children: new Set() };
        counts.below += 1;
        counts.own += each === subject ? 1 : 0;
        this.counts.set(each, counts);
        if (each !== "/") {
          this.known(parentOf(each)).children.add(each);
        }
      }
    }
    this.asked = 0;
  }

  /** @param {string} subject */
  known(subject) {
    const counts = this.counts.get(subject);
    assert.ok(counts);
    return counts;
  }

  /** @param {string} subject */
  entry(subject) {
    const { own, below, children } = this.known(subject);
    return {
      subject,
      eventCount: own,
      recursiveEventCount: below,
      childCount: children.size,
    };
  }

  /** @param {Page} page */
  answer({ subject, prefix, offset }) {
    this.asked += 1;
    const children = [...this.known(subject).children].sort();
    const matching = children.filter((each) => nameOf(each).startsWith(prefix));
    return {
      ...this.entry(subject),
      matchCount: matching.length,
      children: matching.slice(offset, offset + PAGE_SIZE).map((each) => this.entry(each)),
    };
  }

  /**
   * Answers whatever a window needs until it needs nothing.
   * @param {Tree} tree
   */
  fill(tree, first = 0, last = 1_000) {
    for (let round = 0; round < 20; round += 1) {
      const missing = tree.missing(first, last);
      if (missing.length === 0) {
        return;
      }
      for (const page of missing) {
        tree.accept(page, this.answer(page));
      }
    }
    assert.fail("it never has enough");
  }
}

/** @param {Tree} tree */
function shown(tree) {
  return Array.from({ length: tree.size }, (_, place) => {
    const row = tree.row(place);
    assert.ok(row);
    return `${"  ".repeat(row.level - 1)}${row.counts === null ? "..." : row.counts.subject}`;
  });
}

const LIBRARY = ["/books/23", "/books/42", "/books/42/pages/1", "/books/42/pages/2", "/readers/7"];

test("a tree begins with the root and what is below it", () => {
  const server = new Server(LIBRARY);
  const tree = new Tree();
  assert.deepEqual(tree.missing(0, 50), [{ subject: "/", prefix: "", offset: 0 }]);
  server.fill(tree);
  assert.deepEqual(shown(tree), ["/", "  /books", "  /readers"]);
  assert.equal(tree.row(0)?.counts?.recursiveEventCount, 5);
  assert.equal(tree.row(3), null);
});

test("levels open below each other, and close with what is in them", () => {
  const server = new Server(LIBRARY);
  const tree = new Tree();
  tree.show(
    new Map([
      ["/books", ""],
      ["/books/42", ""],
      ["/books/42/pages", ""],
    ]),
  );
  server.fill(tree);
  assert.deepEqual(shown(tree), [
    "/",
    "  /books",
    "    /books/23",
    "    /books/42",
    "      /books/42/pages",
    "        /books/42/pages/1",
    "        /books/42/pages/2",
    "  /readers",
  ]);
  assert.equal(tree.placeOf("/books/42/pages/2"), 6);
  assert.equal(tree.placeOf("/readers"), 7);
  assert.equal(tree.placeOf("/missing"), -1);
  assert.deepEqual(tree.row(6), {
    level: 5,
    index: 1,
    parent: "/books/42/pages",
    siblings: 2,
    counts: server.entry("/books/42/pages/2"),
    isOpen: false,
  });
  tree.show(new Map([["/readers", ""]]));
  server.fill(tree);
  assert.deepEqual(shown(tree), ["/", "  /books", "  /readers", "    /readers/7"]);
});

test("what is wanted and does not exist, or has nothing below, opens nothing", () => {
  const server = new Server(LIBRARY);
  const tree = new Tree();
  tree.show(
    new Map([
      ["/missing", ""],
      ["/books", ""],
      ["/books/23", ""],
    ]),
  );
  server.fill(tree);
  assert.deepEqual(shown(tree), ["/", "  /books", "    /books/23", "    /books/42", "  /readers"]);
});

test("of a million siblings, only what is looked at is asked for", () => {
  const tree = new Tree();
  const count = 1_000_000;
  const answer = (/** @type {Page} */ { subject, offset }) => ({
    subject,
    eventCount: 0,
    recursiveEventCount: count,
    childCount: subject === "/" ? 2 : count,
    matchCount: subject === "/" ? 2 : count,
    children:
      subject === "/"
        ? ["/customers", "/z"].map((name) => ({
            subject: name,
            eventCount: 0,
            recursiveEventCount: count,
            childCount: name === "/z" ? 0 : count,
          }))
        : Array.from({ length: PAGE_SIZE }, (_, index) => ({
            subject: `/customers/${String(offset + index).padStart(7, "0")}`,
            eventCount: 1,
            recursiveEventCount: 1,
            childCount: 0,
          })),
  });
  let asked = 0;
  const fill = (/** @type {number} */ first, /** @type {number} */ last) => {
    for (const page of tree.missing(first, last)) {
      asked += 1;
      tree.accept(page, answer(page));
    }
  };
  tree.show(new Map([["/customers", ""]]));
  fill(0, 40);
  assert.equal(tree.size, count + 3);
  fill(0, 40);
  assert.equal(tree.row(2)?.counts?.subject, "/customers/0000000");
  fill(500_000, 500_040);
  assert.equal(tree.row(500_002)?.counts?.subject, "/customers/0500000");
  assert.equal(tree.placeOf("/customers/0500000"), 500_002);
  assert.equal(tree.row(count + 2)?.counts?.subject, "/z");
  assert.equal(tree.row(250_000)?.counts, null);
  assert.equal(asked, 4);
  // Scrolling through all of it keeps a bounded part.
  for (let first = 0; first < count; first += 10 * PAGE_SIZE) {
    fill(first, first + 40);
  }
  const kept = [...tree.levels.values()].map((level) => level.pages.size);
  assert.ok(Math.max(...kept) <= 50, `${kept}`);
});

test("a level is narrowed to what begins so, and widened again", () => {
  const server = new Server(Array.from({ length: 500 }, (_, index) => `/s/${index}`));
  const tree = new Tree();
  tree.show(new Map([["/s", "42"]]));
  server.fill(tree);
  assert.deepEqual(shown(tree), [
    "/",
    "  /s",
    ...[
      "/s/42",
      ...Array.from({ length: 10 }, (_, index) => `/s/42${index}`).filter(
        (name) => name <= "/s/499",
      ),
    ].map((name) => `    ${name}`),
  ]);
  tree.show(new Map([["/s", ""]]));
  server.fill(tree);
  assert.equal(tree.size, 502);
});

test("an answer that comes late, or tells of another size, leaves no wrong rows", () => {
  const tree = new Tree();
  const before = new Server(LIBRARY);
  tree.show(new Map([["/books", ""]]));
  before.fill(tree);
  const page = { subject: "/books", prefix: "", offset: 0 };
  const after = new Server([...LIBRARY, "/books/1"]);
  tree.accept({ ...page, prefix: "4" }, after.answer({ ...page, prefix: "4" }));
  assert.equal(tree.size, 5);
  tree.accept(page, after.answer(page));
  after.fill(tree);
  assert.deepEqual(shown(tree).slice(2, 5), ["    /books/1", "    /books/23", "    /books/42"]);
  tree.show(new Map());
  tree.accept(page, after.answer(page));
  assert.deepEqual(shown(tree), ["/", "  /books", "  /readers"]);
});

test("reloading keeps what is open", () => {
  const tree = new Tree();
  tree.show(new Map([["/books", ""]]));
  new Server(LIBRARY).fill(tree);
  tree.reload();
  assert.equal(tree.size, 1);
  new Server([...LIBRARY, "/a"]).fill(tree);
  assert.deepEqual(shown(tree), [
    "/",
    "  /a",
    "  /books",
    "    /books/23",
    "    /books/42",
    "  /readers",
  ]);
});

test("subjects are taken apart and put together", () => {
  assert.equal(parentOf("/a/b"), "/a");
  assert.equal(parentOf("/a"), "/");
  assert.equal(parentOf("/"), "/");
  assert.deepEqual(ancestorsOf("/a/b"), ["/", "/a"]);
  assert.deepEqual(ancestorsOf("/"), []);
  assert.equal(nameOf("/a/b"), "b");
  assert.equal(nameOf("/"), "/");
  assert.equal(childOf("/", "a"), "/a");
  assert.equal(childOf("/a", "b"), "/a/b");
  assert.deepEqual(completing("/a/b"), { subject: "/a", prefix: "b" });
  assert.deepEqual(completing("/a/"), { subject: "/a", prefix: "" });
  assert.deepEqual(completing("/"), { subject: "/", prefix: "" });
  assert.deepEqual(completing("a"), { subject: "/", prefix: "a" });
});
