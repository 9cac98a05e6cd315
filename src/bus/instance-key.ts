import type { MasterKey } from '../master-key.ts';
import type { Protection } from './protection.ts';
import { newSecret, sealedProtection } from './sealed.ts';
import { troveProtection } from './trove-secure.ts';

/**
 * An instance's key, and how it is used. `trove`: the key as written in the configuration of Trove's guest
 * agent.
 */
interface InstanceKey {
  readonly mode: 'coffer' | 'trove';
  readonly secret: string;
}

export function newInstanceKey(): InstanceKey {
  return { mode: 'coffer', secret: newSecret() };
}

/**
 * The form in which the key is stored: nobody can read it without the master key, and it opens for this
 * instance only.
 */
export function sealKey(master: MasterKey, instance_id: string, key: InstanceKey): string {
  return master.seal(JSON.stringify(key), instance_id);
}

/** Throws if the key was sealed with another master key or for another instance, or was changed. */
export function openKey(master: MasterKey, instance_id: string, sealed: string): InstanceKey {
  return JSON.parse(master.open(sealed, instance_id)) as InstanceKey;
}

/**
 * The protection of an instance's messages under this key; `is_to_conductor` for the messages that its guest
 * sends by itself.
 */
export function protectionUnder(
  instance_id: string,
  { mode, secret }: InstanceKey,
  { is_to_conductor, now }: { readonly is_to_conductor: boolean; readonly now: () => number },
): Protection {
  if (mode === 'coffer') return sealedProtection({ instance_id, secret, now });
  return troveProtection({ instance_id, key: secret, is_to_conductor });
}
