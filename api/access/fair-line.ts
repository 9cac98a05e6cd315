/**
 * A queue before a service that admits only a few requests at the same time. Anybody can enter the queue, so
 * filling it must gain little: the waiting networks take turns, and so do the tenants within a network. A
 * sender of a flood waits behind its own requests, and others hardly wait at all.
 */
import { isIPv6 } from 'node:net';

export interface Waiting {
  /** The address that the request came from. */
  readonly ip: string;
  /** The tenant that the request names, if it is known to be real; all others wait together, as `''`. */
  readonly tenant_id: string;
}

type Go = () => void;
type Turns<T> = Map<string, T>;

/**
 * Admits `width` requests at the same time; a waiting request is rejected with an error when its signal
 * aborts.
 */
export function fairLine(
  width: number,
): <T>(who: Waiting, signal: AbortSignal, work: () => Promise<T>) => Promise<T> {
  let free = width;
  const line: Turns<Turns<Set<Go>>> = new Map();

  const turn = ({ ip, tenant_id }: Waiting, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      const network = networkOf(ip);
      const tenants = line.get(network) ?? new Map<string, Set<Go>>();
      const waiting = tenants.get(tenant_id) ?? new Set();
      line.set(network, tenants.set(tenant_id, waiting));
      const go = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        waiting.delete(go);
        if (waiting.size === 0) tenants.delete(tenant_id);
        if (tenants.size === 0) line.delete(network);
        reject(new Error(`more than ${width} questions are under way`));
      };
      waiting.add(go);
      signal.addEventListener('abort', leave, { once: true });
    });

  function next(): Go | undefined {
    return takeTurn(line, (tenants) => takeTurn(tenants, takeFirst));
  }

  return async (who, signal, work) => {
    if (free > 0) free -= 1;
    else await turn(who, signal);
    try {
      return await work();
    } finally {
      const go = next();
      if (go) go();
      else free += 1;
    }
  };
}

/**
 * Takes from the entry whose turn it is. That entry then goes to the end, or is removed if nothing is left of
 * it.
 */
function takeTurn<T extends { readonly size: number }, R>(
  turns: Turns<T>,
  take: (of: T) => R | undefined,
): R | undefined {
  const [first] = turns;
  if (!first) return undefined;
  const [key, those] = first;
  turns.delete(key);
  const taken = take(those);
  if (those.size > 0) turns.set(key, those);
  return taken;
}

function takeFirst(waiting: Set<Go>): Go | undefined {
  const [first] = waiting;
  if (first) waiting.delete(first);
  return first;
}

/** The holder of one IPv6 address has all 2^64 addresses of its network. */
function networkOf(ip: string): string {
  if (!isIPv6(ip) || ip.startsWith('::ffff:')) return ip;
  const [head = [], tail = []] = ip.split('::').map((part) => part.split(':').filter(Boolean));
  const zeros = Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0');
  return [...head, ...zeros, ...tail].slice(0, 4).join(':');
}
