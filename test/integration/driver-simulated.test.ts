/** The simulated driver has no server to ask: a file says which version it plays. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { InstanceConfig } from '../../guestagent/driver.ts';
import { simulatedDriver } from '../../guestagent/drivers/simulated.ts';
import { describeDriver, type Subject } from '../conformance/driver.ts';
import { silentLog as log } from '../support/services.ts';

const root = await mkdtemp(join(tmpdir(), 'coffer-simulated-'));

function open(simulated: object): Subject {
  return subjectOf({
    ...{ instance_id: randomUUID(), cluster_id: randomUUID(), name: 'simulated-1', ordinal: 0 },
    ...{ manager: 'simulated', datastore_version: '1.0', role: 'member', primary: null },
    ...{ endpoint: { host: '127.0.0.1', port: 0 }, cluster_token: '', databases: [], users: [] },
    extended_properties: { simulated },
  });
}

function subjectOf(config: InstanceConfig): Subject {
  const stateDir = join(root, config.instance_id);
  return {
    driver: simulatedDriver({ config, stateDir, cacheDir: root, log }),
    ...{ name: config.name, endpoint: config.endpoint, stateDir },
    ask: async () => {
      const { version } = JSON.parse(await readFile(join(stateDir, 'state.json'), 'utf8'));
      return { version, process: 0 };
    },
    reopen: () => subjectOf(config),
  };
}

const FAILS_ONCE = { fail: [{ instance: 0, action: 'upgrade', times: 1 }] };

describeDriver('simulated', {
  versions: ['1.0', '1.1'],
  // It plays whatever version the catalogue has.
  unknown: null,
  broken: '1.1',
  serversBelongTo: 'agent',
  open: async (_count, options) => [open(options?.isBroken ? FAILS_ONCE : {})],
  close: () => rm(root, { recursive: true, force: true }),
});

it('ends an upgrade that would last an hour when its agent stops', async () => {
  const { driver } = open({ upgrade_ms: 3_600_000 });
  await driver.start();
  const order = driver.upgrade({ datastore_version: '1.1', primary: null, info: {} });
  await driver.stop();
  await expect(order).rejects.toThrow('stopping');
  expect(await driver.health()).toMatchObject({ service_status: 'shutdown', version: '1.0' });
  await driver.destroy();
});
