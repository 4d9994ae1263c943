/**
 * What pages are made of: badges, notices, states of what is loaded, buttons that copy and save,
 * times, fields, tabs, command lines.
 */

import { html } from "everlog/html";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError } from "../api.js";
import { Icon } from "./icons.js";
import { toast } from "./toasts.js";

/** @typedef {"good" | "warning" | "bad" | "accent" | "plain"} Kind */

/** @param {{kind?: Kind, dot?: boolean, title?: string, children?: any}} props */
export function Badge({ kind = "plain", dot = false, title, children }) {
  return html`<span class="badge ${kind} ${dot ? "dot" : ""}" title=${title}>${children}</span>`;
}

/**
 * A sentence that matters, with what can be done about it; it is read out when it comes.
 * @param {{kind?: Kind, title?: string, actions?: any, children?: any}} props
 */
export function Notice({ kind = "accent", title, actions, children }) {
  return html`<div class="notice ${kind}" role=${kind === "bad" ? "alert" : "status"}>
    <div>${title === undefined ? null : html`<strong>${title}</strong>${" "}`}${children}</div>
    ${actions}
  </div>`;
}

/** @param {{title: string, children?: any}} props */
export function Empty({ title, children }) {
  return html`<div class="empty"><h2>${title}</h2>${children}</div>`;
}

/** @param {{label?: string}} props */
export function Loading({ label = "Loading" }) {
  return html`<div class="loading" role="status">
    <span class="spinner" aria-hidden="true"></span><span>${label}…</span>
  </div>`;
}

/** What a person can do about an error, by its code or status. */
const ADVICE = /** @type {Record<string, string>} */ ({
  "restore-in-progress": "A backup is being restored. The store can be read when that is done.",
  "store-read-only": "The server is in read-only mode.",
  "read-failed": "The disk did not give what is stored on it. Trying again may succeed.",
  0: "Check the connection, and whether the server runs.",
  401: "The token is not the right one.",
  413: "It is larger than the server takes.",
  503: "Try again in a moment.",
});

/**
 * What went wrong, in the words of the server, with a way to try again.
 * @param {{error: unknown, retry?: () => void, title?: string}} props
 */
export function ErrorBox({ error, retry, title = "This did not work." }) {
  const known = error instanceof ApiError ? error : null;
  const key = String(known?.code ?? known?.status ?? "");
  const wait = known?.retryAfter === undefined ? "" : ` Try again in ${seconds(known.retryAfter)}.`;
  const actions = retry && html`<button type="button" onClick=${retry}>Try again</button>`;
  return html`<${Notice} kind="bad" title=${title} actions=${actions}>
    ${error instanceof Error ? error.message : String(error)}
    ${ADVICE[key] === undefined ? null : html`<br /><span>${ADVICE[key]}</span>`}${wait}
    ${known?.code ? html`<br /><code class="small">${known.code}</code>` : null}
  <//>`;
}

/** @param {number} count */
function seconds(count) {
  return count === 1 ? "a second" : `${count} seconds`;
}

/**
 * @param {{text: string | (() => string | Promise<string>), label?: string, iconOnly?: boolean,
 *   class?: string}} props
 */
