import type { Endpoint } from '../../../../src/core/domain.ts';

/** A connection string of keywords and values, as in `primary_conninfo`. */
export type Conninfo = ReadonlyMap<string, string>;

const PART = /\s*([A-Za-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))\s*/y;

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
  return [...conninfo].map(([name, value]) => `${name}=${quoted(value)}`).join(' ');
}

function quoted(value: string): string {
  if (/^[\w./:@+-]+$/.test(value)) return value;
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
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
