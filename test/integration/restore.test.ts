/**
 * What `docs/operate.md` says of Redis' backup, typed against a whole stack: after a restore the record is the
 * one of the backup, and the guests' own word corrects it. Not here: systemctl, in whose place the stack is
 * stopped and started.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '../../client/index.ts';
import { blocksOf, runScript, shellWord, which } from '../support/docs.ts';
import { freePort } from '../support/ports.ts';
import { redisProgram } from '../support/redis.ts';
import { newHome, RunningStack, removeHome, until } from '../support/stack.ts';

const PAGE = 'docs/operate.md';
const hasAll = redisProgram !== undefined && which('redis-cli') !== undefined;

function blockWith(text: string): string {
  const found = blocksOf(PAGE).find((block) => block.language === 'sh' && block.text.includes(text));
  if (!found) throw new Error(`${PAGE} has no block with ${text}`);
  return found.text;
}

describe.skipIf(!hasAll)(
  `a backup of Redis${hasAll ? '' : ' (skipped: no redis-server and redis-cli here)'}`,
  () => {
    let home: string;
    let stack: RunningStack;
    beforeAll(async () => {
      home = await newHome();
      stack = await RunningStack.start(home);
    });
    afterAll(async () => {
      await stack?.stop();
      await removeHome(home);
    });

    const clientOf = async () => createClient({ endpoint: `${(await stack.file()).api_url}/v1.0/demo` });
    const type = (text: string, instead: Readonly<Record<string, string>>, env: NodeJS.ProcessEnv = {}) => {
      const typed = Object.entries(instead).reduce((script, [from, to]) => {
        if (!script.includes(from)) throw new Error(`${PAGE} has no ${from}`);
        return script.replaceAll(from, () => to);
      }, text);
      return runScript(PAGE, typed, home, env);
    };
    const create = async (name: string) => {
      const client = await clientOf();
      await client.clusters.create({
        ...{ name, datastore: { type: 'simulated', version: '1.0' }, instances: [{}, {}] },
      });
      return client.clusters.waitFor(name, { intervalMs: 200 });
    };

    it('is put back, and what has happened since is what the guests say', { timeout: 300_000 }, async () => {
      await create('kept');
      const backup = join(home, 'backup.rdb');
      await type(
        blockWith('--rdb'),
        { 'coffer-$(date +%F).rdb': shellWord(backup) },
        { COFFER_REDIS_URL: (await stack.file()).redis_url },
      );
      expect(existsSync(backup)).toBe(true);

      let client = await clientOf();
      await create('forgotten');
      const { upgrade_id } = await client.clusters.upgrade('kept', '1.1');
      expect(await client.upgrades.waitFor(upgrade_id)).toMatchObject({ state: 'succeeded' });
      await stack.stop();

      const port = String(await freePort());
      const said = await type(blockWith('systemctl stop'), {
        "systemctl stop coffer-api 'coffer-taskmanager@*' redis-server": ':',
        'systemctl start redis-server coffer-taskmanager@1 coffer-taskmanager@2 coffer-api': ':',
        'chown -R redis:': 'ls',
        'redis-server --dir': `${shellWord(redisProgram ?? '')} --dir`,
        'coffer-2026-11-25.rdb': shellWord(backup),
        '/var/lib/redis': shellWord(join(home, 'redis')),
        '6390': port,
      });
      expect(said).toContain('appendonlydir');

      stack = await RunningStack.start(home);
      client = await clientOf();
      await expect(client.clusters.get('forgotten')).rejects.toMatchObject({ code: 'cluster_not_found' });
      await expect(client.upgrades.get(upgrade_id)).rejects.toMatchObject({ code: 'upgrade_not_found' });
      const instances = await until('the guests have told what they run', async () => {
        const cluster = await client.clusters.get('kept');
        return cluster.instances.every(({ version }) => version === '1.1') && cluster.instances;
      });
      expect(instances.map(({ status }) => status)).toEqual(['ACTIVE', 'ACTIVE']);
      // The record says 1.0, the servers 1.1: the same upgrade again brings both together, and touches nobody.
      const again = await client.clusters.upgrade('kept', '1.1');
      expect(await client.upgrades.waitFor(again.upgrade_id)).toMatchObject({ state: 'succeeded' });
      expect(await client.clusters.get('kept')).toMatchObject({ datastore: { version: '1.1' } });
    });
  },
);
