/** Events as a table: any part of the log, page by page, and live. Every state is an address. */

import { html } from "everlog/html";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, events, observe, query, stream } from "../api.js";
import { whole } from "../model/amounts.js";
import { Arrivals, arrivedText } from "../model/arrivals.js";
import { countOf, firstSince, queryOf } from "../model/eventql.js";
import { FIELDS, fieldOf, fieldValue, isField } from "../model/field.js";
import { parse } from "../model/json-text.js";
import {
  DEFAULT_COLUMNS,
  isNewest,
  moved,
  pageOf,
  paramsOf,
  SIZES,
  selectionOf,
  stateOf,
  timeOf,
} from "../model/table.js";
import { first, useAnswer } from "../parts/answer.js";
import { Asked, readCommand } from "../parts/asked.js";
import { Empty, ErrorBox, Field, Loading, Time } from "../parts/basics.js";
import { Dialog } from "../parts/dialog.js";
import { Export } from "../parts/export.js";
import { Icon } from "../parts/icons.js";
import { useKeys } from "../parts/keys.js";
import { SubjectField } from "../parts/subject.js";
import { Table } from "../parts/table.js";
import { go, link } from "../router.js";

export const title = "Events";

// A cell is one line: whoever wants to read more opens the event.
const CELL_LETTERS = 400;
// How often what arrives is shown, however fast it comes.
const SHOWN_MS = 250;

const WIDTHS = /** @type {Record<string, string>} */ ({
  id: "88px",
  time: "208px",
  subject: "20%",
  type: "22%",
  data: "auto",
});