export function CopyButton({ text, label = "Copy", iconOnly = false, class: extra = "" }) {
  const [isDone, setDone] = useState(false);
  const timer = useRef(/** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined));
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    try {
      await copyText(typeof text === "string" ? text : await text());
      setDone(true);
      clearTimeout(timer.current);
      timer.current = setTimeout(() => setDone(false), 1500);
    } catch {
      toast("The browser does not let this page copy. Select the text instead.");
    }
  };
  const icon = html`<${Icon} name=${isDone ? "done" : "copy"} />`;
  const said = html`<span class="visually-hidden" role="status">${isDone ? "Copied" : ""}</span>`;
  if (iconOnly) {
    return html`<button type="button" class="quiet small icon copy ${extra}" aria-label=${label}
      title=${label} onClick=${copy}>${icon}${said}</button>`;
  }
  return html`<button type="button" class="small copy ${extra}" onClick=${copy}>
    ${icon}<span>${label}</span>${said}
  </button>`;
}

/**
 * Puts a text where the person can paste it from, also where the page came over plain HTTP.
 * @param {string} text
 */
export async function copyText(text) {
  if (navigator.clipboard !== undefined) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement("textarea");
  area.value = text;
  const dialog = document.querySelector("dialog[open]") ?? document.body;
  dialog.append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  if (!isDone) {
    throw new Error("refused");
  }
}

/**
 * A time as the server writes it, in UTC with its nanoseconds; on hover in the local time zone.
 * @param {{value: string, short?: boolean}} props
 */
export function Time({ value, short = false }) {
  const [date, rest = ""] = value.split("T");
  const clock = rest.replace("Z", "");
  const shown = short ? clock.replace(/(\.\d{3})\d+$/, "$1") : clock;
  const moment = new Date(value);
  const local = Number.isNaN(moment.getTime()) ? value : moment.toLocaleString(undefined, LOCAL);
  return html`<time datetime=${value} title="${value}\n${local}" class="mono"
    >${date} <span>${shown}</span></time>`;
}

/** @type {Intl.DateTimeFormatOptions} */
const LOCAL = { dateStyle: "full", timeStyle: "long" };

/**
 * A button that saves a file. `make` returns what is in it, at once, later or piece by piece.
 * @param {{name: string, type: string, label?: string,
 *   make: () => string | Blob | Promise<string | Blob> | AsyncIterable<string>}} props
 */
export function Download({ name, type, label = "Download", make }) {
  const [isBusy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try {
      save(name, await collect(make(), type));
    } catch (error) {
      toast(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };
  return html`<button type="button" class="small" disabled=${isBusy} onClick=${run}>
    <${Icon} name="download" />${label}
  </button>`;
}

/**
 * @param {string | Blob | Promise<string | Blob> | AsyncIterable<string>} made
 * @param {string} type
 */
async function collect(made, type) {
  if (typeof made === "object" && Symbol.asyncIterator in made) {
    const parts = [];
    for await (const part of made) {
      parts.push(part);
    }
    return new Blob(parts, { type });
  }
  const whole = await made;
  return whole instanceof Blob ? whole : new Blob([whole], { type });
}

/**
 * @param {string} name
 * @param {Blob} blob
 */
function save(name, blob) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}

/** @param {{children?: any, label?: string}} props */
export function Toolbar({ children, label }) {
  return html`<div class="toolbar" role="group" aria-label=${label}>${children}</div>`;
}

/**
 * A label over what is typed into: `children` is a function that is given the attributes.
 * @param {{label: string, hint?: string, fault?: string | null, class?: string,
 *   children: (attributes: Record<string, any>) => any}} props
 */
export function Field({ label, hint, fault, class: extra = "", children }) {
  const id = useId();
  const more = [hint && `${id}-hint`, fault && `${id}-fault`].filter(Boolean).join(" ");
  const attributes = {
    id,
    "aria-describedby": more || undefined,
    "aria-invalid": fault ? "true" : undefined,
  };
  return html`<div class="field ${extra}">
    <label for=${id}>${label}</label>
    ${children(attributes)}
    ${hint && html`<span class="hint" id="${id}-hint">${hint}</span>`}
    ${fault && html`<span class="fault" id="${id}-fault" role="alert">${fault}</span>`}
  </div>`;
}

/**
 * @param {{tabs: {key: string, label: any}[], selected: string, onSelect: (key: string) => void,
 *   label: string, children?: any}} props The children are what the selected tab shows.
 */
export function Tabs({ tabs, selected, onSelect, label, children }) {
  const id = useId();
  /** @param {KeyboardEvent} event */
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) {
      return;
    }
    event.preventDefault();
    const index = tabs.findIndex(({ key }) => key === selected);
    const next = tabs[(index + step + tabs.length) % tabs.length];
    onSelect(next.key);
    document.getElementById(`${id}-${next.key}`)?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} onKeyDown=${move}>
      ${tabs.map(
        ({ key, label: text }) => html`<button type="button" role="tab" key=${key}
          id="${id}-${key}" aria-selected=${key === selected} aria-controls="${id}-panel"
          tabindex=${key === selected ? 0 : -1} onClick=${() => onSelect(key)}>${text}</button>`,
      )}
    </div>
    <div class="stack" role="tabpanel" id="${id}-panel" aria-labelledby="${id}-${selected}">
      ${children}
    </div>`;
}

/**
 * What to type into a shell for the same; a token is not in it but the name of a variable.
 * @param {{curl: string, title?: string}} props
 */
export function CommandLine({ curl, title = "The same with curl" }) {
  return html`<details class="command-line">
    <summary>${title}</summary>
    <${Code} text=${curl} label="Copy command" />
  </details>`;
}

/** @param {{text: string, label?: string}} props */
export function Code({ text, label = "Copy" }) {
  const name = label.replace("Copy ", "");
  return html`<div class="code with-copy" tabindex="0" role="region" aria-label=${name}>
    <${CopyButton} text=${text} iconOnly label=${label} /><code>${text}</code>
  </div>`;
}
