/**
 * Who is signed in: the token, in the memory of this tab and nowhere else.
 *
 * Only where the person asks for it is it kept in `sessionStorage`, which outlives a reload and
 * ends with the tab. It leaves this module in the header of a request only.
 */

import { computed, signal } from "@preact/signals";

const KEY = "everlog.token";

/** @type {import("@preact/signals").Signal<string | null>} */
const token = signal(sessionStorage.getItem(KEY));

/** Whether there is a token; that it is the right one, the server said when it was typed. */
export const isSignedIn = computed(() => token.value !== null);

/**
 * Why nobody is signed in any more, for the page that asks for the token.
 * @type {import("@preact/signals").Signal<string | null>}
 */
export const signedOutBecause = signal(null);

// A request that was sent with an earlier token says nothing about the present one.
let generation = 0;

/** Ends with the session: what is loaded for a person stops when that person signs out. */
let ended = new AbortController();

/**
 * Keeps a token that the server has accepted.
 * @param {string} text
 * @param {{remember: boolean}} options
 */
export function signIn(text, { remember }) {
  generation += 1;
  ended = new AbortController();
  signedOutBecause.value = null;
  if (remember) {
    sessionStorage.setItem(KEY, text);
  } else {
    sessionStorage.removeItem(KEY);
  }
  token.value = text;
}

/**
 * Forgets the token.
 * @param {string | null} [reason]
 */
export function signOut(reason = null) {
  sessionStorage.removeItem(KEY);
  signedOutBecause.value = reason;
  token.value = null;
  ended.abort();
}

/**
 * Returns what a request of this session carries, and a function to call if it was refused.
 * @returns {{headers: Record<string, string>, signal: AbortSignal, refused: () => void}}
 */
export function credentials() {
  const mine = generation;
  return {
    headers: token.value === null ? {} : bearer(token.value),
    signal: ended.signal,
    refused: () => {
      if (mine === generation && token.value !== null) {
        signOut("The server does not accept this token any more. It may have been exchanged.");
      }
    },
  };
}

/**
 * @param {string} text
 * @returns {Record<string, string>}
 */
export function bearer(text) {
  return { Authorization: `Bearer ${text}` };
}