/** @typedef {import("../model/table.js").State} State */
/** @typedef {import("../api.js").EventItem} EventItem */

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const address = String(params);
  const state = useMemo(() => stateOf(params), [address]);
  const [dialog, setDialog] = useState(/** @type {"columns" | "export" | null} */ (null));
  const [marked, setMarked] = useState(/** @type {string[]} */ ([]));
  /**
   * @param {State} next
   * @param {boolean} [replace]
   */
  const show = (next, replace = false) => go("events", paramsOf(next), { replace });
  const answer = useAnswer((signal) => read(state, signal), [keyOf(state)]);
  const count = useAnswer((signal) => countAll(state, signal), [filterOf(state)]);
  const live = useArrivals(state, answer.value, answer.isLoading);

  /** @param {string} id */
  const mark = (id) =>
    setMarked(
      marked.includes(id) ? marked.filter((each) => each !== id) : [...marked.slice(-1), id],
    );
  const page = answer.value;
  const rows = live.rows ?? page?.rows ?? [];
  const older = page?.older ?? null;
  const newer = page?.newer ?? null;
  const move = {
    oldest: () => show(moved(state, { from: "0" })),
    older: () => older && show(moved(state, older)),
    newer: () => newer && show(moved(state, newer)),
    newest: () => (isNewest(state) ? answer.retry() : show(moved(state, {}))),
  };
  useKeys([
    { keys: "[", label: "Older events", run: move.older },
    { keys: "]", label: "Newer events", run: move.newer },
    { keys: "x", label: "Mark the event for comparing", run: () => markFocused(rows, mark) },
    {
      keys: "l",
      label: "Live on and off",
      run: () => isNewest(state) && show({ ...state, isLive: !state.isLive }, true),
    },
  ]);
  const columns = columnsOf(state, marked, mark);
  return html`<${Filters} state=${state} show=${show} />
    <div class="row between">
      <div class="group" role="group" aria-label="Pages">
        <button type="button" onClick=${move.oldest} disabled=${older === null && page !== null}>
          <${Icon} name="first" /><span class="wide-label">Oldest</span></button>
        <button type="button" onClick=${move.older} disabled=${older === null} title="Older ( [ )">
          <${Icon} name="previous" />Older</button>
        <button type="button" onClick=${move.newer} disabled=${newer === null}
          title="Newer ( ] )">Newer<${Icon} name="next" /></button>
        <button type="button" onClick=${move.newest}
          disabled=${isNewest(state) && answer.isLoading}><span class="wide-label">Newest</span>
          <${Icon} name="last" /></button>
      </div>
      ${
        answer.error === null
          ? html`<${Shown} rows=${rows} count=${count.value}
        isLoading=${answer.isLoading} />`
          : null
      }
      <div class="row end">
        ${
          marked.length === 0
            ? null
            : html`<button type="button" class=${marked.length === 2 ? "primary" : ""}
              disabled=${marked.length < 2}
                onClick=${() => go("compare", comparing(marked))}><${Icon} name="compare" />${
                  marked.length === 2 ? "Compare" : "Mark one more"
                }</button>`
        }
        <button type="button" aria-pressed=${state.isLive} disabled=${!isNewest(state)}
          title=${isNewest(state) ? "Show events as they come (l)" : "Only the newest page is live"}
          onClick=${() => show({ ...state, isLive: !state.isLive }, true)}><${Icon}
            name="live" />Live</button>
        <button type="button" onClick=${() => setDialog("columns")}><${Icon} name="columns" /><span
          class="wide-label">Columns</span></button>
        <button type="button" onClick=${() => setDialog("export")}><${Icon} name="download" /><span
          class="wide-label">Download</span></button>
      </div>
    </div>
    <${LiveBar} live=${live} state=${state} showAll=${live.showAll(answer.retry)} />
    ${
      answer.error !== null
        ? html`<${ErrorBox} error=${answer.error} retry=${answer.retry} />`
        : page === null
          ? html`<${Loading} label="Reading events" />`
          : rows.length === 0
            ? html`<div class="card"><${Nothing} state=${state} show=${show} /></div>`
            : html`<div class="card flush events ${answer.isLoading ? "stale" : ""}"><${Table}
              columns=${columns} rows=${rows} label="Events"
                height="max(320px, calc(100dvh - 280px))"
                  rowKey=${(/** @type {EventItem} */ event) => event.id}
                onScroll=${live.onScroll}
                onOpen=${(/** @type {EventItem} */ event) => go("event", { id: event.id })}
                  /></div>`
    }
    <${Behind} state=${state} />
    ${
      dialog === "columns"
        ? html`<${Columns} state=${state} rows=${rows} show=${show}
      onClose=${() => setDialog(null)} />`
        : null
    }
    ${
      dialog === "export"
        ? html`<${Everything} state=${state}
      onClose=${() => setDialog(null)} />`
        : null
    }`;
}

/**
 * @param {State} state
 * @param {AbortSignal} signal
 */
async function rangeOf(state, signal) {
  const [start, end] = await Promise.all([idAt(state.since, signal), idAt(state.until, signal)]);
  return { first: start, end };
}

/**
 * Returns the id of the first event at or after a time, null for no time; where there is none, it
 * is the id of an event that nobody has written yet.
 * @param {string} text
 * @param {AbortSignal} signal
 */
async function idAt(text, signal) {
  if (text === "") {
    return null;
  }
  const time = timeOf(text);
  if (time === null) {
    throw new ApiError(
      `“${text}” is no time: write 2026-01-31, 2026-01-31 12:30, or all of RFC 3339.`,
    );
  }
  const [found] = await first(query(firstSince(time), { signal }), 1);
  return found === undefined ? BEHIND_ALL : BigInt(found.row.value ?? found.row);
}

const BEHIND_ALL = 2n ** 63n - 1n;

/**
 * @param {State} state
 * @param {AbortSignal} signal
 */
async function read(state, signal) {
  const selection = selectionOf(state, await rangeOf(state, signal));
  const found =
    selection === null ? [] : await first(events(selection, { signal }), state.size + 1);
  return pageOf(state, found);
}

/**
 * @param {State} state
 * @param {AbortSignal} signal
 * @returns {Promise<number | null>}
 */
