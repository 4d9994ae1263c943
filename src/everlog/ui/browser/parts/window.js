/** Only what can be seen of a long list is in the page, however long it is. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";

// Browsers do not make anything higher than some tens of millions of pixels.
const HEIGHT_MAX = 15_000_000;
const BEYOND = 8;

/**
 * Returns which rows of a list are to be made, and how much room is before and after them.
 *
 * `ref` goes to the element that scrolls. `show` scrolls so far that a row can be seen.
 * @param {{count: number, height: number}} list How many rows, and how high each one is, in pixels.
 */
export function useWindow({ count, height }) {
  const ref = useRef(/** @type {HTMLElement | null} */ (null));
  const [top, setTop] = useState(0);
  const [room, setRoom] = useState(600);
  const total = Math.min(count * height, HEIGHT_MAX);

  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) {
      return undefined;
    }
    const measure = () => setRoom(element.clientHeight || 600);
    const scroll = () => setTop(element.scrollTop);
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", scroll, { passive: true });
    measure();
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", scroll);
    };
  }, []);

  const visible = Math.ceil(room / height);
  // Where the list is higher than browsers allow, a pixel is more than a pixel.
  const scale = count * height > total ? (count * height - room) / (total - room) : 1;
  const offset = Math.max(0, Math.min(top * scale, count * height - room));
  const first = Math.max(0, Math.floor(offset / height) - BEYOND);
  const last = Math.min(count, first + visible + 2 * BEYOND);
  const before = Math.max(0, Math.min(first * height - (offset - top), total));
  const after = Math.max(0, total - before - (last - first) * height);

  /** @param {number} index */
  const show = (index) => {
    const element = ref.current;
    if (element === null) {
      return;
    }
    const from = index * height;
    if (from < offset) {
      element.scrollTop = from / scale;
    } else if (from + 2 * height > offset + room) {
      element.scrollTop = (from + 2 * height - room) / scale;
    }
  };
  return { ref, first, last, before, after, visible, show };
}
