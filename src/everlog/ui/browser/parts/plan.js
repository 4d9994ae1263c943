/** The plan of a query, step by step, with how much of the log each source reads. */

import { html } from "everlog/html";
import { adviceOf, stepsOf } from "../model/plan.js";
import { Badge, Notice } from "./basics.js";

/** @typedef {import("../model/plan.js").Step} Step */

const WORDS = /** @type {const} */ ({
  source: "Source",
  answer: "Index",
  judge: "Judge",
  group: "Group",
  sort: "Sort",
  stop: "End",
  hold: "Memory",
  note: "Note",
});

/** @param {{plan: any}} props */
export function PlanView({ plan }) {
  const advice = adviceOf(plan);
  return html`<div class="card">
    ${advice === null ? null : html`<${Notice} kind="warning">${advice}<//>`}
    <${Steps} steps=${stepsOf(plan)} />
  </div>`;
}

/** @param {{steps: Step[]}} props */
function Steps({ steps }) {
  return html`<ol class="plan">
    ${steps.map(
      (step, at) => html`<li key=${at}>
        <${Badge} kind=${kindOf(step)}>${WORDS[step.kind]}<//>
        <div class="stack tight grow">
          <span class="any">${step.title}</span>
          ${step.share === null || step.share.read === 0 ? null : html`<${Share} share=${step.share} />`}
          ${step.details.map((detail, each) => html`<code class="any" key=${each}>${detail}</code>`)}
          ${step.steps.length === 0 ? null : html`<${Steps} steps=${step.steps} />`}
        </div>
      </li>`,
    )}
  </ol>`;
}

/** @param {Step} step */
function kindOf({ kind, share }) {
  if (kind === "note") {
    return "warning";
  }
  return kind === "answer" || share?.read === 0 ? "good" : kind === "source" ? "accent" : "plain";
}

/** @param {{share: {read: number, all: number}}} props */
function Share({ share: { read, all } }) {
  const whole = (/** @type {number} */ number) => number.toLocaleString("en");
  const percent = all === 0 ? 0 : (100 * read) / all;
  const part = percent > 0 && percent < 1 ? "less than 1" : Math.round(percent);
  return html`<span class="share">
    <progress max=${Math.max(all, 1)} value=${read} aria-hidden="true"></progress>
    <span class="small muted">at most ${whole(read)} of ${whole(all)} events, ${part} %</span>
  </span>`;
}
