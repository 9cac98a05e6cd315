// @ts-check

/**
 * `1 schedule`, `3 schedules`; for another plural, or for a noun with a verb, pass both forms.
 * @param {number} number
 * @param {string} one
 */
export function counted(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
