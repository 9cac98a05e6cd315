import { openKey, protectionUnder } from '../src/bus/instance-key.ts';
import { type Guard, MessageRefused, type Protection } from '../src/bus/protection.ts';
import { sealOf } from '../src/bus/sealed.ts';
import { isTroveSecure, troveProtection, troveSpeakerOf } from '../src/bus/trove-secure.ts';
import type { MasterKey } from '../src/master-key.ts';
import { joinKeyId, type Store } from '../src/store/store.ts';

/** Whoever sends heartbeats of instances that nobody knows must not fill the memory. */
const MAX_HELD = 100_000;
/** A key that was replaced is noticed after this long; a message under it is refused at once, and said again. */
const KEPT_MS = 10_000;

interface Held {
  readonly at: number;
  /** Null: the instance has no key, and speaks in clear. */
  readonly text: string | null;
  readonly told: Protection | null;
  readonly heard: Protection | null;
}

export interface KeyringDeps {
  readonly store: Pick<Store, 'getKey'>;
  /** Null: instances that have a key are not understood. */
  readonly master: MasterKey | null;
  readonly now: () => number;
}

/** The keys of the instances: kept in the store under the master key, and here for a moment. */
export class Keyring {
  readonly #deps: KeyringDeps;
  readonly #held = new Map<string, Held>();

  constructor(deps: KeyringDeps) {
    this.#deps = deps;
  }

  /** For the instance's own agent; null if it has no key. */
  async secretOf(instance_id: string): Promise<string | null> {
    const sealed = await this.#deps.store.getKey(instance_id);
    return sealed === null ? null : openKey(this.#master(), instance_id, sealed).secret;
  }

  /** Under which the agents of a cluster prove that they may join; null if none may. */
  async joinKeyOf(cluster_id: string): Promise<string | null> {
    const id = joinKeyId(cluster_id);
    const sealed = await this.#deps.store.getKey(id);
    return sealed === null ? null : this.#master().open(sealed, id);
  }

  /** Of what the instance is told; null if it has no key. */
  async protectionOf(instance_id: string): Promise<Protection | null> {
    return (await this.#find(instance_id)).told;
  }

  /** For the conductor's topic: whoever has a key must speak under it, and speaks for itself only. */
  readonly conductorGuard: Guard = async (body) => {
    const id = sealOf(body)?.instance_id ?? troveSpeakerOf(body);
    if (id !== null) {
      const { heard } = await this.#find(id);
      if (!heard) throw new MessageRefused(`instance ${id} has no key here`);
      return heard;
    }
    const claimed = (body['args'] as Readonly<Record<string, unknown>> | undefined)?.['instance_id'];
    if (typeof claimed === 'string' && (await this.#find(claimed)).text !== null)
      throw new MessageRefused(`instance ${claimed} has a key, and this came without`);
    return null;
  };

  async #find(instance_id: string): Promise<Held> {
    const { store, now } = this.#deps;
    const before = this.#held.get(instance_id);
    if (before && now() - before.at < KEPT_MS) return before;
    const text = await store.getKey(instance_id);
    // The same key keeps its memory of what has come in under it.
    const held = before && before.text === text ? { ...before, at: now() } : this.#open(instance_id, text);
    if (this.#held.size >= MAX_HELD) this.#held.clear();
    this.#held.set(instance_id, held);
    return held;
  }

  #open(instance_id: string, text: string | null): Held {
    const { now } = this.#deps;
    if (text === null) return { at: now(), text, told: null, heard: null };
    const key = openKey(this.#master(), instance_id, text);
    const under = (is_to_conductor: boolean) => protectionUnder(instance_id, key, { is_to_conductor, now });
    return { at: now(), text, told: under(false), heard: under(true) };
  }

  #master(): MasterKey {
    const { master } = this.#deps;
    if (!master) throw new MessageRefused('instances have keys, and COFFER_MASTER_KEY is not set');
    return master;
  }
}

/** For the taskmanager's own topic: Trove's services share one key, which by default everybody knows. */
export function taskmanagerGuard(key: string): Guard {
  const protection = troveProtection({ instance_id: '', key });
  return async (body) => (isTroveSecure(body) ? protection : null);
}
