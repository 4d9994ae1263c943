/** The history of a subject: what each of its events changed, step by step. */

import { html } from "everlog/html";
import { useEffect, useRef, useState } from "preact/hooks";
import { events } from "../api.js";
import { whole } from "../model/amounts.js";
import { merged, spokenOf } from "../model/difference.js";
import { historyOf } from "../model/eventql.js";
import { useAnswer } from "../parts/answer.js";
import { Asked, readCommand } from "../parts/asked.js";
import { Empty, ErrorBox, Field, Loading, Notice, Time } from "../parts/basics.js";
import { Differences } from "../parts/differences.js";
import { Icon } from "../parts/icons.js";
import { SubjectField } from "../parts/subject.js";
import { changed, go, link } from "../router.js";

export const title = "History";

/** @typedef {import("../api.js").EventItem} EventItem */
/** @typedef {{event: EventItem, before: string}} Step */

const STEPS_MAX = 2_000;
const LETTERS_MAX = 32 * 1024 * 1024;
const SHOWN = 25;

const WAYS = /** @type {const} */ ({
  known: "what was known before",
  previous: "the event before",
  type: "the last one of its type",
});

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const subject = params.get("subject") || "/";
  const given = params.get("against") ?? "";
  const against = Object.hasOwn(WAYS, given) ? /** @type {keyof typeof WAYS} */ (given) : "known";
  const isOldestFirst = params.get("order") === "chronological";
  const step = params.get("step");
  const found = useAnswer((signal) => readHistory(subject, signal), [subject]);
  /** @param {Record<string, string | null>} changes */
  const show = (changes) => go("history", changed(params, changes), { replace: true });
  return html`<div class="toolbar" role="group" aria-label="History">
      <${Field} label="Subject" class="wide">${(
        /** @type {any} */ attributes,
      ) => html`<${SubjectField} attributes=${attributes} value=${subject}
        onChoose=${(/** @type {string} */ chosen) =>
          chosen !== subject &&
          go("history", changed(params, { subject: chosen, step: null }))} />`}
          <//>
      <${Field} label="Compared with">${(
        /** @type {any} */ attributes,
      ) => html`<select ...${attributes} value=${against}
        onChange=${(/** @type {any} */ event) =>
          show({
            against: event.currentTarget.value === "known" ? null : event.currentTarget.value,
          })}>
        ${Object.entries(WAYS).map(
          ([key, label]) => html`<option key=${key} value=${key}>${label}
          </option>`,
        )}</select>`}<//>
      <${Field} label="Order">${(
        /** @type {any} */ attributes,
      ) => html`<select ...${attributes} value=${isOldestFirst ? "oldest" : "newest"}
        onChange=${(/** @type {any} */ event) =>
          show({ order: event.currentTarget.value === "oldest" ? "chronological" : null })}>
        <option value="newest">Newest first</option><option value="oldest">Oldest first</option>
          </select>`}<//>
      <a class="button" href=${link("events", { subject, recursive: "false" })}><${Icon}
        name="events" />As a table</a>
    </div>
    ${
      found.error !== null
        ? html`<${ErrorBox} error=${found.error} retry=${found.retry} />`
        : found.value === null
          ? html`<${Loading} label="Reading the history" />`
          : html`<${Steps} key=${`${subject} ${String(against)} ${isOldestFirst}`}
            all=${found.value} against=${against} isOldestFirst=${isOldestFirst} step=${step}
            subject=${subject} />`
    }
    <details class="behind"><summary>The same as EventQL, and with curl</summary>
      <${Asked} query=${historyOf(subject)}
        curl=${readCommand({ subject, order: "chronological" })} /></details>`;
}

/**
 * @param {{all: {events: EventItem[], isCut: boolean}, against: keyof typeof WAYS,
 *   isOldestFirst: boolean, step: string | null, subject: string}} props
 */
function Steps({ all, against, isOldestFirst, step, subject }) {
  const steps = stepsOf(all.events, against);
  const ordered = isOldestFirst ? steps : [...steps].reverse();
  const place = step === null ? -1 : ordered.findIndex(({ event }) => event.id === step);
  const [count, setCount] = useState(Math.max(SHOWN, place + 5));
  const wanted = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => wanted.current?.scrollIntoView({ block: "center" }), [step]);
  if (steps.length === 0) {
    return html`<div class="card"><${Empty} title="No events on ${subject}">
      <p>A history is of one subject, without those below it.</p>
      <a class="button"
        href=${link("subjects", { subject, open: subject })}>Look for it in the tree</a><//></div>`;
  }
  return html`${
    all.isCut
      ? html`<${Notice} kind="warning"
        title="A long history.">These are its newest ${whole(steps.length)} events; the first of
          them is compared with nothing.<//>`
      : null
  }
    <p class="muted small">${whole(steps.length)} events</p>
    <ol class="history">${ordered.slice(0, count).map(
      ({ event, before }) => html`<li key=${event.id} ref=${event.id === step ? wanted : undefined}
        class=${event.id === step ? "wanted" : ""}>
        <section class="card flush" aria-label="Event ${event.id}">
          <header><a class="badge accent mono" href=${link("event", { id: event.id })}>${event.id}
            </a>
            <h2 class="mono any">${event.type}</h2><span class="end muted small"><${Time}
              value=${event.time} short /></span></header>
          <${Differences} before=${before} after=${event.raw} label="What event ${event.id} changed"
            none="It changed nothing of that." />
        </section></li>`,
    )}</ol>
    ${
      count < ordered.length
        ? html`<button type="button"
          onClick=${() => setCount(count + 4 * SHOWN)}>Show more (${whole(ordered.length - count)}
            left)</button>`
        : null
    }`;
}

/**
 * What each event is compared with. Where that is what was known before, only what the event says
 * counts: fields that it does not speak of are as they were.
 * @param {EventItem[]} all Oldest first.
 * @param {keyof typeof WAYS} against
 * @returns {Step[]}
 */
function stepsOf(all, against) {
  let known = "{}";
  /** @type {Map<string, string>} */
  const latest = new Map();
  return all.map((event, index) => {
    let before = "{}";
    if (against === "known") {
      before = spokenOf(known, event.raw);
      known = merged(known, event.raw);
    } else if (against === "previous") {
      before = all[index - 1]?.raw ?? "{}";
    } else {
      before = latest.get(event.type) ?? "{}";
      latest.set(event.type, event.raw);
    }
    return { event, before };
  });
}

/**
 * @param {string} subject
 * @param {AbortSignal} signal
 */
async function readHistory(subject, signal) {
  /** @type {EventItem[]} */
  const found = [];
  let letters = 0;
  let isCut = false;
  // The newest, if there are too many.
  for await (const event of events({ subject, order: "antichronological" }, { signal })) {
    if (found.length === STEPS_MAX || letters > LETTERS_MAX) {
      isCut = true;
      break;
    }
    found.push(event);
    letters += event.text.length;
  }
  return { events: found.reverse(), isCut };
}
