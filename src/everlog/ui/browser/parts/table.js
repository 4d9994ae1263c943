/** A table of any length: arrows go from row to row, Enter opens one. */

import { html } from "everlog/html";
import { useRef, useState } from "preact/hooks";
import { useWindow } from "./window.js";

const ROW_HEIGHT = 32;
const HEAD_HEIGHT = 33;

/**
 * @template R
 * @typedef {{key: string, title: any, render: (row: R, index: number) => any, width?: string,
 *   align?: "number", wide?: boolean, class?: string}} Column `wide` ones are left out on phones.
 */

/**
 * Rows are as high as one line. `onOpen` is called for a row that is clicked or entered; cells may
 * have links of their own.
 * @template R
 * @param {{columns: Column<R>[], rows: R[], onOpen?: (row: R, index: number) => void,
 *   label: string, rowKey?: (row: R, index: number) => string | number, selected?: number,
 *   height?: string, onScroll?: (event: Event) => void}} props
 */
export function Table({ columns, rows, onOpen, label, rowKey, selected, height, onScroll }) {
  const { ref, first, last, before, after, visible, show } = useWindow({
    count: rows.length,
    height: ROW_HEIGHT,
  });
  const [active, setActive] = useState(0);
  const body = useRef(/** @type {HTMLElement | null} */ (null));
  const current = Math.min(active, Math.max(rows.length - 1, 0));

  /** @param {number} index */
  const focus = (index) => {
    const next = Math.max(0, Math.min(index, rows.length - 1));
    setActive(next);
    show(next);
    // It may have to be made first.
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        /** @type {HTMLElement | null | undefined} */
        (body.current?.querySelector(`[aria-rowindex="${next + 2}"]`))?.focus({
          preventScroll: true,
        });
      }),
    );
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    const target = {
      ArrowDown: current + 1,
      ArrowUp: current - 1,
      PageDown: current + visible - 1,
      PageUp: current - visible + 1,
      Home: 0,
      End: rows.length - 1,
    }[event.key];
    if (target !== undefined) {
      event.preventDefault();
      focus(target);
    } else if (event.key === "Enter" && onOpen !== undefined && isRow(event.target)) {
      event.preventDefault();
      onOpen(rows[current], current);
    }
  };
  const shown = rows.slice(first, last);
  return html`<div class="table-scroll" style=${{ maxHeight: height }} onScroll=${onScroll}
    ref=${ref}>
    <table class="table windowed" role="grid" aria-label=${label} aria-rowcount=${rows.length + 1}
      onKeyDown=${press}>
      <thead>
        <tr aria-rowindex="1" role="row">
          ${columns.map(
            ({ key, title, width, align, wide }) => html`<th key=${key} role="columnheader"
              scope="col" style=${sized(width)} class=${classes(align, wide)}>${title}</th>`,
          )}
        </tr>
      </thead>
      <tbody ref=${body}>
        ${spacer(before)}
        ${shown.map((row, offset) => {
          const index = first + offset;
          const isActive = index === current || (offset === 0 && !isIn(current, first, last));
          return html`<tr key=${rowKey?.(row, index) ?? index} role="row" class="opens"
            aria-rowindex=${index + 2} tabindex=${isActive ? 0 : -1}
            aria-selected=${selected === undefined ? undefined : selected === index}
            onFocus=${() => setActive(index)}
            onClick=${(/** @type {MouseEvent} */ event) => isPlain(event) && onOpen?.(row, index)}>
            ${columns.map(
              ({ key, render, align, wide, class: extra }) => html`<td key=${key} role="gridcell"
                class=${classes(align, wide, extra)}>${render(row, index)}</td>`,
            )}
          </tr>`;
        })}
        ${spacer(after)}
      </tbody>
    </table>
  </div>`;
}

Table.rowHeight = ROW_HEIGHT;
Table.headHeight = HEAD_HEIGHT;

/** @param {number} height */
function spacer(height) {
  // One cell is enough: as many as there are columns would be too many where some are left out.
  return height > 0
    ? html`<tr class="spacer" role="presentation" aria-hidden="true">
        <td style=${{ height: `${height}px` }}></td></tr>`
    : null;
}

/**
 * Returns how wide a column is. A share of the table counts where it has room for all columns.
 * @param {string | undefined} width
 */
function sized(width) {
  return width?.endsWith("%") ? { "--share": width } : { width };
}

/** @param {(string | boolean | undefined)[]} parts */
function classes(...parts) {
  const [align, wide, extra] = parts;
  return [align, wide ? "wide-only" : "", extra].filter(Boolean).join(" ");
}

/**
 * @param {number} index
 * @param {number} first
 * @param {number} last
 */
function isIn(index, first, last) {
  return index >= first && index < last;
}

/** @param {EventTarget | null} target */
function isRow(target) {
  return target instanceof HTMLElement && target.matches("tr");
}

/**
 * Whether a click means the row: not what is in it, and not the end of selecting text.
 * @param {MouseEvent} event
 */
function isPlain(event) {
  const isInner = event.target instanceof Element && event.target.closest("a, button, input");
  return !isInner && String(getSelection()) === "";
}
