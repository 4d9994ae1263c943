/** How the server is: figures, charts of the last minutes, checks with their reasons, options. */

import { html } from "everlog/html";
import { useState } from "preact/hooks";
import { duration, short, size, whole } from "../model/amounts.js";
import { Badge, Field, Loading, Time } from "../parts/basics.js";
import { Chart } from "../parts/chart.js";
import { link } from "../router.js";
import * as server from "../server.js";

export const title = "Overview";

const SECONDS = 300;

export function Page() {
  if (server.health.value === null || server.metrics.value === null) {
    return server.trouble.value === null ? html`<${Loading} label="Asking the server" />` : null;
  }
  return html`<${Figures} values=${server.metrics.value} />
    <${Charts} />
    <${Checks} health=${server.health.value} />
    <div class="grid pair">
      <${About} />
      <${Options} />
    </div>`;
}

/** @param {{values: Map<string, number>}} props */
function Figures({ values }) {
  const value = (/** @type {string} */ name) => values.get(name);
  const last = server.history.value.at(-1);
  const commit = server.history.value.findLast((each) => each.commit !== null)?.commit;
  const events = link("events", { subject: "/", recursive: true });
  const figures = [
    ["Events", value("everlog_log_events"), whole, events],
    ["Subjects", value("everlog_log_subjects"), whole, link("subjects")],
    ["Event types", value("everlog_log_event_types"), whole, link("types")],
    ["Log", value("everlog_log_size_bytes"), size],
    ["Written a second", last?.writes, short],
    ["Commit", commit, duration],
    ["Observers", value("everlog_observers"), whole],
    ["Free on the disk", value("everlog_disk_free_bytes"), size],
  ];
  return html`<dl class="grid figures" aria-label="Figures">
    ${figures.map(
      ([name, number, write, to]) =>
        html`<${Figure} key=${name} name=${name} value=${number} write=${write} to=${to} />`,
    )}
  </dl>`;
}

/**
 * @param {{name: string, value: number | null | undefined, write: (value: number) => string,
 *   to?: string}} props
 */
function Figure({ name, value, write, to }) {
  const [number, unit] =
    value === null || value === undefined ? ["–", ""] : write(value).split(/ (?=\D)/);
  return html`<div class="figure">
    <dt>${to === undefined ? name : html`<a href=${to}>${name}</a>`}</dt>
    <dd>${number}${unit ? html`${" "}<span class="unit">${unit}</span>` : null}</dd>
  </div>`;
}

const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
const SIZE_STEPS = Array.from({ length: 30 }, (_, power) => 2 ** (power + 16));

/**
 * What is drawn: the figure of a sample, its title, and how a value is written.
 * @type {{key: "writes" | "commit" | "requests" | "observers" | "processor" | "memory",
 *   title: string, write: (value: number) => string, steps?: number[]}[]}
 */
const CHARTS = [
  { key: "writes", title: "Events written a second", write: short },
  { key: "commit", title: "Time of a commit", write: duration },
  { key: "requests", title: "Requests a second", write: short },
  { key: "observers", title: "Observers", write: whole, steps: WHOLE_STEPS },
  { key: "processor", title: "Processor", write: (value) => `${short(value * 100)} %` },
  { key: "memory", title: "Memory", write: size, steps: SIZE_STEPS },
];

function Charts() {
  const all = server.history.value;
  const times = all.map(({ at }) => at);
  return html`<section class="grid" aria-label="The last five minutes">
    ${CHARTS.map((chart) => {
      const values = all.map((each) => each[chart.key]);
      return html`<div class="card" key=${chart.key}>
        <${Chart} ...${chart} times=${times} values=${values} seconds=${SECONDS} /></div>`;
    })}
  </section>`;
}

const KINDS = /** @type {const} */ ({ pass: "good", warn: "warning", fail: "bad" });
const WORDS = /** @type {const} */ ({ pass: "Passes", warn: "Warns", fail: "Fails" });
const ORDER = ["fail", "warn", "pass"];

/** @param {{health: any}} props */
function Checks({ health }) {
  const rows = Object.entries(health.checks ?? {}).flatMap(([name, checks]) =>
    checks.map((/** @type {any} */ check) => ({ name, ...check })),
  );
  rows.sort((one, other) => ORDER.indexOf(one.status) - ORDER.indexOf(other.status));
  const status = /** @type {"pass"} */ (health.status);
  return html`<section class="card flush" aria-labelledby="checks">
    <header>
      <h2 id="checks">Health checks</h2>
      <${Badge} kind=${KINDS[status]} dot>${WORDS[status]}<//>
      ${health.output ? html`<span class="any">${health.output}</span>` : null}
    </header>
    <div class="table-scroll" tabindex="0" role="group" aria-label="All checks">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Check</th><th scope="col">Status</th>
            <th scope="col" class="number">Value</th>
            <th scope="col" class="wide-only">Reason</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map((row) => html`<${Check} key=${keyOf(row)} row=${row} />`)}
        </tbody>
      </table>
    </div>
  </section>`;
}

/** @param {any} check */
function keyOf({ name, componentId = "" }) {
  return `${name} ${componentId}`;
}

