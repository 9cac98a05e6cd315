import type { Protection } from './protection.ts';
import { sealedProtection } from './sealed.ts';
import { troveProtection } from './trove-secure.ts';

/** An instance's key, and how it is used. `trove`: as it stands in the configuration of Trove's guest agent. */
export interface InstanceKey {
  readonly mode: 'coffer' | 'trove';
  readonly secret: string;
}

/** The protection of an instance's messages under this key; `is_to_conductor` of what its guest sends by itself. */
export function protectionUnder(
  instance_id: string,
  { mode, secret }: InstanceKey,
  { is_to_conductor, now }: { readonly is_to_conductor: boolean; readonly now: () => number },
): Protection {
  if (mode === 'coffer') return sealedProtection({ instance_id, secret, now });
  return troveProtection({ instance_id, key: secret, is_to_conductor });
}
