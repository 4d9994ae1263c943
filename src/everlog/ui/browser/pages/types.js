/** Event types: which there are, the schema of each, examples, and how one gets a schema. */

import { html } from "everlog/html";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "../api.js";
import { eventTypes, forgetKnown } from "../knowledge.js";
import { curl } from "../model/curl.js";
import { draftSchema } from "../model/drafts.js";
import { indented, memberText } from "../model/json-text.js";
import {
  Badge,
  CommandLine,
  CopyButton,
  Empty,
  ErrorBox,
  Field,
  Loading,
  Notice,
  Time,
} from "../parts/basics.js";
import { Dialog } from "../parts/dialog.js";
import { JsonTree } from "../parts/json-tree.js";
import { Table } from "../parts/table.js";
import { toast } from "../parts/toasts.js";
import { changed, go, link } from "../router.js";
import * as server from "../server.js";

export const title = "Event types";

/** @typedef {import("../knowledge.js").EventType} EventType */
/** @typedef {EventType & {count: number | null}} Listed */

const COUNTS = "FROM e IN events GROUP BY e.type PROJECT INTO { type: e.type, count: COUNT() }";
const EXAMPLES = 5;
const DRAFT_EVENTS = 200;

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const [version, setVersion] = useState(0);
  const [found, setFound] = useState(/** @type {Listed[] | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const chosen = params.get("type") ?? "";
  const reload = () => {
    forgetKnown();
    setError(null);
    setVersion(version + 1);
  };
  useEffect(() => {
    const ended = new AbortController();
    load(ended.signal).then(setFound, (reason) => ended.signal.aborted || setError(reason));
    return () => ended.abort();
  }, [version]);
  if (error !== null) {
    return html`<${ErrorBox} error=${error} title="Event types could not be read." retry=${reload} />`;
  }
  if (found === null) {
    return html`<${Loading} label="Reading event types" />`;
  }
  const entry = found.find(({ type }) => type === chosen) ?? null;
  const isNew = params.get("register") === "true" && chosen === "";
  return html`<div class="types-page ${chosen !== "" || isNew ? "chosen" : ""}">
    <${List} all=${found} params=${params} chosen=${chosen} />
    ${
      isNew
        ? html`<div class="stack"><${Register} key="new" type="" onDone=${reload} /></div>`
        : chosen === ""
          ? html`<div class="card wide-only"><${Empty} title="Choose an event type"><p>Its schema, examples of its events, and what else is known of it are shown here.</p><//></div>`
          : html`<${Details} key=${chosen} type=${chosen} entry=${entry} onDone=${reload} params=${params} />`
    }
  </div>`;
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<Listed[]>}
 */
async function load(signal) {
  const counts = new Map();
  for await (const { row } of api.query(COUNTS, { signal })) {
    counts.set(row.type, row.count);
  }
  const types = await eventTypes();
  return types.map((each) => ({
    ...each,
    count: counts.get(each.type) ?? (each.hasEvents ? null : 0),
  }));
}

/** @param {{all: Listed[], params: URLSearchParams, chosen: string}} props */
function List({ all, params, chosen }) {
  const filter = params.get("filter") ?? "";
  const isOpen = params.get("schema") === "none";
  const low = filter.toLowerCase();
  const rows = all.filter(
    (each) => each.type.toLowerCase().includes(low) && !(isOpen && each.schema !== undefined),
  );
  const show = (/** @type {Record<string, any>} */ changes) =>
    go("types", changed(params, changes), { replace: true });
  const columns = [
    {
      key: "type",
      title: "Event type",
      class: "mono",
      render: (/** @type {Listed} */ row) => html`<span title=${row.type}>${row.type}</span>`,
    },
    {
      key: "schema",
      title: "Schema",
      width: "96px",
      render: (/** @type {Listed} */ row) =>
        row.schema === undefined
          ? html`<span class="muted">none</span>`
          : html`<${Badge} kind="accent">schema<//>`,
    },
    {
      key: "count",
      title: "Events",
      width: "88px",
      align: /** @type {const} */ ("number"),
      render: (/** @type {Listed} */ row) =>
        row.count === null ? "–" : row.count.toLocaleString("en"),
    },
  ];
  const open = (/** @type {Listed} */ row) =>
    go("types", changed(params, { type: row.type, register: null }));
  return html`<section class="card flush types-list" aria-label="Event types">
    <div class="row filter">
      <input class="grow" type="search" placeholder="Filter ${all.length.toLocaleString("en")} types" aria-label="Filter event types"
        value=${filter} onInput=${(/** @type {any} */ event) => show({ filter: event.target.value })} />
      <button type="button" aria-pressed=${isOpen} onClick=${() => show({ schema: isOpen ? null : "none" })}>Without schema</button>
      ${server.canWrite.value ? html`<a class="button" href=${link("types", changed(params, { type: null, register: true }))}>Register…</a>` : null}
    </div>
    ${
      rows.length === 0
        ? html`<${Empty} title=${all.length === 0 ? "There are no event types" : "No type is like that"}>
            <p>${all.length === 0 ? "A type is there once it has an event or a schema." : "Try another filter."}</p><//>`
        : html`<${Table} label="Event types" columns=${columns} rows=${rows} onOpen=${open}
            rowKey=${(/** @type {Listed} */ row) => row.type} height="min(70vh, 800px)"
            selected=${rows.findIndex(({ type }) => type === chosen)} />`
    }
  </section>`;
}

/** @param {{type: string, entry: Listed | null, onDone: () => void, params: URLSearchParams}} props */
function Details({ type, entry, onDone, params }) {
  const schema = entry === null ? undefined : memberText(entry.text, "schema");
  const back = link("types", changed(params, { type: null }));
  if (entry === null) {
    return html`<div class="stack"><a class="narrow-only" href=${back}>All event types</a>
      <${Notice} kind="warning" title="There is no such event type.">A type is there once it has an event or a schema.<//>
      ${server.canWrite.value ? html`<${Register} type=${type} onDone=${onDone} />` : null}</div>`;
  }
  const events = link("events", { subject: "/", recursive: true, type });
  const query = link("query", {
    query: `FROM e IN events\nWHERE e.type == '${type}'\nORDER BY e.time DESC\nTOP 100\nPROJECT INTO e`,
  });
  return html`<div class="stack">
    <a class="narrow-only" href=${back}>All event types</a>
    <section class="card" aria-label="Event type">
      <header><h2 class="mono any">${type}</h2>
        <${CopyButton} text=${type} label="Copy the name" iconOnly />
        <span class="row end">
          ${entry.hasEvents ? html`<a class="button small" href=${events}>Events</a><a class="button small" href=${query}>Query</a>` : null}
          ${server.canWrite.value ? html`<a class="button small" href=${link("write", { type })}>Write one</a>` : null}
        </span></header>
      <dl class="facts">
        <dt>Events</dt><dd>${entry.count === null ? "some" : entry.count.toLocaleString("en")}</dd>
        <dt>Schema</dt><dd>${schema === undefined ? "None: its events may have any data" : "Every event matches it; it cannot be changed"}</dd>
      </dl>
    </section>
    ${
      schema === undefined
        ? null
        : html`<section class="card" aria-label="Schema"><header><h2>Schema</h2><span class="end"><${CopyButton} text=${() => indented(schema)} /></span></header>
      <${JsonTree} text=${schema} label="Schema" /></section>`
    }
    ${entry.hasEvents ? html`<${Examples} type=${type} />` : null}
    ${schema === undefined && server.canWrite.value ? html`<${Register} type=${type} onDone=${onDone} />` : null}
  </div>`;
}

/**
 * @param {string} type
 * @param {number} countMax
 * @param {AbortSignal} signal
 */
async function latest(type, countMax, signal) {
  const selection = {
    subject: "/",
    recursive: true,
    order: /** @type {const} */ ("antichronological"),
    types: [type],
  };
  /** @type {api.EventItem[]} */
  const events = [];
  for await (const event of api.events(selection, { signal })) {
    events.push(event);
    if (events.length === countMax) {
      break;
    }
  }
  return events;
}

/** @param {{type: string}} props */
function Examples({ type }) {
  const [events, setEvents] = useState(/** @type {api.EventItem[] | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  useEffect(() => {
    const ended = new AbortController();
    latest(type, EXAMPLES, ended.signal).then(
      setEvents,
      (reason) => ended.signal.aborted || setError(reason),
    );
    return () => ended.abort();
  }, [type]);
  return html`<section class="card flush" aria-label="Examples"><header><h2>The latest events</h2></header>
    ${error === null ? null : html`<${ErrorBox} error=${error} />`}
    ${events === null && error === null ? html`<${Loading} />` : null}
    ${(events ?? []).map(
      (event, at) => html`<details class="example" key=${event.id} open=${at === 0}>
        <summary><a href=${link("event", { id: event.id })}>Event ${event.id}</a>
          <span class="any mono">${event.subject}</span><span class="muted end"><${Time} value=${event.time} short /></span></summary>
        <${JsonTree} text=${event.raw} label="Data of event ${event.id}" />
      </details>`,
    )}
  </section>`;
}

/**
 * What a check of a schema has shown: for which text, and what.
 * @typedef {{type: string, text: string, count: number | null, error: any}} Checked
 */

/** @param {{type: string, onDone: () => void}} props */
function Register({ type: given, onDone }) {
  const [type, setType] = useState(given);
  const [text, setText] = useState('{\n  "type": "object",\n  "properties": {}\n}');
  const [checked, setChecked] = useState(/** @type {Checked | null} */ (null));
  const [isBusy, setBusy] = useState(false);
  const [isSure, setSure] = useState(false);
  const ended = useRef(new AbortController());
  useEffect(() => () => ended.current.abort(), []);
  const fault = useMemo(() => jsonFault(text), [text]);
  const current =
    checked !== null && checked.text === text && checked.type === type ? checked : null;
  const body = `{"type":${JSON.stringify(type)},"schema":${text.trim()}}`;

  const check = async () => {
    setBusy(true);
    ended.current = new AbortController();
    try {
      const answer = await api.json("QUERY", "api/v2/data/check-event-schema", body, {
        signal: ended.current.signal,
      });
      setChecked({ type, text, count: answer.eventCount, error: null });
    } catch (error) {
      if (!ended.current.signal.aborted) {
        setChecked({ type, text, count: null, error });
      }
    } finally {
      setBusy(false);
    }
  };
  const register = async () => {
    setSure(false);
    setBusy(true);
    try {
      for await (const _ of api.stream("POST", "api/v2/data/register-event-schema", body)) {
        // It says what was registered.
      }
      toast(`${type} has its schema.`);
      go("types", { type }, { replace: true });
      onDone();
    } catch (error) {
      setChecked({ type, text, count: null, error });
      setBusy(false);
    }
  };
  const draft = async () => {
    const events = await latest(type, DRAFT_EVENTS, ended.current.signal);
    setText(JSON.stringify(draftSchema(events.map(({ data }) => data)), null, 2));
  };
  const isAboutType = /^event-type/.test(current?.error?.code ?? "");
  const said = current?.error?.message;
  return html`<section class="card" aria-label="Register a schema">
    <header><h2>${given === "" ? "Register a schema for a type" : "Register a schema"}</h2></header>
    <p class="muted small">A schema is for good: it cannot be changed or removed. Test it first; that changes nothing.</p>
    ${
      given !== ""
        ? null
        : html`<${Field} label="Event type" fault=${isAboutType ? said : null} hint="A reverse domain name, such as com.example.book-acquired">
      ${(
        /** @type {any} */ attributes,
      ) => html`<input ...${attributes} class="mono" value=${type} autocomplete="off" spellcheck="false"
        onInput=${(/** @type {any} */ event) => setType(event.target.value)} />`}<//>`
    }
    <${Field} label="JSON Schema" fault=${fault ?? (said && !isAboutType && !current?.error?.details?.eventId ? said : null)} hint="Of an object, with properties; JSON Schema 2020-12 unless it says otherwise">
      ${(
        /** @type {any} */ attributes,
      ) => html`<textarea ...${attributes} rows="12" spellcheck="false" value=${text}
        onInput=${(/** @type {any} */ event) => setText(event.target.value)}></textarea>`}<//>
    ${current === null ? null : html`<${Verdict} checked=${current} />`}
    <div class="row">
      <button type="button" class=${current?.error === null ? "" : "primary"} disabled=${isBusy || fault !== null || type === ""} onClick=${check}>Test against stored events</button>
      <button type="button" class=${current?.error === null ? "primary" : ""} disabled=${isBusy || current === null || current.error !== null} onClick=${() => setSure(true)}
        title=${current?.error === null ? "" : "Test it first"}>Register…</button>
      ${isBusy ? html`<span class="row small muted" role="status"><span class="spinner" aria-hidden="true"></span>Judging events <button type="button" class="small" onClick=${() => ended.current.abort()}>Cancel</button></span>` : null}
      ${given === "" ? null : html`<button type="button" class="quiet end" onClick=${draft}>Draft from events</button>`}
    </div>
    <${CommandLine} curl=${curl({ method: "POST", url: new URL("api/v2/data/register-event-schema", api.ROOT).href, body })} />
    ${
      isSure
        ? html`<${Dialog} title="Register this schema for good?" onClose=${() => setSure(false)}
      actions=${html`<button type="button" onClick=${() => setSure(false)}>Cancel</button><button type="button" class="primary" onClick=${register}>Register for good</button>`}>
      <p>Every event of <code class="any">${type}</code> must match it from then on. It can neither be changed nor removed.</p><//>`
        : null
    }
  </section>`;
}

/** @param {{checked: Checked}} props */
function Verdict({ checked: { count, error } }) {
  if (error === null) {
    const many =
      count === 1
        ? "The stored event of this type matches"
        : `All ${Number(count).toLocaleString("en")} stored events of this type match`;
    return html`<${Notice} kind="good" title="It can be registered.">${count === 0 ? "There is no event of this type yet." : `${many}.`}<//>`;
  }
  const id = error.details?.eventId;
  if (id === undefined) {
    return html`<${ErrorBox} error=${error} title="It cannot be registered." />`;
  }
  return html`<${Notice} kind="bad" title="A stored event does not match." actions=${html`<a class="button small" href=${link("event", { id })}>Open event ${id}</a>`}>${error.message}<//>`;
}

/** @param {string} text */
function jsonFault(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return `This is no JSON: ${error instanceof Error ? error.message : error}`;
  }
}