/** @param {{row: any}} props */
function Check({ row }) {
  const status = /** @type {"pass"} */ (row.status);
  const below = reason(row) ? html`<div class="narrow-only small any">${reason(row)}</div>` : null;
  return html`<tr>
    <td><span class="mono">${row.name}</span>${below}</td>
    <td><${Badge} kind=${KINDS[status]} dot>${WORDS[status]}<//></td>
    <td class="number">${observed(row)}</td>
    <td class="wide-only any">${reason(row)}</td>
  </tr>`;
}

/** @param {any} check */
function reason(check) {
  return check.output ?? "";
}

/** @param {{observedValue?: any, observedUnit?: string}} check */
function observed({ observedValue: value, observedUnit: unit }) {
  if (typeof value === "number") {
    const write = { bytes: size, seconds: duration }[unit ?? ""];
    return write === undefined ? `${whole(value)} ${unit ?? ""}` : write(value);
  }
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) {
    return html`<${Time} value=${value} short />`;
  }
  return String(value ?? "");
}

function About() {
  const all = server.diagnostics.value;
  const values = server.metrics.value;
  if (all === null || values === null) {
    return html`<section class="card"><h2>Server</h2><${Loading} /></section>`;
  }
  const { version, system, license } = all;
  const started = values.get("process_start_time_seconds");
  const certificate = values.get("everlog_certificate_end_timestamp_seconds");
  const facts = [
    ["Version", `${version.everlog}, compatible with ${version.compatibleWith}`],
    ["Python", version.build.python],
    [
      "Packages",
      Object.entries(version.build.packages)
        .map(([name, text]) => `${name} ${text}`)
        .join(", "),
    ],
    ["System", `${system.operatingSystem} ${system.release}, ${system.architecture}`],
    ["Machine", `${system.coreCount} cores, ${size(system.memoryBytes)}`],
    ["Memory of the server", size(values.get("process_resident_memory_bytes") ?? 0)],
    ["Running for", started === undefined ? "–" : duration(Date.now() / 1000 - started)],
    [
      "Certificate",
      certificate === undefined ? "None: this server does not use HTTPS" : until(certificate),
    ],
    [
      "Connections",
      ["everlog_connections", "everlog_connections_limit"]
        .map((name) => whole(values.get(name) ?? 0))
        .join(" of "),
    ],
    ["Licence", license.name],
  ];
  return html`<section class="card" aria-labelledby="about"><h2 id="about">Server</h2>
    <dl class="facts">
      ${facts.map(([name, text]) => html`<dt key=${name}>${name}</dt><dd>${text}</dd>`)}
    </dl>
  </section>`;
}

/** @param {number} end Seconds since 1970. */
function until(end) {
  const left = end - Date.now() / 1000;
  const date = new Date(end * 1000).toISOString().slice(0, 10);
  return left > 0 ? `Valid until ${date}, for ${duration(left)}` : `Expired on ${date}`;
}

function Options() {
  const [wanted, setWanted] = useState("");
  const [isAll, setAll] = useState(false);
  const options = server.diagnostics.value?.options;
  const origins = server.diagnostics.value?.optionOrigins ?? {};
  if (options === undefined || options === null) {
    return html`<section class="card"><h2>Options</h2><${Loading} /></section>`;
  }
  const words = wanted.trim().toLowerCase();
  const rows = Object.entries(options).filter(
    ([name]) => name.includes(words) && (isAll || words !== "" || origins[name] !== "default"),
  );
  return html`<section class="card flush" aria-labelledby="options">
    <header><h2 id="options">Options</h2>
      <span class="muted small">${isAll ? "all" : "those that were set"}</span>
      <button type="button" class="small end" aria-pressed=${isAll}
        onClick=${() => setAll(!isAll)}>All options</button>
    </header>
    <div class="filter"><${Field} label="Find an option">
      ${(
        /** @type {any} */ attributes,
      ) => html`<input ...${attributes} type="search" value=${wanted}
        onInput=${(/** @type {any} */ event) => setWanted(event.currentTarget.value)} />`}
    <//></div>
    <div class="table-scroll options" tabindex="0" role="group" aria-label="All options">
      <table class="table">
        <thead>
          <tr><th scope="col">Option</th><th scope="col">Value</th><th scope="col">From</th></tr>
        </thead>
        <tbody>
          ${rows.map(
            ([name, value]) => html`<tr key=${name}><td class="mono">${name}</td>
              <td class="mono any">${shown(value)}</td>
              <td><${Origin} name=${origins[name]} /></td></tr>`,
          )}
          ${rows.length === 0 ? html`<tr><td colspan="3" class="muted">None.</td></tr>` : null}
        </tbody>
      </table>
    </div>
  </section>`;
}

/** @param {{name: string | undefined}} props */
function Origin({ name = "–" }) {
  return html`<${Badge} kind=${name === "default" ? "plain" : "accent"}>${name}<//>`;
}

/** @param {unknown} value */
function shown(value) {
  if (value === null || value === "") {
    return html`<span class="muted">none</span>`;
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