async function countAll(state, signal) {
  try {
    const times = { since: timeOf(state.since), until: timeOf(state.until) };
    const [found] = await first(query(countOf(state, times), { signal }), 1);
    return found === undefined ? null : (found.row.value ?? found.row);
  } catch {
    // It is only told beside; what is wrong is told where events are read.
    return null;
  }
}

/** What is to be read anew when it changes. @param {State} state */
function keyOf({ columns, isLive, ...rest }) {
  return JSON.stringify(rest);
}

/** What decides how many there are. @param {State} state */
function filterOf({ subject, recursive, types, since, until }) {
  return JSON.stringify([subject, recursive, types, since, until]);
}

/**
 * Observes what comes behind the newest page.
 *
 * Arrivals are counted, and a page of them is kept, whatever comes. In live mode they are shown a
 * few times a second, unless somebody has scrolled down to read.
 * @param {State} state
 * @param {{rows: EventItem[]} | null} page
 * @param {boolean} isLoading
 */
function useArrivals(state, page, isLoading) {
  const isOn = isNewest(state) && page !== null && !isLoading;
  const [rows, setRows] = useState(/** @type {EventItem[] | null} */ (null));
  const [count, setCount] = useState(0);
  const [isWaiting, setWaiting] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const arrivals = useRef(/** @type {Arrivals<EventItem>} */ (new Arrivals(state.size)));
  const isAtTop = useRef(true);
  const isLive = useRef(state.isLive);
  isLive.current = state.isLive;
  const key = keyOf(state);
  useEffect(() => {
    setRows(null);
    setCount(0);
    setError(null);
    arrivals.current = new Arrivals(state.size);
    isAtTop.current = true;
    if (!isOn || page === null) {
      return undefined;
    }
    const ended = new AbortController();
    const newest = page.rows.reduce((last, { id }) => (BigInt(id) > last ? BigInt(id) : last), -1n);
    follow(state, newest, arrivals, ended.signal, setWaiting).catch((failure) => {
      if (!ended.signal.aborted) {
        setError(failure);
      }
    });
    let shown = page.rows;
    const timer = setInterval(() => {
      const mine = arrivals.current;
      if (isLive.current && isAtTop.current && mine.count > 0) {
        const taken = mine.take();
        const all = state.isOldestFirst ? [...shown, ...taken.reverse()] : [...taken, ...shown];
        shown = state.isOldestFirst ? all.slice(-state.size) : all.slice(0, state.size);
        setRows(shown);
      }
      setCount(mine.count);
    }, SHOWN_MS);
    return () => {
      clearInterval(timer);
      ended.abort();
    };
  }, [key, page, isOn]);
  return {
    rows,
    count,
    isWaiting,
    error,
    isPaused: state.isLive && count > 0 && !isAtTop.current,
    /** @param {Event} event */
    onScroll: (event) => {
      isAtTop.current = /** @type {HTMLElement} */ (event.currentTarget).scrollTop < 8;
    },
    /** @param {() => void} retry */
    showAll: (retry) => () => {
      isAtTop.current = true;
      document.querySelector(".events .table-scroll")?.scrollTo(0, 0);
      if (!state.isLive) {
        retry();
      }
    },
  };
}

/**
 * @param {State} state
 * @param {bigint} newest
 * @param {{current: Arrivals<EventItem>}} arrivals
 * @param {AbortSignal} signal
 * @param {(isWaiting: boolean) => void} setWaiting
 */
async function follow(state, newest, arrivals, signal, setWaiting) {
  const range = await rangeOf({ ...state, until: "" }, signal);
  const lower = range.first !== null && range.first > newest + 1n ? range.first : newest + 1n;
  /** @type {import("../api.js").Selection} */
  const selection = {
    subject: state.subject,
    recursive: state.recursive,
    lowerBound: { id: String(lower > BEHIND_ALL ? BEHIND_ALL : lower), type: "inclusive" },
    ...(state.types.length > 0 ? { types: state.types } : {}),
  };
  const onState = (/** @type {string} */ word) => setWaiting(word === "waiting");
  for await (const event of observe(selection, { signal, onState })) {
    arrivals.current.add(event);
  }
}

