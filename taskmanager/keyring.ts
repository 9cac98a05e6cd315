import { openKey, protectionUnder } from '../src/bus/instance-key.ts';
import { type Guard, MessageRefused, type Protection } from '../src/bus/protection.ts';
import { sealOf } from '../src/bus/sealed.ts';
import { isTroveSecure, troveProtection, troveSpeakerOf } from '../src/bus/trove-secure.ts';
import type { MasterKey } from '../src/master-key.ts';
import { joinKeyId, type KeyStore } from '../src/store/keys.ts';

/** Limits the memory that heartbeats in the name of unknown instances can take. */
const MAX_HELD = 100_000;
/**
 * How long it takes until a replaced key is noticed. A message under the wrong key is refused at once, and
 * sent again.
 */
const KEPT_MS = 10_000;

interface Held {
  readonly at: number;
  /** Null: the instance has no key, and its messages are unprotected. */
  readonly text: string | null;
  readonly told: Protection | null;
  readonly heard: Protection | null;
}

interface KeyringDeps {
  readonly store: { readonly keys: Pick<KeyStore, 'get'> };
  /** Null: messages of instances that have a key cannot be read. */
  readonly master: MasterKey | null;
  readonly now: () => number;
}

/**
 * The keys of the instances. The store keeps them, encrypted under the master key; the keyring holds them for
 * a short time.
 */
export class Keyring {
  readonly #deps: KeyringDeps;
  readonly #held = new Map<string, Held>();

  constructor(deps: KeyringDeps) {
    this.#deps = deps;
  }

  /** The secret for the instance's own agent; null if the instance has no key. */
  async secretOf(instance_id: string): Promise<string | null> {
    const sealed = await this.#deps.store.keys.get(instance_id);
    return sealed === null ? null : openKey(this.#master(), instance_id, sealed).secret;
  }

  /**
   * The key with which agents prove that they may join this cluster, or may have this instance of an adopted
   * cluster; null if no agent may.
   */
  async joinKeyOf(cluster_or_instance_id: string): Promise<string | null> {
    const id = joinKeyId(cluster_or_instance_id);
    const sealed = await this.#deps.store.keys.get(id);
    return sealed === null ? null : this.#master().open(sealed, id);
  }

  /** The protection of messages to the instance; null if the instance has no key. */
  async protectionOf(instance_id: string): Promise<Protection | null> {
    return (await this.#find(instance_id)).told;
  }

  /**
   * For the conductor's topic: an instance that has a key must use it for its messages, and may only report
   * on itself.
   */
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
    const text = await store.keys.get(instance_id);
    // A key that has not changed must keep its record of the messages that have arrived under it.
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

/** For the taskmanager's own topic. Trove's services share one key, and everybody knows its default value. */
export function taskmanagerGuard(key: string): Guard {
  const protection = troveProtection({ instance_id: '', key });
  return async (body) => (isTroveSecure(body) ? protection : null);
}
