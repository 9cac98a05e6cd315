import { Client, type QueryResultRow } from 'pg';
import { within } from '../../files.ts';
import { DEMANDED, type Demands, demandsOf, isLsn, parseLsn } from './control.ts';
import { clientConfig, disconnect, type Login } from './sql.ts';

/**
 * Asks another server of the cluster. The superuser may log in only on the host of its own server. So this
 * uses a replication connection, like a standby, and can ask only what the replication protocol offers. Each
 * question has a connection of its own, because such connections are limited.
 */
const ASK_MS = 700;

/** How far the other server's log goes: for a primary, how far it has written. */
export async function positionOf(login: Login): Promise<bigint> {
  return ask(login, async (query) => {
    const { xlogpos } = await query('IDENTIFY_SYSTEM');
    if (typeof xlogpos !== 'string' || !isLsn(xlogpos)) throw new Error('no log position in the answer');
    return parseLsn(xlogpos);
  });
}

export async function demandsOfServer(login: Login): Promise<Demands> {
  return ask(login, async (query) => {
    const values = new Map<string, number>();
    for (const name of DEMANDED) values.set(name, Number((await query(`SHOW ${name}`))[name]));
    return demandsOf((name) => values.get(name) ?? 0);
  });
}

type Query = (text: string) => Promise<QueryResultRow>;

async function ask<T>(login: Login, work: (query: Query) => Promise<T>): Promise<T> {
  const limits = { connectMs: ASK_MS, statementMs: ASK_MS };
  const settings = { ...clientConfig(login, limits), replication: 'true' };
  const client = new Client(settings);
  client.on('error', () => {});
  const query: Query = async (text) => (await client.query<QueryResultRow>(text)).rows[0] ?? {};
  const asked = async () => {
    await client.connect();
    return work(query);
  };
  try {
    const { host, port } = login.endpoint;
    return await within(ASK_MS, asked(), `no answer of ${host}:${port}`);
  } finally {
    disconnect(client);
  }
}