/** @param {{live: ReturnType<typeof useArrivals>, state: State, showAll: () => void}} props */
function LiveBar({ live, state, showAll }) {
  const isShown = live.count > 0 && (!state.isLive || live.isPaused);
  const words = state.isLive
    ? `Paused: ${arrivedText(live.count)}. Go on`
    : arrivedText(live.count);
  return html`<div class="live-bar" aria-live="polite">
    ${
      isShown
        ? html`<button type="button" class="primary" onClick=${showAll}><${Icon}
      name="live" />${words}</button>`
        : null
    }
    ${
      live.isWaiting
        ? html`<span
      class="badge warning dot">Connection lost; trying again</span>`
        : null
    }
    ${
      live.error === null
        ? null
        : html`<span
      class="badge bad dot">No longer live: ${
        live.error instanceof Error ? live.error.message : String(live.error)
      }
      </span>`
    }
  </div>`;
}

/** @param {{rows: EventItem[], count: number | null, isLoading: boolean}} props */
function Shown({ rows, count, isLoading }) {
  const of = count === null ? "" : ` of ${whole(count)}`;
  return html`<span class="muted small" role="status">${
    isLoading
      ? "Reading…"
      : rows.length === 0 && !count
        ? "No events"
        : `${whole(rows.length)}${of} event${(count ?? rows.length) === 1 ? "" : "s"}`
  }</span>`;
}

const TYPES_MAX = 2_000;

/** @param {{state: State, show: (next: State) => void}} props */
function Filters({ state, show }) {
  const known = useAnswer(readTypes, []);
  const [type, setType] = useState("");
  /** @param {Partial<State>} changes */
  const filter = (changes) => show(moved(state, { ...changes, isLive: state.isLive }));
  /** @param {string} name */
  const addType = (name) => {
    const chosen = name.trim();
    setType("");
    if (chosen !== "" && !state.types.includes(chosen)) {
      filter({ types: [...state.types, chosen] });
    }
  };
  const isFiltered =
    state.subject !== "/" ||
    !state.recursive ||
    state.types.length > 0 ||
    state.since !== "" ||
    state.until !== "";
  const [isFolded, setFolded] = useState(true);
  return html`<button type="button" class="fold" aria-expanded=${!isFolded} aria-controls="filters"
    onClick=${() => setFolded(!isFolded)}>
      <${Icon} name=${isFolded ? "next" : "down"} />Filters<span class="mono muted truncate">
        ${state.subject}</span></button>
    <div class="filters ${isFolded ? "folded" : ""}" role="group" aria-label="Filters" id="filters">
      <${Field} label="Subject" class="wide">${(
        /** @type {any} */ attributes,
      ) => html`<${SubjectField} attributes=${attributes}
        value=${state.subject} placeholder="/"
          onChoose=${(/** @type {string} */ subject) =>
            subject !== state.subject &&
            filter({
              subject,
            })} />`}
          <//>
      <label class="check below"><input type="checkbox" checked=${state.recursive}
        onChange=${(/** @type {any} */ event) => filter({ recursive: event.currentTarget.checked })}
          /><span>and below</span>
          </label>
      <${Field} label="Event type" class="wide">${(
        /** @type {any} */ attributes,
      ) => html`<input ...${attributes} type="text" class="mono"
        list="known-types" placeholder=${state.types.length === 0 ? "all" : "one more"}
          value=${type} autocomplete="off" spellcheck="false"
        onInput=${(/** @type {any} */ event) => {
          const text = event.currentTarget.value;
          // Choosing from the list types all of it at once.
          if (
            event.inputType === "insertReplacementText" ||
            (!event.inputType && known.value?.includes(text))
          ) {
            addType(text);
          } else {
            setType(text);
          }
        }}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && addType(type)}
        onBlur=${() => addType(type)} />`}<//>
      <datalist id="known-types">${(known.value ?? []).map(
        (name) => html`<option key=${name}
        value=${name}></option>`,
      )}</datalist>
      <${TimeField} label="Since" value=${state.since}
        onChoose=${(/** @type {string} */ since) => filter({ since })} />
      <${TimeField} label="Until" value=${state.until}
        onChoose=${(/** @type {string} */ until) => filter({ until, isLive: false })} />
      <${Field} label="Order">${(
        /** @type {any} */ attributes,
      ) => html`<select ...${attributes} value=${state.isOldestFirst ? "oldest" : "newest"}
        onChange=${(/** @type {any} */ event) =>
          show({ ...state, isOldestFirst: event.currentTarget.value === "oldest" })}>
        <option value="newest">Newest first</option><option value="oldest">Oldest first</option>
          </select>`}<//>
      <${Field} label="Rows">${(
        /** @type {any} */ attributes,
      ) => html`<select ...${attributes} value=${String(state.size)}
        onChange=${(/** @type {any} */ event) =>
          show({ ...state, size: Number(event.currentTarget.value) })}>
        ${SIZES.map((size) => html`<option key=${size} value=${String(size)}>${size}</option>`)}
          </select>`}<//>
    </div>
    ${
      isFiltered
        ? html`<div class="row chips"><span class="visually-hidden">Filtered</span>
          ${state.types.map(
            (
              name,
            ) => html`<span key=${name} class="badge accent"><span class="mono any truncate">${name}
              </span>
              <button type="button" class="quiet small icon" aria-label="Take out ${name}"
                title="Take out"
                onClick=${() => filter({ types: state.types.filter((each) => each !== name) })}>
                  <${Icon} name="close" /></button></span>`,
          )}<button type="button" class="quiet small"
            onClick=${() =>
              filter({
                subject: "/",
                recursive: true,
                types: [],
                since: "",
                until: "",
              })}>Clear all filters</button>
            </div>`
        : null
    }`;
}

