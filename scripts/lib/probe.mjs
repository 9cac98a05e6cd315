// @ts-check
import { get } from 'node:http';
import { connect, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';

/**
 * Probes whether a server is ready. Each probe uses the server's own protocol and resolves when the server is
 * ready; it rejects with the reason otherwise. The probes use no client library, because they run before `npm
 * ci`.
 */

const TIMEOUT_MS = 3_000;

/**
 * Logs in to RabbitMQ and opens the virtual host, as a client would.
 * @param {string} url amqp:// or amqps://
 */
export function probeAmqp(url) {
  const { username, password, pathname } = new URL(url);
  const user = decodeURIComponent(username || 'guest');
  const secret = decodeURIComponent(password || 'guest');
  const vhost = decodeURIComponent(pathname.slice(1)) || '/';
  return converse(
    url,
    { plain: 5672, secure: 5671 },
    Buffer.from('AMQP\0\0\x09\x01', 'latin1'),
    (received) => {
      if (received.length >= 4 && received.toString('latin1', 0, 4) === 'AMQP')
        throw new Error('no AMQP 0-9-1');
      if (received.length < 7) return 'more';
      const end = 7 + received.readUInt32BE(3) + 1;
      if (received.length < end) return 'more';
      const answer = answerTo(received.subarray(7, end - 1), { user, secret, vhost });
      return answer === 'done' ? 'done' : { consumed: end, send: answer };
    },
  );
}

/**
 * The client's side of the AMQP 0-9-1 handshake: start, tune, open.
 * @param {Buffer} method a method frame's payload
 * @param {{ user: string, secret: string, vhost: string }} login
 * @returns {Buffer | 'done'}
 */
function answerTo(method, { user, secret, vhost }) {
  const classId = method.readUInt16BE(0);
  const methodId = method.readUInt16BE(2);
  if (classId !== 10) throw new Error(`unexpected AMQP class ${classId}`);
  switch (methodId) {
    case 10: {
      // With this capability a refused login gets an answer instead of a closed socket.
      const capability = Buffer.concat([shortString('authentication_failure_close'), Buffer.from('t\x01')]);
      const capabilities = Buffer.concat([
        shortString('capabilities'),
        Buffer.from('F'),
        longString(capability),
      ]);
      const response = Buffer.from(`\0${user}\0${secret}`, 'utf8');
      const mechanism = [shortString('PLAIN'), longString(response), shortString('en_US')];
      return methodFrame(11, [longString(capabilities), ...mechanism]);
    }
    case 30: {
      const open = methodFrame(40, [shortString(vhost), shortString(''), Buffer.from([0])]);
      return Buffer.concat([methodFrame(31, [method.subarray(4, 12)]), open]);
    }
    case 41:
      return 'done';
    case 50:
      throw new Error(`refused: ${method.toString('utf8', 7, 7 + method.readUInt8(6))}`);
    default:
      throw new Error(`unexpected AMQP method 10.${methodId}`);
  }
}

/**
 * @param {number} methodId
 * @param {readonly Buffer[]} args
 */
function methodFrame(methodId, args) {
  const payload = Buffer.concat([Buffer.from([0, 10, 0, methodId]), ...args]);
  const head = Buffer.from([1, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
}

/** @param {string} text */
function shortString(text) {
  return Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
}

/** @param {Buffer} bytes */
function longString(bytes) {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/**
 * While Redis loads its data, it answers PING with LOADING: it is not ready yet.
 * @param {string} url redis:// or rediss://
 */
export function probeRedis(url) {
  const { username, password } = new URL(url);
  const login = [username, password].filter(Boolean).map(decodeURIComponent);
  const commands = password ? [['AUTH', ...login], ['PING']] : [['PING']];
  const request = Buffer.from(commands.map(respCommand).join(''));
  return converse(url, { plain: 6379, secure: 6379 }, request, (received) => {
    const lines = received.toString('utf8').split('\r\n').slice(0, -1);
    const refusal = lines.find((line) => line.startsWith('-'));
    if (refusal) throw new Error(refusal.slice(1));
    return lines.includes('+PONG') ? 'done' : 'more';
  });
}

/** @param {readonly string[]} words */
function respCommand(words) {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}

/**
 * @param {string} url answers with 200 when ready
 * @returns {Promise<void>}
 */
export function probeHttp(url) {
  return new Promise((resolve, reject) => {
    const request = get(url, { timeout: TIMEOUT_MS, agent: false }, (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`${url} answered ${response.statusCode}`));
    });
    request.once('timeout', () => request.destroy(new Error(`${url} does not answer`)));
    request.once('error', reject);
  });
}

/**
 * Opens a socket, sends the greeting, and passes the received data to `next` until `next` returns done or
 * throws.
 * @param {string} url
 * @param {{ plain: number, secure: number }} ports the defaults of the scheme
 * @param {Buffer} greeting
 * @param {(received: Buffer) => 'done' | 'more' | { consumed: number, send: Buffer }} next
 * @returns {Promise<void>}
 */
function converse(url, ports, greeting, next) {
  const { protocol, hostname, port } = new URL(url);
  const isSecure = protocol === 'amqps:' || protocol === 'rediss:';
  const host = hostname.replace(/^\[|\]$/g, '') || '127.0.0.1';
  const address = { host, port: Number(port) || (isSecure ? ports.secure : ports.plain) };
  return new Promise((resolve, reject) => {
    const socket = isSecure
      ? connectTls(isIP(host) ? address : { ...address, servername: host })
      : connect(address);
    /** @param {Error | undefined} [error] */
    const settle = (error) => {
      socket.destroy();
      if (error) reject(error);
      else resolve();
    };
    let received = Buffer.alloc(0);
    socket.setTimeout(TIMEOUT_MS, () => settle(new Error('no answer')));
    socket.once('error', settle);
    socket.once('close', () => settle(new Error('the connection was closed')));
    socket.once(isSecure ? 'secureConnect' : 'connect', () => socket.write(greeting));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      try {
        for (;;) {
          const step = next(received);
          if (step === 'done') return settle();
          if (step === 'more') return;
          received = received.subarray(step.consumed);
          socket.write(step.send);
        }
      } catch (error) {
        settle(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
}
