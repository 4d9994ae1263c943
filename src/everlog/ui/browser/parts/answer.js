/** What a page asks the server for: loading, there, or failed; the last answer stays meanwhile. */

import { useCallback, useEffect, useState } from "preact/hooks";

/**
 * @template T
 * @typedef {{value: T | null, error: unknown, isLoading: boolean, retry: () => void}} Answer
 */

/**
 * Asks when the component comes and whenever `asked` changes; what was asked before is given up.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {unknown[]} asked
 * @returns {Answer<T>}
 */
export function useAnswer(load, asked) {
  const [round, setRound] = useState(0);
  const [state, setState] = useState(
    /** @type {{value: T | null, error: unknown, isLoading: boolean}} */ ({
      value: null,
      error: null,
      isLoading: true,
    }),
  );
  const retry = useCallback(() => setRound((before) => before + 1), []);
  useEffect(() => {
    const ended = new AbortController();
    setState(({ value }) => ({ value, error: null, isLoading: true }));
    load(ended.signal).then(
      (value) => ended.signal.aborted || setState({ value, error: null, isLoading: false }),
      (error) => ended.signal.aborted || setState({ value: null, error, isLoading: false }),
    );
    return () => ended.abort();
  }, [round, ...asked]);
  return { ...state, retry };
}

/**
 * Returns the first so many of what comes, and stops what makes it.
 * @template T
 * @param {AsyncGenerator<T, void, void>} items
 * @param {number} count
 * @returns {Promise<T[]>}
 */
export async function first(items, count) {
  /** @type {T[]} */
  const found = [];
  for await (const item of items) {
    found.push(item);
    if (found.length >= count) {
      break;
    }
  }
  return found;
}
