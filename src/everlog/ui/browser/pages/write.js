/** Write an event, from nothing or like another one, under preconditions, and not by accident. */

import { html } from "everlog/html";
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api.js";
import { eventTypes, forgetKnown, subjectsLike } from "../knowledge.js";
import { curl } from "../model/curl.js";
import {
  bodyOf,
  draftLike,
  faultOfData,
  fieldOf,
  newPrecondition,
  PRECONDITIONS,
} from "../model/drafts.js";
import { indented } from "../model/json-text.js";
import { CommandLine, ErrorBox, Field, Loading, Notice, Time } from "../parts/basics.js";
import { Dialog } from "../parts/dialog.js";
import { Icon } from "../parts/icons.js";
import { link } from "../router.js";
import * as server from "../server.js";

export const title = "Write";

/** @typedef {import("../model/drafts.js").Draft} Draft */
/** @typedef {import("../model/drafts.js").Precondition} Precondition */

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const like = params.get("like");
  const [event, setEvent] = useState(
    /** @type {api.EventItem | null | undefined} */ (like === null ? null : undefined),
  );
  const [error, setError] = useState(/** @type {unknown} */ (null));
  useEffect(() => {
    if (like === null) {
      return undefined;
    }
    const ended = new AbortController();
    one(like, ended.signal).then(setEvent, (reason) => ended.signal.aborted || setError(reason));
    return () => ended.abort();
  }, [like]);
  if (!server.canWrite.value) {
    return html`<${Notice} kind="warning" title="Nothing can be written here.">The server is read-only, or follows another one.<//>`;
  }
  if (error !== null) {
    return html`<${ErrorBox} error=${error} title="Event ${like} could not be read." />`;
  }
  if (event === undefined) {
    return html`<${Loading} label="Reading event ${like}" />`;
  }
  const given = {
    source: "",
    subject: params.get("subject") ?? "",
    type: params.get("type") ?? "",
  };
  const first =
    event === null ? draftLike(given, "{\n  \n}") : draftLike(event, indented(event.raw));
  return html`<${Form} key=${like ?? ""} first=${first} like=${event} />`;
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<api.EventItem>}
 */
async function one(id, signal) {
  const bound = { id, type: /** @type {const} */ ("inclusive") };
  const selection = { subject: "/", recursive: true, lowerBound: bound, upperBound: bound };
  for await (const event of api.events(selection, { signal })) {
    return event;
  }
  throw new api.ApiError(`There is no event with the id ${id}.`);
}