/** @param {AbortSignal} signal */
async function readTypes(signal) {
  const names = await first(typeNames(signal), TYPES_MAX);
  return names;
}

/**
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<string, void, void>}
 */
async function* typeNames(signal) {
  for await (const { payload } of stream("QUERY", "api/v2/data/read-event-types", undefined, {
    signal,
  })) {
    if (payload.hasEvents) {
      yield payload.type;
    }
  }
}

/** @param {{label: string, value: string, onChoose: (value: string) => void}} props */
function TimeField({ label, value, onChoose }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const fault = text.trim() === "" || timeOf(text) !== null ? null : "No time";
  const choose = () => {
    if (text.trim() !== value && (text.trim() === "" || timeOf(text) !== null)) {
      onChoose(text.trim());
    }
  };
  return html`<${Field} label="${label} (UTC)" fault=${fault} class="time">${(
    /** @type {any} */ attributes,
  ) => html`<input ...${attributes}
    type="text" class="mono" placeholder="2026-01-31 12:30" value=${text} autocomplete="off"
    onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)} onBlur=${choose}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && choose()} />`}
      <//>`;
}

/** @param {{state: State, show: (next: State) => void}} props */
function Nothing({ state, show }) {
  const isAll = filterOf(state) === filterOf(stateOf(new URLSearchParams()));
  if (isAll && isNewest(state)) {
    return html`<${Empty} title="The log is empty">
      <p>Events appear here as soon as somebody writes one.</p><//>`;
  }
  return html`<${Empty} title="No events here">
    <p>${
      isNewest(state)
        ? "No event is as the filters say. New ones appear here when they come."
        : "There are no events on this page."
    }
      </p>
    <div class="row">
      ${
        isNewest(state)
          ? null
          : html`<button type="button"
        onClick=${() => show(moved(state, {}))}>Newest events</button>`
      }
      ${
        state.recursive
          ? null
          : html`<button type="button"
        onClick=${() => show(moved(state, { recursive: true }))}>
          Look below${" "}${state.subject} too</button>`
      }
    </div><//>`;
}

