/** How values of options are read that several commands share. */
import { InvalidArgumentError } from 'commander';

/** Accepts whole numbers only; the API decides how large they may be. */
export function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

export function collect(text: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, text];
}