/** @param {{first: Draft, like: api.EventItem | null}} props */
function Form({ first, like }) {
  const [draft, setDraft] = useState(first);
  const [faults, setFaults] = useState(/** @type {Record<string, string>} */ ({}));
  const [error, setError] = useState(/** @type {any} */ (null));
  const [isAsking, setAsking] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [written, setWritten] = useState(/** @type {any} */ (null));
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  const names = useNames(draft.subject);

  const change = (/** @type {Partial<Draft>} */ changes) => {
    setDraft({ ...draft, ...changes });
    const touched = Object.keys(changes);
    setFaults(
      Object.fromEntries(
        Object.entries(faults).filter(([name]) => !touched.includes(name) && !/^\d/.test(name)),
      ),
    );
    setError(null);
  };
  const refuse = (/** @type {Record<string, string>} */ found) => {
    setFaults(found);
    // Whoever cannot see where the fault is stands at it.
    setTimeout(
      () =>
        /** @type {HTMLElement | null | undefined} */ (
          form.current?.querySelector('[aria-invalid="true"]')
        )?.focus(),
      0,
    );
  };
  const ask = (/** @type {Event} */ event) => {
    event.preventDefault();
    const fault = faultOfData(draft.data);
    if (fault !== null) {
      refuse({ data: fault });
      return;
    }
    setFaults({});
    setError(null);
    setAsking(true);
  };
  const write = async () => {
    setAsking(false);
    setWritten(null);
    setBusy(true);
    try {
      for await (const { payload } of api.stream(
        "POST",
        "api/v2/data/write-events",
        bodyOf(draft),
      )) {
        setWritten(payload);
      }
      forgetKnown();
    } catch (reason) {
      const field = fieldOf(/** @type {any} */ (reason));
      setError(reason);
      if (field !== null) {
        refuse({ [field]: /** @type {Error} */ (reason).message });
      }
    } finally {
      setBusy(false);
    }
  };
  const input = (
    /** @type {"source" | "subject" | "type" | "traceparent" | "tracestate"} */ name,
    /** @type {string} */ label,
    /** @type {string} */ hint,
    list = "",
  ) => html`
    <${Field} label=${label} hint=${hint} fault=${faults[name]}>
      ${(
        /** @type {any} */ attributes,
      ) => html`<input ...${attributes} class="mono" value=${draft[name]} list=${list || undefined}
        autocomplete="off" autocapitalize="off" spellcheck="false"
        onInput=${(/** @type {any} */ event) => change({ [name]: event.target.value })} />`}<//>`;
  const url = new URL("api/v2/data/write-events", api.ROOT).href;
  return html`<form class="stack write-page" ref=${form} onSubmit=${ask} novalidate>
    <section class="card" aria-label="Event">
      <header><h2>${like === null ? "A new event" : html`An event like <a href=${link("event", { id: like.id })}>event ${like.id}</a>`}</h2></header>
      <div class="grid pair">
        ${input("type", "Type", "A reverse domain name, such as com.example.book-acquired", "known-types")}
        ${input("subject", "Subject", "A path, such as /books/42", "known-subjects")}
      </div>
      ${input("source", "Source", "A URI that names where the event comes from, such as https://library.example")}
      <${Field} label="Data" hint="A JSON object, stored as it is typed" fault=${faults.data}>
        ${(
          /** @type {any} */ attributes,
        ) => html`<textarea ...${attributes} rows="12" spellcheck="false" value=${draft.data}
          onInput=${(/** @type {any} */ event) => change({ data: event.target.value })}></textarea>`}<//>
      <details open=${draft.traceparent !== "" || faults.traceparent !== undefined || faults.tracestate !== undefined}>
        <summary>Tracing</summary>
        <div class="grid pair">
          ${input("traceparent", "traceparent", "Optional: W3C Trace Context, version 00")}
          ${input("tracestate", "tracestate", "Optional, with a traceparent only")}
        </div>
      </details>
      <datalist id="known-types">${names.types.map((each) => html`<option key=${each} value=${each} />`)}</datalist>
      <datalist id="known-subjects">${names.subjects.map((each) => html`<option key=${each} value=${each} />`)}</datalist>
    </section>
    <${Preconditions} draft=${draft} faults=${faults} onChange=${(/** @type {Precondition[]} */ preconditions) => change({ preconditions })} />
    ${written === null ? null : html`<${Written} event=${written} />`}
    ${error === null ? null : html`<${ErrorBox} error=${error} title="It was not written." />`}
    <div class="row"><button type="submit" class="primary" disabled=${isBusy}>${isBusy ? "Writing" : "Write…"}</button></div>
    ${faultOfData(draft.data) === null ? html`<${CommandLine} curl=${curl({ method: "POST", url, body: bodyOf(draft) })} />` : null}
    ${isAsking ? html`<${Confirmation} draft=${draft} onClose=${() => setAsking(false)} onWrite=${write} />` : null}
  </form>`;
}

/** @param {{event: any}} props */
function Written({ event }) {
  const actions = html`<a class="button small" href=${link("event", { id: event.id })}>Open event ${event.id}</a>`;
  return html`<${Notice} kind="good" title="Event ${event.id} is written." actions=${actions}>
    <${Time} value=${event.time} /><//>`;
}

/** @param {{draft: Draft, onClose: () => void, onWrite: () => void}} props */
function Confirmation({ draft, onClose, onWrite }) {
  const count = draft.preconditions.length;
  const actions = html`<button type="button" onClick=${onClose}>Back</button>
    <button type="button" class="primary" onClick=${onWrite}>Write for good</button>`;
  return html`<${Dialog} title="Write this event?" onClose=${onClose} actions=${actions}>
    <p>It can neither be changed nor deleted.</p>
    <dl class="facts">
      <dt>Type</dt><dd class="mono">${draft.type}</dd>
      <dt>Subject</dt><dd class="mono">${draft.subject}</dd>
      <dt>Source</dt><dd class="mono">${draft.source}</dd>
      <dt>Preconditions</dt><dd>${count === 0 ? "none: it is written whatever the store has" : count === 1 ? "one, which must hold" : `${count}, all of which must hold`}</dd>
    </dl>
    <pre class="code">${indented(draft.data)}</pre>
  <//>`;
}