/**
 * @param {State} state
 * @param {string[]} marked
 * @param {(id: string) => void} mark
 */
function columnsOf(state, marked, mark) {
  const marks = {
    key: "mark",
    title: html`<span class="visually-hidden">Marked</span>`,
    width: "40px",
    class: "mark",
    wide: true,
    /** @param {EventItem} event */
    render: ({ id }) => html`<input type="checkbox" tabindex="-1" aria-label="Mark event ${id}"
      checked=${marked.includes(id)}
      onChange=${() => mark(id)} />`,
  };
  // On a phone there is room for a few: the id and the type, or else the first that were chosen.
  const few = state.columns.filter((field) => ["id", "type"].includes(field));
  const others = state.columns.filter(
    (field) => !few.includes(field) && field !== "time" && field !== "data",
  );
  const narrow = [
    ...few,
    ...(state.columns === DEFAULT_COLUMNS ? [] : others.slice(0, 3 - few.length)),
  ];
  const isWide = (/** @type {string} */ field) => narrow.length > 0 && !narrow.includes(field);
  return [
    marks,
    ...state.columns.map((field) => ({
      key: field,
      title: field.replace(/^data\.(?=[A-Za-z_])/, ""),
      width: WIDTHS[field],
      wide: isWide(field),
      /** @param {EventItem} event */
      render: (event) => cellOf(event, field, state),
    })),
  ];
}

/**
 * @param {EventItem} event
 * @param {string} field
 * @param {State} state
 */
function cellOf(event, field, state) {
  if (field === "id") {
    return html`<a class="mono" tabindex="-1" href=${link("event", { id: event.id })}>${event.id}
      </a>`;
  }
  if (field === "time") {
    return html`<${Time} value=${event.time} short />`;
  }
  if (field === "subject") {
    return html`<a class="mono plain" tabindex="-1" title=${event.subject}
      href=${link("events", paramsOf(moved(state, { subject: event.subject })))}>${event.subject}
      </a>`;
  }
  if (field === "type") {
    return html`<a class="mono plain" tabindex="-1" title=${event.type}
      href=${link("events", paramsOf(moved(state, { types: [event.type] })))}>${event.type}</a>`;
  }
  const value = fieldValue(event, field);
  if (value === null) {
    return html`<span class="muted" aria-label="nothing">–</span>`;
  }
  const text =
    value.text.length > CELL_LETTERS ? `${value.text.slice(0, CELL_LETTERS)}…` : value.text;
  return html`<span class="mono ${value.kind === "number" ? "amount" : ""}" dir="auto">${text}
    </span>`;
}

/** @param {string[]} marked */
function comparing(marked) {
  const [left, right] = [...marked].sort((one, other) => (BigInt(one) < BigInt(other) ? -1 : 1));
  return { left, right };
}

/**
 * @param {EventItem[]} rows
 * @param {(id: string) => void} mark
 */
function markFocused(rows, mark) {
  const row = document.activeElement?.closest("tr[aria-rowindex]");
  const event = rows[Number(row?.getAttribute("aria-rowindex")) - 2];
  if (event !== undefined) {
    mark(event.id);
  }
}

/**
 * @param {{state: State, rows: EventItem[], show: (next: State) => void,
 *   onClose: () => void}} props
 */
