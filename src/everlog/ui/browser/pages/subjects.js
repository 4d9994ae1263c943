/** Subjects as a tree: levels are loaded as they are opened, and rows as they come into sight. */

import { html } from "everlog/html";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { events, json } from "../api.js";
import { whole } from "../model/amounts.js";
import { ancestorsOf, nameOf, PAGE_SIZE, parentOf, ROOT, Tree } from "../model/tree.js";
import { first, useAnswer } from "../parts/answer.js";
import { CopyButton, Empty, ErrorBox, Field, Loading, Time } from "../parts/basics.js";
import { Icon } from "../parts/icons.js";
import { SubjectField, SubjectPath } from "../parts/subject.js";
import { useWindow } from "../parts/window.js";
import { changed, go, link } from "../router.js";

export const title = "Subjects";

const PATH = "api/v2/data/read-child-subjects";
const ROW_HEIGHT = 32;
const LATEST = 8;
// So many levels that a person opened are in the address.
const OPEN_MAX = 40;

/** @typedef {import("../model/tree.js").Row} Row */
/** @typedef {import("../model/tree.js").Page} LevelPage */

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const subject = params.get("subject") || ROOT;
  const prefix = params.get("prefix") ?? "";
  const opened = params.getAll("open");
  const wanted = useMemo(() => {
    /** @type {Map<string, string>} */
    const all = new Map([ROOT, ...ancestorsOf(subject), ...opened].map((each) => [each, ""]));
    if (prefix !== "") {
      all.set(subject, prefix);
    }
    // Among more siblings than are loaded at once, a subject is found by its name.
    if (params.get("within") === "name" && subject !== ROOT) {
      all.set(parentOf(subject), nameOf(subject));
    }
    return all;
  }, [String(params)]);
  /** @param {string} chosen */
  const select = (chosen) =>
    go(
      "subjects",
      changed(params, { subject: chosen === ROOT ? null : chosen, prefix: null, within: null }),
    );
  /** @param {string} chosen */
  const jump = (chosen) =>
    go("subjects", { subject: chosen === ROOT ? null : chosen, open: chosen });
  /**
   * @param {string} which
   * @param {boolean} isOpen
   */
  const toggle = (which, isOpen) => {
    const others = opened.filter((each) => each !== which);
    const next = isOpen ? [...others.slice(-OPEN_MAX), which] : others;
    const isAbove = !isOpen && (subject === which || subject.startsWith(`${which}/`));
    const changes = {
      open: next,
      ...(isAbove ? { subject: which === ROOT ? null : which, prefix: null, within: null } : {}),
    };
    go("subjects", changed(params, changes), { replace: true });
  };
  return html`<div class="row fixed subject-bar">
      <${Field} label="Go to a subject" class="grow">${(
        /** @type {any} */ attributes,
      ) => html`<${SubjectField}
        attributes=${attributes} value=${subject} onChoose=${jump} placeholder="/customers/42" />`}
          <//>
    </div>
    <div class="explorer">
      <${TreeView} wanted=${wanted} selected=${subject} prefix=${prefix} select=${select}
        toggle=${toggle}
        narrow=${(/** @type {string} */ text) =>
          go(
            "subjects",
            changed(params, {
              prefix: text,
              within: null,
              open: [...opened.filter((each) => each !== subject), subject],
            }),
            { replace: true },
          )}
        within=${params.get("within")}
          setWithin=${(/** @type {string} */ within) =>
            go("subjects", changed(params, { within }), { replace: true })} />
      <${About} key=${subject} subject=${subject} />
    </div>`;
}

/**
 * @param {{wanted: Map<string, string>, selected: string, prefix: string,
 *   select: (subject: string) => void, toggle: (subject: string, isOpen: boolean) => void,
 *   narrow: (text: string) => void, within: string | null,
 *   setWithin: (within: string) => void}} props
 */
