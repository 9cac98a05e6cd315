import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ConfigError } from '../../src/config.ts';
import { textOf } from '../../src/log.ts';

/** What a server presents to its clients, in the form that node:tls takes. */
export interface Certificate {
  /** The server's own certificate first, then the intermediate ones. */
  readonly cert: string;
  readonly key: string;
}

/** Reads both files, and checks that they belong together. Throws a `ConfigError`. */
export function readCertificate(cert_path: string, key_path: string): Certificate {
  const certificate = { cert: textOfFile(cert_path), key: textOfFile(key_path) };
  try {
    createSecureContext(certificate);
  } catch (err) {
    throw new ConfigError(
      `${cert_path} and ${key_path} are not a certificate and its key in PEM: ${textOf(err)}`,
    );
  }
  return certificate;
}

function textOfFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (err) {
    throw new ConfigError(`${path} can't be read: ${textOf(err)}`);
  }
}
