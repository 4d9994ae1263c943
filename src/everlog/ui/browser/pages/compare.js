/** Two events beside each other: where their data differs, as it is stored. */

import { html } from "everlog/html";
import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "../parts/answer.js";
import { Asked, readCommand } from "../parts/asked.js";
import { Empty, ErrorBox, Field, Loading, Time } from "../parts/basics.js";
import { Differences } from "../parts/differences.js";
import { Icon } from "../parts/icons.js";
import { readEvent } from "../parts/reading.js";
import { SubjectPath } from "../parts/subject.js";
import { changed, go, link } from "../router.js";

export const title = "Compare";

/** @typedef {import("../api.js").EventItem} EventItem */

/** @param {{params: URLSearchParams}} props */
export function Page({ params }) {
  const left = params.get("left") ?? "";
  const right = params.get("right") ?? "";
  const isAll = params.get("all") === "true";
  const found = useAnswer(
    (signal) => Promise.all([left, right].map((id) => (id === "" ? null : readEvent(id, signal)))),
    [left, right],
  );
  /** @param {Record<string, string | boolean | null>} changes */
  const show = (changes) => go("compare", changed(params, changes), { replace: true });
  const [one, other] = found.value ?? [null, null];
  return html`<div class="toolbar" role="group" aria-label="Events to compare">
      <${IdField} label="Event" value=${left}
        onChoose=${(/** @type {string} */ id) => show({ left: id })} />
      <button type="button" class="icon" aria-label="Swap" title="Swap"
        onClick=${() => show({ left: right, right: left })}><${Icon} name="swap" /></button>
      <${IdField} label="With event" value=${right}
        onChoose=${(/** @type {string} */ id) => show({ right: id })} />
      <label class="check"><input type="checkbox" checked=${isAll}
        onChange=${(/** @type {any} */ event) =>
          show({
            all: event.currentTarget.checked ? "true" : null,
          })} /><span>Show what is the same too</span>
        </label>
    </div>
    ${
      found.error !== null
        ? html`<${ErrorBox} error=${found.error} retry=${found.retry} />`
        : found.value === null
          ? html`<${Loading} label="Reading both events" />`
          : html`<div class="split"><${Side} id=${left} event=${one} /><${Side} id=${right}
            event=${other} /></div>
              ${
                one === null || other === null
                  ? null
                  : html`<section class="card flush" aria-label="Differences"><header>
                    <h2>What differs in the data</h2></header>
                      <${Differences} before=${one.raw} after=${other.raw} isAll=${isAll}
                        label="Differences"
                        titles=${[`Event ${one.id}`, `Event ${other.id}`]}
                          none="The data of both is the same, byte by byte." /></section>
                    <details class="behind"><summary>The same with curl</summary>
                      <${Asked} curl=${[one, other]
                        .map(({ id }) =>
                          readCommand({
                            subject: "/",
                            recursive: true,
                            lowerBound: { id, type: "inclusive" },
                            upperBound: { id, type: "inclusive" },
                          }),
                        )
                        .join("\n\n")} /></details>`
              }`
    }`;
}

/** @param {{id: string, event: EventItem | null}} props */
function Side({ id, event }) {
  if (event === null) {
    return html`<section class="card"><${Empty}
      title=${id === "" ? "Which event?" : `There is no event ${id}`}>
      <p>${
        id === ""
          ? "Type an id above, or mark two events in the table."
          : "The log does not reach this id."
      }
        </p><//></section>`;
  }
  return html`<section class="card" aria-label="Event ${event.id}">
    <header><a class="badge accent mono" href=${link("event", { id: event.id })}>${event.id}</a><h2
      class="mono any">${event.type}</h2></header>
    <dl class="facts"><dt>Subject</dt><dd><${SubjectPath} subject=${event.subject} /></dd>
      <dt>Time</dt><dd><${Time} value=${event.time} /></dd>
      <dt>Source</dt><dd class="mono any">${event.source}</dd></dl></section>`;
}

/** @param {{label: string, value: string, onChoose: (id: string) => void}} props */
function IdField({ label, value, onChoose }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const fault = /^[0-9]{0,19}$/.test(text.trim()) ? null : "Ids are numbers.";
  const choose = () => fault === null && text.trim() !== value && onChoose(text.trim());
  return html`<${Field} label=${label} fault=${fault} class="id">${(
    /** @type {any} */ attributes,
  ) => html`<input ...${attributes} type="text" inputmode="numeric"
    class="mono" value=${text} autocomplete="off"
      onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)} onBlur=${choose}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && choose()} />`}
      <//>`;
}
