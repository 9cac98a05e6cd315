/** Arbitrary values and texts, from a seed: what people, broken programs and attackers send. */

/** mulberry32: from 0 inclusive to 1 exclusive. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class Dice {
  readonly #random: () => number;
  /** Ids and names that mean something to who is asked. */
  readonly #known: readonly string[];

  constructor(seed: number, known: readonly string[]) {
    this.#random = randomFrom(seed);
    this.#known = known;
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }

  text(): string {
    switch (this.below(6)) {
      case 0:
        return this.pick(this.#known);
      case 1:
        return this.pick(NASTY_TEXTS);
      case 2:
        return this.pick(WORDS);
      case 3:
        return this.pick(WORDS).repeat(this.below(400));
      default:
        return Array.from({ length: this.below(12) }, () => String.fromCodePoint(this.#codePoint())).join('');
    }
  }

  #codePoint(): number {
    return this.pick([
      this.below(0x20),
      0x20 + this.below(0x60),
      0xd800 + this.below(0x800),
      this.below(0x110000),
    ]);
  }

  /** Any JSON value, as JSON text: what `JSON.stringify` can't say is in it too. */
  json(depth = 4): string {
    const kind = this.below(depth > 0 ? 12 : 8);
    if (kind === 0) return this.pick(NUMBERS);
    if (kind === 1) return this.pick(['true', 'false', 'null']);
    if (kind === 2) return String(this.below(200) - 20);
    if (kind < 8) return JSON.stringify(this.text());
    const size = this.below(5);
    if (kind < 10) return `[${Array.from({ length: size }, () => this.json(depth - 1)).join(',')}]`;
    return `{${Array.from({ length: size }, () => `${JSON.stringify(this.key())}:${this.json(depth - 1)}`).join(',')}}`;
  }

  key(): string {
    return this.chance(15) ? this.text() : this.pick([...WORDS, ...PROTOTYPE_KEYS]);
  }

  /** A document that was right, changed somewhere: a value of another type, a key more, less or twice. */
  spoilt(document: unknown): string {
    if (this.chance(12)) return this.json(3);
    if (Array.isArray(document)) {
      const items = document.map((item) => this.spoilt(item));
      return `[${this.chance(10) ? [...items, ...items, this.json(1)].join(',') : items.join(',')}]`;
    }
    if (typeof document === 'object' && document !== null) {
      const entries = Object.entries(document)
        .filter(() => !this.chance(6))
        .map(
          ([key, value]) =>
            `${JSON.stringify(key)}:${this.chance(75) ? this.spoilt(value) : JSON.stringify(value)}`,
        );
      if (this.chance(15)) entries.push(`${JSON.stringify(this.key())}:${this.json(2)}`);
      return `{${entries.join(',')}}`;
    }
    return this.chance(15) ? this.json(0) : JSON.stringify(document);
  }

  /** What should be JSON and isn't, or is far too deep. */
  malformed(): string {
    const deep = 1 + this.below(20_000);
    return this.pick([
      () => '['.repeat(deep),
      () => `${'['.repeat(deep)}${']'.repeat(deep)}`,
      () => `${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`,
      () => this.text(),
      () => this.json().slice(0, this.below(40)),
      () => `{"a":1${' '.repeat(this.below(300_000))}}`,
      () => '{"a":1,"a":2}',
      () => '﻿{}',
    ])();
  }
}

const PROTOTYPE_KEYS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'valueOf',
  'then',
  'length',
];
const NUMBERS = [
  '1e400',
  '-1e400',
  '-0',
  '9007199254740993',
  '1e-400',
  '0.1',
  '4294967296',
  '-1',
  '123456789012345678901234567890',
];
const NASTY_TEXTS = [
  '',
  ' ',
  '.',
  '..',
  '../../../etc/passwd',
  '\u0000',
  'a\u0000b',
  '\r\nX-Injected: 1',
  '\ud800',
  '\u202e',
  'ａ',
  "'; DROP TABLE clusters; --",
  "return redis.call('FLUSHALL')",
  '*',
  '%s%n%d',
  '%00',
  '%zz',
  '{{7*7}}',
  '<script>',
  'NaN',
  '25%',
  '0000-00-00T00:00:00Z',
  '2026-11-23T02:00:00Z',
  '* * * * *',
  '99 99 99 99 99',
  'amq.direct',
  'é'.repeat(300),
];
/** Words of both borders. */
const WORDS = `cluster name datastore type version instances flavorRef volume size databases users password
  extended_properties simulated upgrade datastore_version policy dry_run plan_hash max_unavailable canary
  soak_seconds retries on_failure pause window cron duration_seconds time_zone not_before overrides gate reason
  reset-status grow shrink force_delete resume approve confirm retry cancel rollback replay discard limit marker id
  cluster_id instance_id upgrade_id datastore_version_id action by target payload service_status sent attempt step
  status error permanent result role lag_bytes endpoint host port placement upgrade_info primary fence
  token_sha256 agent_id healthy running 1.0 1.1 postgresql all`.split(/\s+/);
