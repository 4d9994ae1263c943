/** Differences between two texts of data, place by place. */

import { html } from "everlog/html";
import { useMemo } from "preact/hooks";
import { DIFFERENCES_MAX, differencesOf } from "../model/difference.js";
import { fieldOf } from "../model/field.js";
import { Letters } from "./json-tree.js";

const SIGNS = /** @type {const} */ ({ added: "+", removed: "−", changed: "~", same: "=" });

/**
 * @param {{before: string, after: string, isAll?: boolean, label: string,
 *   titles?: [string, string], none?: string}} props
 */
export function Differences({
  before,
  after,
  isAll = false,
  label,
  titles = ["Before", "After"],
  none = "The data is the same.",
}) {
  const { differences, isCut } = useMemo(
    () => differencesOf(before, after, { isAll }),
    [before, after, isAll],
  );
  if (differences.length === 0) {
    return html`<p class="muted none">${none}</p>`;
  }
  return html`<div class="table-scroll"><table class="differences" aria-label=${label}>
    <thead><tr><th scope="col"><span class="visually-hidden">Kind</span></th>
      <th scope="col">Field</th><th scope="col">${titles[0]}</th><th scope="col">${titles[1]}</th>
        </tr></thead>
    <tbody>${differences.map(
      ({ names, kind, before: from, after: to }, index) => html`<tr key=${index} class=${kind}>
        <td class="sign"><span aria-hidden="true">${SIGNS[kind]}</span><span
          class="visually-hidden">${kind}</span></td>
        <th scope="row" class="mono any"><${Letters} text=${placeOf(names)} /></th>
        <td class="mono any before">${from === undefined ? null : html`<${Letters} text=${from} />`}
          </td>
        <td class="mono any after">${to === undefined ? null : html`<${Letters} text=${to} />`}</td>
      </tr>`,
    )}</tbody></table></div>
    ${
      isCut
        ? html`<p
      class="muted small">More than ${DIFFERENCES_MAX.toLocaleString("en")} places differ; these are
        the first ones.</p>`
        : null
    }`;
}

/** @param {string[]} names */
function placeOf(names) {
  if (names.length === 0) {
    return "data";
  }
  return (fieldOf(names) ?? names.join(" › ")).replace(/^data\.?/, "");
}
