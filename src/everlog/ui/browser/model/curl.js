/** A request as a command for a shell. The token is a variable there, never its text. */

/**
 * @param {{method: string, url: string, body?: string, isStream?: boolean}} request
 */
export function curl({ method, url, body, isStream = false }) {
  const parts = [
    isStream ? "curl --no-buffer" : "curl",
    ...(method === "GET" ? [] : [`--request ${method}`]),
    '--header "Authorization: Bearer $EVERLOG_API_TOKEN"',
    ...(body === undefined ? [] : [`--data-binary ${quoted(body)}`]),
    quoted(url),
  ];
  return parts.join(" \\\n  ");
}

/**
 * Returns a text as a shell takes it, whatever is in it.
 * @param {string} text
 */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
