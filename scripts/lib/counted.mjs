// @ts-check

/**
 * `1 schedule`, `3 schedules`; for another plural, or a verb with it, give both.
 * @param {number} number
 * @param {string} one
 */
export function counted(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
