import type { Endpoint } from '../../../src/core/domain.ts';

/** A connection string of keywords and values, as in `primary_conninfo`. */
export type Conninfo = ReadonlyMap<string, string>;

/** Within a value without quotes, a quote is a character like any other. */
const PART = /\s*([A-Za-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:(?!')(?:[^\s\\]|\\.)+)?))\s*/y;

/** Null for text that is no list of keywords and values, e.g. a URI. */
export function parseConninfo(text: string): Conninfo | null {
  const found = new Map<string, string>();
  PART.lastIndex = 0;
  while (PART.lastIndex < text.length) {
    const [, name, quoted, plain = ''] = PART.exec(text) ?? [];
    if (name === undefined) return null;
    found.set(name, (quoted ?? plain).replaceAll(/\\(.)/g, '$1'));
  }
  return found;
}

export function formatConninfo(conninfo: Conninfo): string {
  return [...conninfo]
    .map(([name, value]) => `${name}=${/^[\w./:@+-]+$/.test(value) ? value : quoteValue(value)}`)
    .join(' ');
}

export function quoteValue(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** The server that a connection string names; null if the string names it in another way. */
export function endpointIn(conninfo: string): Endpoint | null {
  const parts = parseConninfo(conninfo);
  const host = parts?.get('host') ?? parts?.get('hostaddr');
  const port = Number(parts?.get('port') || 5432);
  return host === undefined || host === '' || !Number.isInteger(port) ? null : { host, port };
}

/** The same user, credentials and name, at another server. */
export function pointedAt(conninfo: Conninfo, { host, port }: Endpoint): Conninfo {
  // An address beside the name would win.
  const rest = [...conninfo].filter(([name]) => !['host', 'hostaddr', 'port'].includes(name));
  return new Map([['host', host], ['port', String(port)], ...rest]);
}

/** The name under which a standby with this setting streams. */
export function streamName(conninfo: string, cluster_name: string): string {
  return parseConninfo(conninfo)?.get('application_name') ?? (cluster_name || 'walreceiver');
}

/** For people: without the password. */
export function withoutSecrets(conninfo: Conninfo): string {
  return formatConninfo(
    new Map([...conninfo].map(([name, value]) => [name, /password$/.test(name) ? '…' : value])),
  );
}
