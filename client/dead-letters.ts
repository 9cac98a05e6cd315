import type {
  DeadLetterAction,
  DeadLetterAnswer,
  DeadLetterDocument,
  DeadLettersAnswer,
} from '../src/contract/dead-letters.ts';
import type { Http } from './http.ts';
import { inPath, type Reference } from './references.ts';

/** Messages that nobody could act on. For administrators: others are refused with `forbidden`. */
export class DeadLetters {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** Up to `limit` of them, at most 100, oldest first; `total` says how many there are. */
  list({ limit = 100 }: { readonly limit?: number } = {}): Promise<DeadLettersAnswer> {
    return this.#http.get<DeadLettersAnswer>(`/dead-letters?limit=${limit}`);
  }

  /** Rejects with `dead_letter_not_found`. */
  async get(letter: Reference): Promise<DeadLetterDocument> {
    return (await this.#http.get<DeadLetterAnswer>(`/dead-letters/${inPath(letter)}`)).dead_letter;
  }

  /**
   * Sends it again, as it was, to its topic. If nobody serves that, it rejects with `bus_unavailable`
   * and the letter stays. One that fails again comes back as a new letter.
   */
  replay(letter: Reference): Promise<DeadLetterDocument> {
    return this.#act(letter, 'replay');
  }

  /** Removes it for good; resolves with what it was. */
  discard(letter: Reference): Promise<DeadLetterDocument> {
    return this.#act(letter, 'discard');
  }

  async #act(letter: Reference, action: DeadLetterAction): Promise<DeadLetterDocument> {
    const path = `/dead-letters/${inPath(letter)}`;
    return (await this.#http.send<DeadLetterAnswer>('POST', path, { body: { [action]: {} } })).dead_letter;
  }
}
