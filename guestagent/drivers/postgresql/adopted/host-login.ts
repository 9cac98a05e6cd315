import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Endpoint } from '../../../../src/core/domain.ts';
import type { Account } from '../../account.ts';
import { type Login, superuserSettings } from '../sql.ts';
import type { HostLogin } from './host-file.ts';

/**
 * The agent's login to an adopted server, as the operator's file says: through a socket as the user that the
 * server knows (peer), with a password file, or with a certificate.
 */
export function hostLogin(login: HostLogin, port: number, major: string, account: Account | null): Login {
  const { user, host, password_file, tls } = login;
  const endpoint: Endpoint = { host, port };
  const isSocket = host.startsWith('/');
  return {
    ...{ endpoint, user, settings: superuserSettings(Number(major)) },
    password: password_file === undefined ? null : () => passwordIn(password_file, login, port),
    ssl: isSocket || tls === undefined ? null : () => tlsOptions(tls, host),
    openSocket:
      isSocket && password_file === undefined && account !== null
        ? () => socketOf(`${host}/.s.PGSQL.${port}`, account)
        : null,
  };
}

export function loginText({ user, host, password_file, tls }: HostLogin): string {
  const how = password_file === undefined ? '' : ` with the password in ${password_file}`;
  const certificate = tls?.cert === undefined ? '' : ` with the certificate ${tls.cert}`;
  return host.startsWith('/')
    ? `${user} through the socket in ${host}${how}`
    : `${user} at ${host}${how}${certificate}`;
}

function tlsOptions({ ca, cert, key, server_name }: NonNullable<HostLogin['tls']>, host: string) {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path, 'utf8'));
  return { ca: read(ca), cert: read(cert), key: read(key), servername: server_name ?? host };
}

/** In the format of libpq's password file: `host:port:database:user:password`; or the password alone. */
async function passwordIn(path: string, { user, host }: HostLogin, port: number): Promise<string> {
  const lines = (await readFile(path, 'utf8'))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const [only = ''] = lines;
  if (lines.length === 1 && !/(?<!\\):/.test(only)) return only;
  const wanted = [host.startsWith('/') ? 'localhost' : host, String(port), 'postgres', user];
  for (const line of lines) {
    const fields = line.split(/(?<!\\):/).map((field) => field.replaceAll(/\\(.)/g, '$1'));
    if (wanted.every((value, index) => fields[index] === '*' || fields[index] === value)) {
      return fields.slice(4).join(':');
    }
  }
  throw new Error(`${path} has no password for ${wanted.join(':')}`);
}

const OPEN_MS = 10_000;

/** Opens the socket, hands it to its parent, and ends. */
const OPENER = `
const socket = require('node:net').connect(process.argv[1]);
socket.on('connect', () => {
  socket.pause();
  process.send('open', socket, {}, () => process.disconnect());
});
socket.on('error', (error) => process.send(error.message, () => process.disconnect()));
`;

/**
 * For a login that depends on who opens the socket: a short-lived process of that user opens it. The agent is
 * root, and must not change its own user, which all of its work shares.
 */
function socketOf(path: string, { name, uid, gid }: Account): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', OPENER, path], {
      ...{ uid, gid, cwd: '/', env: {}, timeout: OPEN_MS, killSignal: 'SIGKILL' },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    child.on('message', (message, handle) => {
      if (handle instanceof Socket) resolve(opened(handle));
      else reject(new Error(String(message)));
    });
    child.on('error', (error) =>
      reject(new Error(`user ${name} can't run ${process.execPath}: ${error.message}`)),
    );
    child.on('exit', () => reject(new Error(`no socket ${path} was opened as user ${name}`)));
  });
}

/** The client connects each socket that it is given; this one is connected. */
function opened(socket: Socket): Socket {
  socket.connect = () => {
    process.nextTick(() => socket.emit('connect'));
    return socket;
  };
  return socket;
}
