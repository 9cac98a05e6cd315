import type {
  DeadLetterAction,
  DeadLetterAnswer,
  DeadLetterDocument,
  DeadLettersAnswer,
} from '../src/contract/dead-letters.ts';
import type { Http } from './http.ts';
import { inPath, type Reference } from './references.ts';

/** Messages that nobody could process. For administrators: others are refused with `forbidden`. */
export class DeadLetters {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** Up to `limit` dead letters, at most 100, oldest first; `total` says how many there are. */
  list({ limit = 100 }: { readonly limit?: number } = {}): Promise<DeadLettersAnswer> {
    return this.#http.get<DeadLettersAnswer>(`/dead-letters?limit=${limit}`);
  }

  /** Rejects with `dead_letter_not_found`. */
  async get(letter: Reference): Promise<DeadLetterDocument> {
    return (await this.#http.get<DeadLetterAnswer>(`/dead-letters/${inPath(letter)}`)).dead_letter;
  }

  /**
   * Sends the message again, unchanged, to its topic. If no process serves that topic, it rejects with
   * `bus_unavailable` and the letter stays. A message that fails again comes back as a new letter.
   */
  replay(letter: Reference): Promise<DeadLetterDocument> {
    return this.#act(letter, 'replay');
  }

  /** Removes the letter for good; resolves with the removed letter. */
  discard(letter: Reference): Promise<DeadLetterDocument> {
    return this.#act(letter, 'discard');
  }

  async #act(letter: Reference, action: DeadLetterAction): Promise<DeadLetterDocument> {
    const path = `/dead-letters/${inPath(letter)}`;
    return (await this.#http.send<DeadLetterAnswer>('POST', path, { body: { [action]: {} } })).dead_letter;
  }
}
