/** Numbers as people read them. */

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/**
 * Returns a whole number with its thousands apart.
 * @param {number} value
 */
export function whole(value) {
  return Math.round(value).toLocaleString("en");
}

/**
 * Returns a number with three digits that count.
 * @param {number} value
 */
export function short(value) {
  if (value >= 100 || value === 0) {
    return whole(value);
  }
  return String(Number(value.toPrecision(3)));
}

/**
 * Returns an amount of memory or of disk.
 * @param {number} bytes
 */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? whole(value) : short(value)} ${UNITS[unit]}`;
}

/**
 * Returns how long something took, or takes.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds === 0) {
    return "0 s";
  }
  if (seconds < 0.001) {
    return `${short(seconds * 1e6)} µs`;
  }
  if (seconds < 1) {
    return `${short(seconds * 1000)} ms`;
  }
  if (seconds < 120) {
    return `${short(seconds)} s`;
  }
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days > 1) {
    return `${whole(days)} days`;
  }
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}
