/**
 * Which page is shown, and in which state: the fragment of the URL says all of it.
 *
 * The server never sees a fragment, so that pages work under any path. The token is never in one.
 */

import { signal } from "@preact/signals";

/** @typedef {{page: string, params: URLSearchParams}} Route */
/** @typedef {string | number | boolean | null | undefined} Value */
/** @typedef {URLSearchParams | Record<string, Value | Value[]>} Params */

const FIRST_PAGE = "overview";

/** The page that is shown. */
export const route = signal(parse(location.hash));

addEventListener("hashchange", () => {
  route.value = parse(location.hash);
});

/**
 * Returns the address of a page, for `href`. Parameters that are empty are left out.
 * @param {string} page
 * @param {Params} [params]
 */
export function link(page, params = {}) {
  const query = write(params);
  return `#/${page}${query === "" ? "" : `?${query}`}`;
}

/**
 * Shows a page; with `replace` the one that was shown is not in the history.
 * @param {string} page
 * @param {Params} [params]
 * @param {{replace?: boolean}} [options]
 */
export function go(page, params = {}, { replace = false } = {}) {
  const address = link(page, params);
  if (address === location.hash) {
    return;
  }
  if (replace) {
    history.replaceState(null, "", address);
    route.value = parse(location.hash);
  } else {
    location.hash = address;
  }
}

/**
 * Returns the same parameters but for those that are given; an empty value takes one out.
 * @param {URLSearchParams} params
 * @param {Record<string, Value | Value[]>} changes
 */
export function changed(params, changes) {
  const result = new URLSearchParams(params);
  for (const [name, value] of Object.entries(changes)) {
    result.delete(name);
    for (const each of list(value)) {
      result.append(name, each);
    }
  }
  return result;
}

/**
 * @param {string} hash
 * @returns {Route}
 */
function parse(hash) {
  const text = hash.replace(/^#\/?/, "");
  const end = text.indexOf("?");
  const page = end < 0 ? text : text.slice(0, end);
  const query = end < 0 ? "" : text.slice(end + 1);
  return { page: page === "" ? FIRST_PAGE : page, params: new URLSearchParams(query) };
}

/**
 * @param {Params} params
 * @returns {string}
 */
function write(params) {
  const all =
    params instanceof URLSearchParams ? params : changed(new URLSearchParams(), { ...params });
  // What means nothing in a fragment stays readable.
  return String(all).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%2C", ",");
}

/**
 * @param {Value | Value[]} value
 * @returns {string[]}
 */
function list(value) {
  const values = Array.isArray(value) ? value : [value];
  return values
    .filter((each) => each !== undefined && each !== null && each !== "" && each !== false)
    .map(String);
}
