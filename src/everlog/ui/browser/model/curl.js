/** The command that asks for what a page shows. The token is a variable of the shell in it. */

/**
 * Returns a curl command.
 * @param {string} method
 * @param {string} url
 * @param {unknown} [body] What becomes JSON.
 */
export function curlOf(method, url, body) {
  const lines = [`curl --request ${method} ${shell(url)}`];
  if (method === "GET") {
    lines[0] = `curl ${shell(url)}`;
  }
  // A proxy may keep an answer back until it is complete.
  if (url.endsWith("observe-events")) {
    lines[0] = lines[0]?.replace("curl ", "curl --no-buffer ") ?? "";
  }
  lines.push('--header "Authorization: Bearer $EVERLOG_API_TOKEN"');
  if (body !== undefined) {
    lines.push(`--data ${shell(JSON.stringify(body))}`);
  }
  return lines.join(" \\\n  ");
}

/**
 * Returns a text as one word of a shell.
 * @param {string} text
 */
export function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
