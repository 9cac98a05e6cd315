import { readFileSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { PermanentError } from '../driver.ts';

/** The unprivileged account that servers run as when the agent is root: a server refuses to run as root. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Null when the agent itself is unprivileged: servers then run as the agent does. */
export function serverAccount(name = 'nobody'): Account | null {
  if (process.getuid?.() !== 0) return null;
  const entry = users().find((fields) => fields[0] === name);
  const [uid, gid] = [Number(entry?.[2]), Number(entry?.[3])];
  if (entry === undefined || !Number.isInteger(uid) || !Number.isInteger(gid)) {
    throw new PermanentError(`no user "${name}" in /etc/passwd to run database servers as`);
  }
  if (uid === 0) throw new PermanentError(`database servers refuse to run as "${name}": it is root`);
  return { name, uid: uid >>> 0, gid: gid >>> 0 };
}

/**
 * The owner of a server's data, whom the server runs as; null if that is the agent's own user. An agent that is
 * not root must be that user.
 */
export function ownerOf(dataDir: string): Account | null {
  const { uid, gid } = statSync(dataDir);
  const own = process.getuid?.();
  if (own === uid) return null;
  const name = users().find((fields) => fields[2] === String(uid))?.[0] ?? String(uid);
  if (own === 0) return { name, uid, gid };
  throw new PermanentError(`${dataDir} belongs to user ${name}: run this agent as that user, or as root`);
}

function users(): readonly (readonly string[])[] {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  return lines.map((line) => line.split(':'));
}

/**
 * Rejects, naming the closed folder, unless the account can pass through every folder on the way to `path`.
 */
export async function requireReachable(path: string, account: Account | null): Promise<void> {
  if (account === null) return;
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder);
    const execute = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & execute) === 0) {
      throw new PermanentError(
        `the folder ${folder} is closed to the user "${account.name}" that database servers run as: ` +
          `choose another place, or open it with chmod o+x`,
      );
    }
    if (folder === dirname(folder)) return;
  }
}
