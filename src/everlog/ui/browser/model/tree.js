/**
 * The tree of subjects as it is shown: levels that are loaded page by page as they come into sight.
 *
 * A level of a million siblings is a number and the few pages of it that were looked at. Rows are
 * counted over all levels that are open, so that a window onto some is found in a few steps.
 */

/** What read-child-subjects says of a subject. */
/** @typedef {{subject: string, eventCount: number, recursiveEventCount: number,
 *   childCount: number}} Counts */

/**
 * A row: `counts` is null while its page is on its way, and `index` is its place on its level.
 * @typedef {{level: number, index: number, parent: string, siblings: number, counts: Counts | null,
 *   isOpen: boolean}} Row
 */

/** @typedef {{subject: string, prefix: string, offset: number}} Page */

/** How many siblings are asked for at once. */
export const PAGE_SIZE = 200;

// A level forgets what was seen longest ago: nobody looks at so many siblings at once.
const PAGES_MAX = 50;

export const ROOT = "/";

/** The children of one subject. */
class Level {
  /**
   * @param {string} subject
   * @param {string} prefix How the children that are shown begin.
   * @param {number | null} count How many there are; null is not known yet.
   */
  constructor(subject, prefix, count) {
    this.subject = subject;
    this.prefix = prefix;
    this.count = count;
    /** @type {Map<number, Counts[]>} */
    this.pages = new Map();
    /**
     * Levels that are open below, by the index of their subject here.
     * @type {Map<number, Level>}
     */
    this.open = new Map();
  }

  /** How many rows it has, with those of the levels that are open below. */
  get size() {
    let size = this.count ?? 0;
    for (const level of this.open.values()) {
      size += level.size;
    }
    return size;
  }

  /**
   * @param {number} index
   * @returns {Counts | null}
   */
  at(index) {
    const page = Math.floor(index / PAGE_SIZE);
    return this.pages.get(page)?.[index % PAGE_SIZE] ?? null;
  }
}

/** The tree, with the root as its first row. */
export class Tree {
  constructor() {
    /** @type {Counts | null} */
    this.root = null;
    this.top = new Level(ROOT, "", null);
    /**
     * Every level that is open, by its subject.
     * @type {Map<string, Level>}
     */
    this.levels = new Map([[ROOT, this.top]]);
    // What is to be open as soon as it comes into sight.
    /** @type {Map<string, string>} */
    this.wanted = new Map();
  }

  /** How many rows there are. */
  get size() {
    return 1 + this.top.size;
  }

  /**
   * Returns a row.
   * @param {number} place
   * @returns {Row | null}
   */
  row(place) {
    if (place === 0) {
      return {
        level: 1,
        index: 0,
        parent: "",
        siblings: 1,
        counts: this.root,
        isOpen: true,
      };
    }
    return find(this.top, place - 1, 2);
  }

  /**
   * Returns at which row a subject is, -1 where that is not known.
   * @param {string} subject
   * @returns {number}
   */
  placeOf(subject) {
    if (subject === ROOT) {
      return 0;
    }
    const above = parentOf(subject);
    const level = this.levels.get(above);
    const start = this.placeOf(above);
    if (level === undefined || start < 0) {
      return -1;
    }
    for (const [number, page] of level.pages) {
      const place = page.findIndex((each) => each.subject === subject);
      if (place >= 0) {
        const index = number * PAGE_SIZE + place;
        let rows = start + 1 + index;
        for (const [other, below] of level.open) {
          rows += other < index ? below.size : 0;
        }
        return rows;
      }
    }
    return -1;
  }

  /**
   * Says which subjects are to be open, each with how the children that are shown begin.
   *
   * A level that stays open keeps what it has loaded.
   * @param {Map<string, string>} wanted
   */
  show(wanted) {
    this.wanted = new Map(wanted);
    for (const subject of [...this.levels.keys()]) {
      if (subject !== ROOT && !this.wanted.has(subject)) {
        this.close(subject);
      }
    }
    for (const level of [...this.levels.values()]) {
      const prefix = this.wanted.get(level.subject) ?? "";
      if (level.prefix !== prefix) {
        this.narrow(level, prefix);
      }
      this.openWanted(level);
    }
  }

  /** Forgets what was loaded, so that it is asked for anew; what is open stays so. */
  reload() {
    const wanted = new Map(this.wanted);
    const prefix = this.top.prefix;
    this.top = new Level(ROOT, prefix, null);
    this.levels = new Map([[ROOT, this.top]]);
    this.show(wanted);
  }

  /**
   * Returns the pages that some rows need and that are not there; a level whose size is not known
   * needs its first one.
   * @param {number} first
   * @param {number} last One behind the last of the rows.
   * @returns {Page[]}
   */
  missing(first, last) {
    /** @type {Map<string, Page>} */
    const pages = new Map();
    for (const level of this.levels.values()) {
      if (level.count === null) {
        note(pages, level, 0);
      }
    }
    for (let place = Math.max(first, 1); place < Math.min(last, this.size); place += 1) {
      const row = this.row(place);
      const level = row?.counts === null ? this.levels.get(row.parent) : undefined;
      if (row !== null && level !== undefined) {
        note(pages, level, Math.floor(row.index / PAGE_SIZE));
      }
    }
    return [...pages.values()];
  }