/**
 * @param {{draft: Draft, faults: Record<string, string>,
 *   onChange: (preconditions: Precondition[]) => void}} props
 */
function Preconditions({ draft, faults, onChange }) {
  const all = draft.preconditions;
  const add = () => onChange([...all, newPrecondition(draft.subject)]);
  return html`<section class="card" aria-label="Preconditions">
    <header><h2>Preconditions</h2><span class="end"><button type="button" class="small" onClick=${add}>Add</button></span></header>
    ${all.length === 0 ? html`<p class="muted small">None: the event is written whatever the store has. Preconditions are judged in the same step as the write.</p>` : null}
    ${all.map(
      (each, at) => html`<${One} key=${at} value=${each} at=${at} faults=${faults}
        onChange=${(/** @type {Partial<Precondition>} */ changes) => onChange(all.map((other, index) => (index === at ? { ...other, ...changes } : other)))}
        onRemove=${() => onChange(all.filter((_, index) => index !== at))} />`,
    )}
  </section>`;
}

/**
 * @param {{value: Precondition, at: number, faults: Record<string, string>,
 *   onChange: (changes: Partial<Precondition>) => void, onRemove: () => void}} props
 */
function One({ value, at, faults, onChange, onRemove }) {
  const kind = PRECONDITIONS.find(({ type }) => type === value.type) ?? PRECONDITIONS[0];
  const has = (/** @type {string} */ name) =>
    /** @type {readonly string[]} */ (kind.fields).includes(name);
  const input = (/** @type {"subject" | "eventId"} */ name, /** @type {string} */ label) => html`
    <${Field} label=${label} fault=${faults[`${at}.${name}`]} class="grow">
      ${(
        /** @type {any} */ attributes,
      ) => html`<input ...${attributes} class="mono" value=${value[name]} autocomplete="off" spellcheck="false"
        onInput=${(/** @type {any} */ event) => onChange({ [name]: event.target.value })} />`}<//>`;
  return html`<div class="precondition" role="group" aria-label="Precondition ${at + 1}">
    <${Field} label="Must hold" fault=${faults[`${at}.type`]}>
      ${(
        /** @type {any} */ attributes,
      ) => html`<select ...${attributes} value=${kind.type} onChange=${(/** @type {any} */ event) => onChange({ type: event.target.value })}>
        ${PRECONDITIONS.map(({ type, label }) => html`<option key=${type} value=${type}>${label}</option>`)}</select>`}<//>
    ${has("subject") ? input("subject", "Subject") : null}
    ${has("eventId") ? input("eventId", "Event id") : null}
    ${
      has("query")
        ? html`<${Field} label="Query with one row, which is true" fault=${faults[`${at}.query`]} class="grow">
      ${(/** @type {any} */ attributes) => html`<textarea ...${attributes} rows="3" spellcheck="false" value=${value.query} onInput=${(/** @type {any} */ event) => onChange({ query: event.target.value })}></textarea>`}<//>`
        : null
    }
    ${
      has("recursive")
        ? html`<label class="check"><input type="checkbox" checked=${value.recursive} onChange=${(/** @type {any} */ event) => onChange({ recursive: event.target.checked })} />
      <span>with all below</span></label>`
        : null
    }
    <button type="button" class="quiet icon" aria-label="Remove precondition ${at + 1}" title="Remove" onClick=${onRemove}><${Icon} name="close" /></button>
  </div>`;
}

/**
 * Names that the store has, for boxes that complete what is typed.
 * @param {string} subject
 */
function useNames(subject) {
  const [types, setTypes] = useState(/** @type {string[]} */ ([]));
  const [subjects, setSubjects] = useState(/** @type {string[]} */ ([]));
  useEffect(() => {
    eventTypes().then(
      (all) => setTypes(all.slice(0, 500).map(({ type }) => type)),
      () => {},
    );
  }, []);
  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(() => {
      subjectsLike(subject || "/").then(
        (found) => isCurrent && setSubjects(found),
        () => {},
      );
    }, 200);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [subject]);
  return { types, subjects };
}