function TreeView({ wanted, selected, prefix, select, toggle, narrow, within, setWithin }) {
  const tree = useRef(new Tree()).current;
  const [, setVersion] = useState(0);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [active, setActive] = useState(selected);
  const asked = useRef(/** @type {Set<string>} */ (new Set()));
  const ended = useRef(/** @type {AbortController | null} */ (null));
  const body = useRef(/** @type {HTMLElement | null} */ (null));
  const redraw = () => setVersion((before) => before + 1);
  const {
    ref,
    first: from,
    last: to,
    before,
    after,
    show,
  } = useWindow({ count: tree.size, height: ROW_HEIGHT });

  useEffect(() => {
    ended.current = new AbortController();
    return () => ended.current?.abort();
  }, []);
  useEffect(() => {
    tree.show(wanted);
    redraw();
  }, [wanted]);
  // Before anybody can press the next key.
  useLayoutEffect(() => setActive(selected), [selected]);
  useEffect(() => {
    for (const page of error === null ? tree.missing(from, to) : []) {
      const key = `${page.subject} ${page.prefix} ${page.offset}`;
      if (!asked.current.has(key)) {
        asked.current.add(key);
        load(page, ended.current?.signal).then(
          (answer) => {
            asked.current.delete(key);
            tree.accept(page, answer);
            redraw();
          },
          (failure) => {
            asked.current.delete(key);
            if (!ended.current?.signal.aborted) {
              setError(failure);
            }
          },
        );
      }
    }
  });
  const place = tree.placeOf(selected);
  const shownFor = useRef("");
  useEffect(() => {
    if (place >= 0 && shownFor.current !== selected) {
      shownFor.current = selected;
      show(place);
    }
  }, [place, selected]);

  const siblings = tree.levels.get(parentOf(selected));
  const isLost =
    place < 0 &&
    selected !== ROOT &&
    siblings !== undefined &&
    siblings.prefix === "" &&
    siblings.pages.size > 0 &&
    (siblings.count ?? 0) > PAGE_SIZE;
  useEffect(() => {
    if (isLost && within === null) {
      setWithin("name");
    }
  }, [isLost, within]);

  /** @param {number} index */
  const focus = (index) => {
    const next = Math.max(0, Math.min(index, tree.size - 1));
    const row = tree.row(next);
    if (row?.counts) {
      setActive(row.counts.subject);
      show(next);
      requestAnimationFrame(() =>
        requestAnimationFrame(() => {
          /** @type {HTMLElement | null | undefined} */
          (body.current?.querySelector(`[data-place="${next}"]`))?.focus({ preventScroll: true });
        }),
      );
    }
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    const index = Math.max(tree.placeOf(active), 0);
    const row = tree.row(index);
    if (!row?.counts) {
      return;
    }
    const { subject, childCount } = row.counts;
    const actions = {
      ArrowDown: () => focus(index + 1),
      ArrowUp: () => focus(index - 1),
      PageDown: () => focus(index + 20),
      PageUp: () => focus(index - 20),
      Home: () => focus(0),
      End: () => focus(tree.size - 1),
      ArrowRight: () => (row.isOpen || childCount === 0 ? focus(index + 1) : toggle(subject, true)),
      ArrowLeft: () =>
        row.isOpen && subject !== ROOT
          ? toggle(subject, false)
          : focus(tree.placeOf(parentOf(subject))),
      Enter: () => select(subject),
      " ": () => select(subject),
    };
    const action = actions[/** @type {keyof typeof actions} */ (event.key)];
    if (action !== undefined) {
      event.preventDefault();
      action();
    }
  };
  const rows = [];
  for (let index = from; index < to; index += 1) {
    const row = tree.row(index);
    if (row !== null) {
      rows.push({ index, row });
    }
  }
  const isActiveShown = rows.some(({ row }) => row.counts?.subject === active);
  const reload = () => {
    setError(null);
    tree.reload();
    redraw();
  };
  const level = tree.levels.get(selected);
  return html`<section class="card flush tree" aria-label="Subjects">
    <header>
      <div class="grow">${
        within === "name" && selected !== ROOT
          ? html`<span class="badge accent">Level narrowed to “${nameOf(selected)}”
              <button type="button" class="quiet small icon" aria-label="Show all siblings"
                onClick=${() => setWithin("all")}><${Icon} name="close" /></button></span>`
          : html`<input type="search" class="mono"
            aria-label="Children of ${selected} that begin with"
              placeholder="Below ${selected}: begins with" value=${prefix}
              onInput=${(/** @type {any} */ event) => narrow(event.currentTarget.value)} />`
      }</div>
      ${
        level?.prefix
          ? html`<span class="muted small">
        ${whole(level.count ?? 0)} match</span>`
          : null
      }
      <button type="button" class="quiet small icon" aria-label="Load anew" title="Load anew"
        onClick=${reload}><${Icon} name="reload" /></button>
    </header>
    ${error === null ? null : html`<${ErrorBox} error=${error} retry=${reload} />`}
    <div class="tree-scroll" ref=${ref}>
      ${tree.root === null && error === null ? html`<${Loading} />` : null}
      <div role="tree" aria-label="Subjects" ref=${body} onKeyDown=${press}>
        <div style=${{ height: `${before}px` }}></div>
        ${rows.map(
          (
            { index, row },
            offset,
          ) => html`<${TreeRow} key=${row.counts?.subject ?? `${row.parent} ${row.index}`}
            row=${row}
            place=${index} isSelected=${row.counts?.subject === selected}
            isActive=${row.counts?.subject === active || (!isActiveShown && offset === 0)}
            select=${select} toggle=${toggle} />`,
        )}
        <div style=${{ height: `${after}px` }}></div>
      </div>
    </div>
  </section>`;
}

