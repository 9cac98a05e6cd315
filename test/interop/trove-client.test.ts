/**
 * The real python-troveclient and the real OpenStack command line against the whole stack.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeInterop, openstack } from '../support/python.ts';
import { newHome, RunningStack, removeHome } from '../support/stack.ts';

describeInterop('the OpenStack command line', () => {
  let home: string;
  let stack: RunningStack;
  let endpoint: string;

  beforeAll(async () => {
    home = await newHome();
    stack = await RunningStack.start(home);
    endpoint = `${(await stack.file()).api_url}/v1.0/interop`;
  });

  afterAll(async () => {
    await stack?.stop();
    await removeHome(home);
  });

  const database = (...command: string[]) =>
    openstack(['--os-auth-type', 'none', '--os-endpoint', endpoint, 'database', ...command]);

  it('lists no cluster where there is none', async () => {
    const listed = await database('cluster', 'list', '-f', 'json');
    expect(listed).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(listed.stdout)).toEqual([]);
  });
});