function Columns({ state, rows, show, onClose }) {
  const [text, setText] = useState("");
  const seen = useMemo(() => fieldsSeen(rows), [rows]);
  const choices = [...new Set([...state.columns, ...FIELDS, "data", ...seen])];
  /** @param {string[]} columns */
  const choose = (columns) =>
    show({ ...state, columns: columns.length === 0 ? DEFAULT_COLUMNS : columns });
  const field = text.trim().replace(/^\$?\./, "");
  const full = field === "" || isField(field) ? field : `data.${field}`;
  const fault = field !== "" && !isField(full) ? 'Write data.title, or data."first name".' : null;
  const add = () => {
    if (field !== "" && fault === null) {
      choose([...state.columns, full]);
      setText("");
    }
  };
  return html`<${Dialog} title="Columns" onClose=${onClose} actions=${html`
      <button type="button" onClick=${() => choose(DEFAULT_COLUMNS)}>As in the beginning</button>
      <button type="button" class="primary" onClick=${onClose}>Done</button>`}>
    <div class="row fixed top">
      <${Field} label="A field of data" class="grow" fault=${fault}
        hint="As in EventQL: data.customer.name">${(
          /** @type {any} */ attributes,
        ) => html`<input ...${attributes}
        type="text" class="mono" value=${text} spellcheck="false" autocomplete="off"
        onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && add()} />`}<//>
      <button type="button" class="add" onClick=${add}
        disabled=${field === "" || fault !== null}>Add</button>
    </div>
    <div class="column-choices" role="group" aria-label="Shown columns">${choices.map(
      (name) => html`<label class="check" key=${name}><input type="checkbox"
        checked=${state.columns.includes(name)}
        onChange=${(/** @type {any} */ event) =>
          choose(
            event.currentTarget.checked
              ? [...state.columns, name]
              : state.columns.filter((each) => each !== name),
          )} />
        <span class="mono any">${name}</span></label>`,
    )}</div>
  <//>`;
}

const SEEN_EVENTS = 50;
const SEEN_FIELDS = 60;

/** @param {EventItem[]} rows */
function fieldsSeen(rows) {
  const seen = new Set();
  for (const { raw } of rows.slice(0, SEEN_EVENTS)) {
    for (const { name, node } of parse(raw).members ?? []) {
      const inner =
        node.kind === "object" ? (node.members ?? []).map((each) => [name, each.name]) : [[name]];
      for (const names of inner) {
        const field = names.every((each) => each.length <= 100) ? fieldOf(names) : null;
        if (field !== null && seen.size < SEEN_FIELDS) {
          seen.add(field);
        }
      }
    }
  }
  return /** @type {string[]} */ ([...seen]);
}

/**
 * Returns the selection of all that a filter means, oldest first.
 * @param {State} state
 * @param {AbortSignal} signal
 */
async function everythingOf(state, signal) {
  const all = { ...state, from: null, before: null };
  const selection = selectionOf(all, await rangeOf(all, signal));
  return selection === null
    ? null
    : { ...selection, order: /** @type {const} */ ("chronological") };
}

/** @param {{state: State, onClose: () => void}} props */
function Everything({ state, onClose }) {
  const selection = useAnswer((signal) => everythingOf(state, signal), [filterOf(state)]);
  if (selection.value === null) {
    return selection.isLoading
      ? null
      : html`<${Dialog} title="Download all that the filter means" onClose=${onClose}
          actions=${html`<button type="button" onClick=${onClose}>Close</button>`}>
          ${
            selection.error === null
              ? html`<p>No event is as the filters say.</p>`
              : html`<${ErrorBox}
            error=${selection.error} />`
          }<//>`;
  }
  const name =
    state.subject === "/" ? "events" : `events${state.subject.replaceAll("/", "-")}`.slice(0, 80);
  return html`<${Export} selection=${selection.value} columns=${state.columns} name=${name}
    onClose=${onClose} />`;
}

/** @param {{state: State}} props */
function Behind({ state }) {
  const times = { since: timeOf(state.since), until: timeOf(state.until) };
  const isRight =
    (state.since === "" || times.since !== null) && (state.until === "" || times.until !== null);
  const selection = useAnswer(
    async (signal) => (isRight ? selectionOf(state, await rangeOf(state, signal)) : null),
    [keyOf(state)],
  );
  if (!isRight || selection.value === null) {
    return null;
  }
  return html`<details class="behind"><summary>The same as EventQL, and with curl</summary>
    <${Asked} query=${queryOf(state, times)} curl=${readCommand(selection.value)} /></details>`;
}
