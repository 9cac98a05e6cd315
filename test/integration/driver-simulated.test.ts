/** The simulated driver has no server to ask: a file says which version it plays. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

const PLAYED = {
  broken: { fail: [{ instance: 0, action: 'upgrade', times: 1 }] },
  endless: { upgrade_ms: 3_600_000 },
};

describeDriver('simulated', {
  versions: ['1.0', '1.1'],
  // It plays whatever version the catalogue has.
  unknown: null,
  broken: '1.1',
  endless: '1.1',
  serversBelongTo: 'agent',
  open: async (_count, options) => [open(options?.isFor ? PLAYED[options.isFor] : {})],
  close: () => rm(root, { recursive: true, force: true }),
});
