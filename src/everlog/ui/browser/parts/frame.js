/** What is around every page: navigation, the bar, badges, and the theme. */

import { html } from "everlog/html";
import { useEffect, useState } from "preact/hooks";
import { theme } from "../preferences.js";
import { link, route } from "../router.js";
import * as server from "../server.js";
import { signOut } from "../session.js";
import { Badge, Notice } from "./basics.js";
import { Icon } from "./icons.js";

/** @typedef {{title: string, navigation: boolean, isWriting?: boolean}} Listed */

export function Brand() {
  return html`<a class="brand" href="#/overview">
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#3a5bd9"></rect>
      <path d="M9 10h14M9 16h14M9 22h8" stroke="#fff" stroke-width="3" stroke-linecap="round" />
    </svg>
    <span>Everlog</span></a>`;
}

/**
 * @param {{pages: Record<string, Listed>, title: string, openGoTo: () => void,
 *   openHelp: () => void, children?: any}} props
 */
export function Frame({ pages, title, openGoTo, openHelp, children }) {
  const [isOpen, setOpen] = useState(false);
  const { page } = route.value;
  useEffect(() => setOpen(false), [page]);
  useEffect(() => {
    /** @param {KeyboardEvent} event */
    const press = (event) => event.key === "Escape" && setOpen(false);
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  return html`<div class="frame">
    <a class="skip" href="#main" onClick=${skip}>Skip to the page</a>
    <${Banner} />
    <nav class="navigation ${isOpen ? "open" : ""}" aria-label="Pages" id="navigation">
      <${Brand} />
      <ul>
        ${Object.entries(pages)
          .filter(
            ([, { navigation, isWriting }]) => navigation && !(isWriting && !server.canWrite.value),
          )
          .map(
            ([name, each]) => html`<li key=${name}><a href=${link(name)}
              aria-current=${name === page ? "page" : undefined}>
              <${Icon} name=${name} />${each.title}</a></li>`,
          )}
      </ul>
      <footer>
        <${Themes} />
        <div class="row">
          <button type="button" class="small grow" onClick=${() => signOut()}>
            <${Icon} name="leave" />Sign out</button>
          <button type="button" class="quiet small icon" aria-label="Keyboard shortcuts"
            title="Keyboard shortcuts (?)" onClick=${openHelp}><${Icon} name="help" /></button>
        </div>
        <${Version} />
      </footer>
    </nav>
    ${isOpen ? html`<div class="veil" onClick=${() => setOpen(false)}></div>` : null}
    <main class="main" id="main">
      <div class="bar">
        <button type="button" class="menu quiet icon" aria-label="Menu" aria-expanded=${isOpen}
          aria-controls="navigation" onClick=${() => setOpen(!isOpen)}>
          <${Icon} name="menu" /></button>
        <h1 tabindex="-1">${title}</h1>
        <div class="row fixed end">
          <${Status} />
          <button type="button" class="go-to-button" onClick=${openGoTo}>
            <${Icon} name="search" />
            <span class="wide-label">Go to…</span>
            <kbd class="wide-only" aria-hidden="true">Ctrl K</kbd></button>
        </div>
      </div>
      <div class="page">
        <${Troubles} />
        ${children}
      </div>
    </main>
  </div>`;
}

/** @param {Event} event */
function skip(event) {
  // The fragment is the page's, so that a link to a place in it would be another page.
  event.preventDefault();
  /** @type {HTMLElement | null} */ (document.querySelector("main h1"))?.focus();
}

/** How the operator calls this server, in the colour that was chosen for it. */
export function Banner() {
  const { title: text, colour } = server.appearance.value;
  if (text === null && colour === null) {
    return null;
  }
  const style = colour === null ? {} : { "--banner": colour, "--on-banner": readable(colour) };
  return html`<div class="banner any" style=${style} role="note" aria-label="This server">
    ${text ?? ""}</div>`;
}

/**
 * Returns black or white: what can be read on a colour.
 * @param {string} colour As #rrggbb.
 */
function readable(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (light + 0.05) ** 2 > 1.05 * 0.05 ? "#000000" : "#ffffff";
}

const THEMES = /** @type {const} */ ([
  ["system", "Auto"],
  ["light", "Light"],
  ["dark", "Dark"],
]);

function Themes() {
  return html`<div class="group" role="group" aria-label="Theme">
    ${THEMES.map(
      ([key, label]) => html`<button type="button" class="small grow" key=${key}
        aria-pressed=${theme.value === key} onClick=${() => {
          theme.value = key;
        }}>${label}</button>`,
    )}
  </div>`;
}

function Version() {
  const version = server.diagnostics.value?.version?.everlog;
  const text = version === undefined ? "\u00a0" : `Version ${version}`;
  return html`<p class="muted small">${text}</p>`;
}

const WORDS = /** @type {const} */ ({
  pass: ["good", "Healthy"],
  warn: ["warning", "Warning"],
  fail: ["bad", "Failing"],
});

const CONDITIONS = /** @type {Record<string, string>} */ ({
  "read-only": "Read-only",
  following: "Follower",
  restoring: "Restoring",
});

function Status() {
  const condition = CONDITIONS[server.writability.value ?? ""];
  const status = server.health.value?.status;
  const [kind, word] =
    server.trouble.value?.status === 0
      ? ["bad", "Unreachable"]
      : (WORDS[/** @type {"pass"} */ (status)] ?? ["plain", "…"]);
  return html`${condition === undefined ? null : html`<${Badge} kind="accent">${condition}<//>`}
    <a href=${link("overview")} aria-label="Health: ${word}">
      <${Badge} kind=${kind} dot>${word}<//></a>`;
}

function Troubles() {
  if (server.writability.value === "restoring") {
    return html`<${Notice} kind="warning" title="A backup is being restored.">
      Until that is done, the store can be neither read nor written.<//>`;
  }
  const error = server.trouble.value;
  return error === null
    ? null
    : html`<${Notice} kind="bad" title=${error.message}>
        ${error.status === 0 ? "It is asked again every two seconds." : null}<//>`;
}
