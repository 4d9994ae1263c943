/** Lines over the last minutes; the same numbers are told in words, for who cannot see them. */

import { html } from "everlog/html";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { theme } from "../preferences.js";

const HEIGHT = 144;
const dark = matchMedia("(prefers-color-scheme: dark)");

/**
 * @param {{title: string, times: number[], values: (number | null)[], seconds: number,
 *   write: (value: number) => string, steps?: number[]}} props `times` are milliseconds since
 *   1970; `write` says a value with its unit; the chart shows the last `seconds`. `steps` are what
 *   may lie between two marks of the axis.
 */
export function Chart({ title, times, values, seconds, write, steps }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  /** @type {any} */
  const data = [times.map((each) => each / 1000), values];
  const latest = useRef(data);
  latest.current = data;
  const chosen = theme.value;

  useEffect(() => {
    const parent = element.current;
    if (parent === null) {
      return undefined;
    }
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(parent, seconds, write, steps), latest.current, parent);
    };
    make();
    const observer = new ResizeObserver(() =>
      plot.current?.setSize({ width: parent.clientWidth, height: HEIGHT }),
    );
    observer.observe(parent);
    dark.addEventListener("change", make);
    return () => {
      dark.removeEventListener("change", make);
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [chosen, seconds]);

  const newest = times[times.length - 1];
  useEffect(() => {
    plot.current?.setData(latest.current);
  }, [newest, values.length]);

  const now = values.findLast((each) => each !== null) ?? null;
  const known = values.filter((each) => each !== null);
  const highest = known.length === 0 ? null : Math.max(...known);
  return html`<figure class="stack tight">
    <figcaption class="row">
      <h2 class="muted small">${title}</h2>
      <span class="end small">
        <strong>${now === null ? "–" : write(now)}</strong>
        ${highest === null ? null : html`<span class="muted"> · max ${write(highest)}</span>`}
      </span>
    </figcaption>
    <div class="chart" ref=${element} aria-hidden="true"></div>
  </figure>`;
}

/**
 * @param {HTMLElement} parent
 * @param {number} seconds
 * @param {(value: number) => string} write
 * @param {number[]} [steps]
 * @returns {any}
 */
function options(parent, seconds, write, steps) {
  const style = getComputedStyle(parent);
  const muted = resolved(parent, "--muted");
  const grid = { stroke: resolved(parent, "--border"), width: 1 };
  const accent = resolved(parent, "--accent");
  const font = `11px ${style.fontFamily}`;
  const axis = { stroke: muted, font, grid, ticks: { show: false } };
  return {
    width: parent.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: () => [Date.now() / 1000 - seconds, Date.now() / 1000] },
      y: {
        range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) => [
          0,
          top(max),
        ],
      },
    },
    series: [{}, { stroke: accent, width: 1.5, fill: `${accent}22`, points: { show: false } }],
    axes: [
      {
        ...axis,
        size: 24,
        space: 72,
        values: (/** @type {any} */ _, /** @type {number[]} */ all) => all.map(clock),
      },
      {
        ...axis,
        size: 64,
        ...(steps === undefined ? {} : { incrs: steps }),
        space: 32,
        values: (/** @type {any} */ _, /** @type {number[]} */ all) => all.map(write),
      },
    ],
  };
}

/** @param {number | null} value */
function top(value) {
  return value === null || value <= 0 ? 1 : value * 1.15;
}

/** @param {number} at */
function clock(at) {
  return new Date(at * 1000).toISOString().slice(11, 19);
}

/**
 * Returns a colour as a canvas takes it: what a variable is in the present theme, as #rrggbb.
 * @param {HTMLElement} parent
 * @param {string} name
 */
export function resolved(parent, name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  parent.append(probe);
  const parts = getComputedStyle(probe).color.match(/\d+/g) ?? ["0", "0", "0"];
  probe.remove();
  return `#${parts
    .slice(0, 3)
    .map((each) => Number(each).toString(16).padStart(2, "0"))
    .join("")}`;
}