/**
 * @param {{row: Row, place: number, isSelected: boolean, isActive: boolean,
 *   select: (subject: string) => void, toggle: (subject: string, isOpen: boolean) => void}} props
 */
function TreeRow({ row, place, isSelected, isActive, select, toggle }) {
  const { counts, isOpen, level, index, siblings } = row;
  if (counts === null) {
    return html`<div role="treeitem" class="tree-row" aria-level=${level} aria-busy="true"
      aria-label="Loading"
      style=${{ "--level": level }}><span class="placeholder"></span></div>`;
  }
  const { subject, eventCount, recursiveEventCount, childCount } = counts;
  const hasChildren = childCount > 0;
  return html`<div role="treeitem" class="tree-row" data-place=${place} aria-level=${level}
    aria-expanded=${hasChildren ? isOpen : undefined} aria-selected=${isSelected}
    aria-posinset=${index + 1} aria-setsize=${siblings} tabindex=${isActive ? 0 : -1}
    style=${{ "--level": level }} onClick=${() => select(subject)}
    onDblClick=${() => hasChildren && subject !== ROOT && toggle(subject, !isOpen)}>
    <span class="twist" aria-hidden="true" onClick=${(/** @type {Event} */ event) => {
      event.stopPropagation();
      if (hasChildren && subject !== ROOT) {
        toggle(subject, !isOpen);
      }
    }}>${
      hasChildren && subject !== ROOT ? html`<${Icon} name=${isOpen ? "down" : "next"} />` : null
    }</span>
    <span class="visually-hidden">${subject}, ${whole(recursiveEventCount)} events</span>
    <span class="mono name truncate" aria-hidden="true" title=${subject}>${nameOf(subject)}</span>
    ${
      hasChildren
        ? html`<span class="muted small wide-only" aria-hidden="true">
            ${whole(childCount)} below</span>`
        : null
    }
    <span aria-hidden="true" class="number small ${eventCount === 0 ? "muted" : ""}"
      title=${`${whole(eventCount)} on it, ${whole(recursiveEventCount)} with all below`}>
      ${whole(recursiveEventCount)}</span>
  </div>`;
}

/** @param {{subject: string}} props */
function About({ subject }) {
  const counts = useAnswer(
    (signal) => json("QUERY", PATH, { subject, options: { limit: 0 } }, { signal }),
    [subject],
  );
  const latest = useAnswer(
    (signal) =>
      first(events({ subject, recursive: true, order: "antichronological" }, { signal }), LATEST),
    [subject],
  );
  const found = counts.value;
  return html`<section class="card about" aria-label="The subject">
    <header><h2 class="grow"><${SubjectPath} subject=${subject} page="subjects" /></h2>
      <${CopyButton} text=${subject} label="Copy subject" iconOnly /></header>
    ${
      counts.error === null
        ? null
        : html`<${ErrorBox} error=${counts.error}
      retry=${counts.retry} />`
    }
    ${
      found === null
        ? null
        : html`<dl class="facts">
            <dt>On it</dt><dd>${whole(found.eventCount)} events</dd>
            <dt>With all below</dt><dd>${whole(found.recursiveEventCount)} events</dd>
            <dt>Directly below</dt><dd>${whole(found.childCount)} subjects</dd></dl>`
    }
    <div class="row">
      <a class="button primary" href=${link("events", { subject })}><${Icon}
        name="events" />Events</a>
      <a class="button" href=${link("events", { subject, recursive: "false" })}>Only on it</a>
      <a class="button" href=${link("history", { subject })}><${Icon} name="trace" />History</a>
    </div>
    <h3>Latest events</h3>
    ${
      latest.error !== null
        ? html`<${ErrorBox} error=${latest.error} retry=${latest.retry} />`
        : latest.value === null
          ? html`<${Loading} />`
          : latest.value.length === 0
            ? html`<${Empty} title="No events yet">
              <p>A subject comes into being with its first event.</p><//>`
            : html`<ul class="latest">${latest.value.map(
                (event) => html`<li key=${event.id}><a href=${link("event", { id: event.id })}>
                  <span class="mono muted">${event.id}</span> <span class="mono any">${event.type}
                    </span></a>
                  ${
                    event.subject === subject
                      ? null
                      : html`<span class="mono small muted truncate"
                    title=${event.subject}>${event.subject}</span>`
                  }
                  <span class="small muted"><${Time} value=${event.time} short /></span></li>`,
              )}</ul>`
    }
  </section>`;
}

/**
 * @param {LevelPage} page
 * @param {AbortSignal | undefined} signal
 */
async function load({ subject, prefix, offset }, signal) {
  const options = { ...(prefix === "" ? {} : { prefix }), offset, limit: PAGE_SIZE };
  return json("QUERY", PATH, { subject, options }, { signal });
}
