import type { Client } from 'pg';
import { exists } from '../../../src/files.ts';
import { readAutoConf } from './auto-conf.ts';
import { DEMANDED, type Demands, demandsOf, readControl } from './control.ts';
import { demandsOfServer } from './other-server.ts';
import { CONFIGURED, type Places } from './settings.ts';
import { type Login, one } from './sql.ts';

/**
 * A standby stops its replay, and does not start again, if its `max_connections`, or another of five
 * settings, is smaller than its primary's. Operators raise these settings on one server after the other, and
 * a switchover may make the server with the larger values the primary. So a standby is always started with at
 * least what its data and its primary demand, whatever its own configuration says.
 */
export async function raisedSettings(
  places: Places,
  primary: Login | null,
): Promise<Readonly<Partial<Demands>>> {
  if (!(await exists(places.standbySignal))) return {};
  const configured = await configuredSettings(places);
  const control = await readControl(places.data).catch(() => null);
  const asked = primary === null ? null : await demandsOfServer(primary).catch(() => null);
  const demanded = [control?.demands, asked].filter((each) => each != null);
  const raised = DEMANDED.map((name) => [name, Math.max(0, ...demanded.map((each) => each[name]))] as const);
  return Object.fromEntries(raised.filter(([name, value]) => value > configured[name]));
}

/** Lists the settings of the running server that are smaller than `demands`; null if all are large enough. */
export async function tooSmall(client: Client, demands: Demands): Promise<string | null> {
  const running = await runningSettings(client);
  const small = DEMANDED.filter((name) => running[name] < demands[name]);
  if (small.length === 0) return null;
  return small.map((name) => `${name} is ${running[name]}, its primary has ${demands[name]}`).join('; ');
}

async function runningSettings(client: Client): Promise<Demands> {
  const list = DEMANDED.map((name) => `current_setting('${name}') AS ${name}`).join(', ');
  const row = await one<Record<string, string>>(client, `SELECT ${list}`);
  return demandsOf((name) => Number(row[name]));
}

async function configuredSettings(places: Places): Promise<Demands> {
  const set = await readAutoConf(places);
  return demandsOf((name) => Number(set.get(name) ?? CONFIGURED[name]));
}
