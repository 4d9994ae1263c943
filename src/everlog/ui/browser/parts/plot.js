/** Rows as lines or bars, with what a person may choose; the table says the same in words. */

import { html } from "everlog/html";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { seriesOf } from "../model/chart.js";
import { theme } from "../preferences.js";
import { resolved } from "./chart.js";

/** @typedef {import("../model/chart.js").Drawing} Drawing */

const HEIGHT = 320;
const COLOURS = ["--accent", "--string", "--word", "--number", "--bad", "--muted"];
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @param {{rows: any[], drawing: Drawing, label: string}} props */
export function Plot({ rows, drawing, label }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const drawn = seriesOf(rows, drawing);
  const data = /** @type {any} */ ([drawn.xs, ...drawn.series]);
  const chosen = theme.value;
  const key = JSON.stringify([drawing, rows.length]);

  useEffect(() => {
    const parent = element.current;
    if (parent === null) {
      return undefined;
    }
    /** @type {any} */
    let plot = null;
    const make = () => {
      plot?.destroy();
      plot = new uPlot(optionsFor(parent, drawing, drawn.labels), data, parent);
    };
    make();
    const size = () => plot?.setSize({ width: parent.clientWidth, height: HEIGHT });
    const observer = new ResizeObserver(size);
    observer.observe(parent);
    dark.addEventListener("change", make);
    return () => {
      dark.removeEventListener("change", make);
      observer.disconnect();
      plot?.destroy();
    };
  }, [key, chosen]);

  return html`<figure class="stack tight">
    <figcaption class="row small">
      ${drawing.ys.map(
        ({ name }, at) => html`<span class="legend" key=${name}>
          <span class="swatch series-${at % COLOURS.length}" aria-hidden="true"></span><span class="any">${name}</span></span>`,
      )}
      ${drawn.cutCount > 0 ? html`<span class="muted end">${drawn.cutCount.toLocaleString("en")} rows more are not drawn</span>` : null}
    </figcaption>
    <div class="plot" ref=${element} role="img" aria-label=${label}></div>
  </figure>`;
}

/**
 * @param {HTMLElement} parent
 * @param {Drawing} drawing
 * @param {string[]} labels
 * @returns {any}
 */
function optionsFor(parent, drawing, labels) {
  const style = getComputedStyle(parent);
  const grid = { stroke: resolved(parent, "--border"), width: 1 };
  const axis = {
    stroke: resolved(parent, "--muted"),
    font: `11px ${style.fontFamily}`,
    grid,
    ticks: { show: false },
  };
  const isBars = drawing.form === "bars";
  const series = drawing.ys.map((_, at) => {
    const stroke = resolved(parent, COLOURS[at % COLOURS.length]);
    return isBars
      ? {
          stroke,
          fill: `${stroke}cc`,
          width: 0,
          paths: barsAt(at, drawing.ys.length),
          points: { show: false },
        }
      : { stroke, width: 1.5, points: { show: undefined, size: 5, fill: stroke } };
  });
  const x = { ...axis, grid: isBars ? { show: false } : grid };
  return {
    width: parent.clientWidth,
    height: HEIGHT,
    padding: [12, 12, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    scales: {
      x: { time: drawing.x?.kind === "time", range: isBars ? barRange : undefined },
      y: {
        range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) =>
          rangeOf(low, high),
      },
    },
    series: [{}, ...series],
    axes: [
      isBars
        ? {
            ...x,
            size: 56,
            space: 40,
            splits: places,
            values: namesOf(labels),
            rotate: parent.clientWidth / labels.length < 140 ? -30 : 0,
          }
        : x,
      {
        ...axis,
        size: 72,
        values: (/** @type {any} */ _, /** @type {number[]} */ all) => all.map(numberText),
      },
    ],
  };
}

/**
 * Bars of several series stand beside each other.
 * @param {number} at
 * @param {number} count
 */
function barsAt(at, count) {
  const align = count === 1 ? 0 : at < count / 2 ? -1 : 1;
  return uPlot.paths.bars?.({ size: [0.8 / count, 64], align });
}

/** @param {any} _ @param {number} low @param {number} high @returns {[number, number]} */
function barRange(_, low, high) {
  return [(low ?? 0) - 0.5, (high ?? 0) + 0.5];
}

/** @param {any} _ @param {number} __ @param {number} low @param {number} high */
function places(_, __, low, high) {
  const first = Math.ceil(low);
  const step = Math.max(1, Math.ceil((high - low) / 24));
  return Array.from(
    { length: Math.max(0, Math.floor((high - first) / step) + 1) },
    (___, at) => first + at * step,
  );
}

/** @param {string[]} labels */
function namesOf(labels) {
  const short = (/** @type {string} */ text) => (text.length > 18 ? `…${text.slice(-17)}` : text);
  return (/** @type {any} */ _, /** @type {number[]} */ all) =>
    all.map((at) => short(labels[at] ?? ""));
}

/** @param {number | null} low @param {number | null} high @returns {[number, number]} */
function rangeOf(low, high) {
  if (low === null || high === null) {
    return [0, 1];
  }
  const from = Math.min(0, low);
  const to = Math.max(0, high);
  const room = (to - from || 1) * 0.08;
  return [from < 0 ? from - room : 0, to > 0 ? to + room : to];
}

/** @param {number} value */
function numberText(value) {
  const isLarge = Math.abs(value) >= 1e6;
  return value.toLocaleString(
    "en",
    isLarge ? { notation: "compact" } : { maximumFractionDigits: 4 },
  );
}
