import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority in `folder`, as an operator makes one with openssl. All are paths of PEM files. */
export async function makeAuthority(folder: string, name: string) {
  const authority = pathsOf(folder, name);
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', `/CN=${name}`, '-keyout', authority.key, '-out', authority.cert],
  ]);
  return {
    ca: authority.cert,
    /** A certificate for 127.0.0.1 and the names given. */
    async issue(owner: string, names: readonly string[] = ['localhost']): Promise<Pair> {
      const { cert, key } = pathsOf(folder, owner);
      const [request, extensions] = [join(folder, `${owner}.csr`), join(folder, `${owner}.ext`)];
      await writeFile(
        extensions,
        `subjectAltName=IP:127.0.0.1,${names.map((each) => `DNS:${each}`).join(',')}\n`,
      );
      await run('openssl', [
        ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-subj', `/CN=${owner}`, '-keyout', key, '-out', request],
      ]);
      await run('openssl', [
        ...[
          'x509',
          '-req',
          '-in',
          request,
          '-CA',
          authority.cert,
          '-CAkey',
          authority.key,
          '-CAcreateserial',
        ],
        ...['-days', '2', '-extfile', extensions, '-out', cert],
      ]);
      return { cert, key };
    },
  };
}

function pathsOf(folder: string, name: string): Pair {
  return { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
}