  /**
   * Takes in what the server answered for a page; late answers are left out.
   * @param {Page} page
   * @param {Counts & {matchCount: number, children: Counts[]}} answer
   */
  accept(page, answer) {
    const level = this.levels.get(page.subject);
    if (level === undefined || level.prefix !== page.prefix) {
      return;
    }
    if (level === this.top) {
      this.root = countsOf(answer);
    }
    if (level.count !== null && level.count !== answer.matchCount) {
      // Siblings came between: places are others now.
      this.narrow(level, level.prefix);
    }
    level.count = answer.matchCount;
    const number = page.offset / PAGE_SIZE;
    level.pages.delete(number);
    level.pages.set(number, answer.children.map(countsOf));
    const oldest = level.pages.keys().next().value;
    if (level.pages.size > PAGES_MAX && oldest !== undefined) {
      level.pages.delete(oldest);
    }
    this.openWanted(level);
  }

  /**
   * @param {Level} level
   * @param {string} prefix
   */
  narrow(level, prefix) {
    for (const below of [...level.open.values()]) {
      this.close(below.subject);
    }
    level.prefix = prefix;
    level.count = null;
    level.pages.clear();
  }

  /** @param {Level} level */
  openWanted(level) {
    for (const [number, page] of level.pages) {
      for (const [place, counts] of page.entries()) {
        const { subject, childCount } = counts;
        if (this.wanted.has(subject) && childCount > 0 && !this.levels.has(subject)) {
          const prefix = this.wanted.get(subject) ?? "";
          const below = new Level(subject, prefix, prefix === "" ? childCount : null);
          level.open.set(number * PAGE_SIZE + place, below);
          this.levels.set(subject, below);
        }
      }
    }
  }

  /** @param {string} subject */
  close(subject) {
    const level = this.levels.get(subject);
    if (level === undefined) {
      return;
    }
    for (const below of [...level.open.values()]) {
      this.close(below.subject);
    }
    this.levels.delete(subject);
    const above = this.levels.get(parentOf(subject));
    for (const [index, each] of above?.open ?? []) {
      if (each === level) {
        above?.open.delete(index);
      }
    }
  }
}

/**
 * Returns the subject directly above, the root for the root.
 * @param {string} subject
 */
export function parentOf(subject) {
  return subject.slice(0, subject.lastIndexOf("/")) || ROOT;
}

/**
 * Returns every subject above, the root first.
 * @param {string} subject
 * @returns {string[]}
 */
export function ancestorsOf(subject) {
  return subject === ROOT ? [] : [...ancestorsOf(parentOf(subject)), parentOf(subject)];
}

/**
 * Returns the last segment of a subject.
 * @param {string} subject
 */
export function nameOf(subject) {
  return subject === ROOT ? ROOT : subject.slice(subject.lastIndexOf("/") + 1);
}

/**
 * Returns the subject below another one with a name.
 * @param {string} subject
 * @param {string} name
 */
export function childOf(subject, name) {
  return subject === ROOT ? `/${name}` : `${subject}/${name}`;
}

/**
 * Returns what to ask for where somebody types a subject: whose children, and how they begin.
 * @param {string} text
 * @returns {{subject: string, prefix: string}}
 */
export function completing(text) {
  const slash = text.lastIndexOf("/");
  return { subject: text.slice(0, Math.max(slash, 0)) || ROOT, prefix: text.slice(slash + 1) };
}

/**
 * @param {Level} level
 * @param {number} place
 * @param {number} depth
 * @returns {Row | null}
 */
function find(level, place, depth) {
  // How many rows of levels below lie before the place.
  let below = 0;
  const open = [...level.open].sort(([left], [right]) => left - right);
  for (const [index, each] of open) {
    if (place <= index + below) {
      break;
    }
    const inside = place - index - below - 1;
    if (inside < each.size) {
      return find(each, inside, depth + 1);
    }
    below += each.size;
  }
  const index = place - below;
  const siblings = level.count ?? 0;
  if (index >= siblings) {
    return null;
  }
  const isOpen = level.open.has(index);
  const counts = level.at(index);
  return { level: depth, index, parent: level.subject, siblings, counts, isOpen };
}

/**
 * @param {Map<string, Page>} pages
 * @param {Level} level
 * @param {number} number
 */
function note(pages, { subject, prefix }, number) {
  pages.set(`${subject} ${number}`, { subject, prefix, offset: number * PAGE_SIZE });
}

/**
 * @param {Counts} answer
 * @returns {Counts}
 */
function countsOf({ subject, eventCount, recursiveEventCount, childCount }) {
  return { subject, eventCount, recursiveEventCount, childCount };
}
