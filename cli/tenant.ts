import type { Command } from 'commander';
import { identify } from '../client/index.ts';
import { UsageError } from './failures.ts';
import { type GlobalOptions, withVersion } from './session.ts';

/** Where nobody has to sign in, clusters still belong to a tenant: this one. */
const OPEN_TENANT = 'demo';

/** Before a command runs that was given no tenant: uses the tenant that the token is for. */
export async function resolveTenant(program: Command, command: Command): Promise<void> {
  const { tenant, token, endpoint } = command.optsWithGlobals<Partial<GlobalOptions>>();
  if (tenant !== undefined || !isAskingApi(command)) return;
  program.setOptionValue('tenant', token && endpoint ? await tenantOf(endpoint, token) : OPEN_TENANT);
}

/** A command that only prints a script for a shell sends no request. */
function isAskingApi(command: Command): boolean {
  return command.name() !== 'completion';
}

async function tenantOf(endpoint: string, token: string): Promise<string> {
  // If the address, the token or the API is wrong, the command itself finds that out and reports it.
  const identity = await identify({ endpoint: withVersion(endpoint), token }).catch(() => null);
  if (identity === null || (identity.user === null && identity.project_id === null)) return OPEN_TENANT;
  if (identity.project_id !== null) return identity.project_id;
  throw new UsageError(
    'The token is for no tenant: say whose clusters are meant with --tenant, or COFFER_TENANT.',
  );
}
