/**
 * Events that arrive while a page is shown: how many, and the last ones of them.
 *
 * However many arrive, what is kept is a page of them.
 */

/**
 * @template {{id: string}} E
 */
export class Arrivals {
  /** @param {number} sizeMax How many are kept at most. */
  constructor(sizeMax) {
    this.sizeMax = sizeMax;
    this.count = 0;
    /**
     * A ring: the place of the next one is `count` modulo its size.
     * @type {E[]}
     */
    this.kept = [];
  }

  /** @param {E} event */
  add(event) {
    this.kept[this.count % this.sizeMax] = event;
    this.count += 1;
  }

  /**
   * Returns what is kept, newest first, and begins anew.
   * @returns {E[]}
   */
  take() {
    const size = this.kept.length;
    const taken = [];
    for (let back = 1; back <= size; back += 1) {
      const event = this.kept[(this.count - back) % this.sizeMax];
      if (event !== undefined) {
        taken.push(event);
      }
    }
    this.kept = [];
    this.count = 0;
    return taken;
  }
}

/**
 * Returns how to say how many have arrived.
 * @param {number} count
 */
export function arrivedText(count) {
  return `${count.toLocaleString("en")} new event${count === 1 ? "" : "s"}`;
}
