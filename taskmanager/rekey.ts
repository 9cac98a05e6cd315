/**
 * Rotates keys. With `COFFER_MASTER_KEY` and `COFFER_MASTER_KEY_PREVIOUS`: encrypts all keys anew under
 * `COFFER_MASTER_KEY`. With `--instance <id>`: gives that instance a new key in the store and, if its file is
 * in `COFFER_GUESTS_DIR`, also in that file; the agent notices the change by itself.
 */
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { newInstanceKey, openKey, sealKey } from '../src/bus/instance-key.ts';
import { ConfigError, commonConfig, loadConfig, redisPrefix, redisTls } from '../src/config.ts';
import { isId } from '../src/contract/fields.ts';
import { counted } from '../src/core/words.ts';
import { createLogger } from '../src/log.ts';
import { type MasterKey, masterKeyConfig, masterKeyOf } from '../src/master-key.ts';
import type { KeyStore } from '../src/store/keys.ts';
import { openRedisStore } from '../src/store/redis.ts';
import { replaceRpcKey } from './provisioner-local.ts';

const shape = {
  ...commonConfig,
  ...masterKeyConfig,
  COFFER_REDIS_PREFIX: redisPrefix,
  COFFER_GUESTS_DIR: z.string().min(1).optional(),
};

async function main(): Promise<string> {
  const { values } = parseArgs({ options: { instance: { type: 'string' } } });
  const config = loadConfig(shape, process.env);
  const master = masterKeyOf(config);
  if (!master) throw new ConfigError('COFFER_MASTER_KEY: is not set');
  const log = createLogger({ name: 'rekey', level: config.COFFER_LOG_LEVEL });
  const url = config.COFFER_REDIS_URL;
  const store = await openRedisStore({
    ...{ url, tls: redisTls(config), prefix: config.COFFER_REDIS_PREFIX, log, name: 'rekey' },
  });
  try {
    if (values.instance === undefined) return await encryptAnew(store.keys, master);
    return await giveNewKey(store.keys, master, values.instance, config.COFFER_GUESTS_DIR);
  } finally {
    await store.close();
  }
}

async function encryptAnew(keys: KeyStore, master: MasterKey): Promise<string> {
  const ids = await keys.ids();
  for (const id of ids) {
    const held = await keys.get(id);
    // A key that is null was removed in the meantime, together with its cluster.
    if (held !== null) await keys.replace(id, master.seal(master.open(held, id), id));
  }
  return `${counted(ids.length, 'key is', 'keys are')} encrypted under COFFER_MASTER_KEY now: COFFER_MASTER_KEY_PREVIOUS can go`;
}

async function giveNewKey(
  keys: KeyStore,
  master: MasterKey,
  id: string,
  guests_dir: string | undefined,
): Promise<string> {
  const held = await keys.get(id);
  if (held === null || !isId(id)) throw new Error(`instance ${id} has no key`);
  if (openKey(master, id, held).mode === 'trove')
    throw new Error(`instance ${id} has a key of Trove's making: change it there, and register it anew`);
  const key = newInstanceKey();
  await keys.replace(id, sealKey(master, id, key));
  const { secret } = key;
  if (guests_dir !== undefined && (await replaceRpcKey(guests_dir, id, secret)))
    return `instance ${id} has a new key`;
  return `instance ${id} has a new key; put it into its agent's file as "rpc_key": ${secret}`;
}

main().then(
  (done) => process.stdout.write(`${done}\n`),
  (err: unknown) => {
    process.stderr.write(`${err instanceof Error ? err.message : String(err)}\n`);
    process.exitCode = err instanceof ConfigError ? 2 : 1;
  },
);
