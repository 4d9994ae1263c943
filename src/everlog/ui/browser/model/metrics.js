/** The text of OpenMetrics, as much of it as Everlog writes. */

const LINE = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)/;

/**
 * Returns the value of each sample by its name, labels included as they are written.
 * @param {string} text
 * @returns {Map<string, number>}
 */
export function samples(text) {
  const result = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (match !== null) {
      result.set(match[1], Number(match[2]));
    }
  }
  return result;
}

/**
 * Returns the state of a set of states, such as `everlog_store_condition`, or undefined.
 * @param {Map<string, number>} values
 * @param {string} name
 */
export function stateOf(values, name) {
  const states = [...values].filter(([key, value]) => key.startsWith(`${name}{`) && value === 1);
  return states[0]?.[0].match(/="([^"]*)"\}$/)?.[1];
}

/**
 * Returns by how much a counter grew in a second, or null where that cannot be said.
 * @param {Map<string, number> | null} before
 * @param {Map<string, number>} now
 * @param {string} name
 * @param {number} seconds
 */
export function rate(before, now, name, seconds) {
  const difference = growth(before, now, name);
  return difference === null || seconds <= 0 ? null : difference / seconds;
}

/**
 * Returns the mean of what a histogram got between two moments, or null where it got nothing.
 * @param {Map<string, number> | null} before
 * @param {Map<string, number>} now
 * @param {string} name
 */
export function mean(before, now, name) {
  const count = growth(before, now, `${name}_count`);
  const sum = growth(before, now, `${name}_sum`);
  return count === null || sum === null || count === 0 ? null : sum / count;
}

/**
 * @param {Map<string, number> | null} before
 * @param {Map<string, number>} now
 * @param {string} name
 */
function growth(before, now, name) {
  const first = before?.get(name);
  const last = now.get(name);
  // A counter that became smaller began anew.
  return first === undefined || last === undefined || last < first ? null : last - first;
}
