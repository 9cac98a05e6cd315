import type { Command } from 'commander';
import { type CofferClient, createClient } from '../client/index.ts';
import { UsageError } from './failures.ts';
import type { Io } from './io.ts';
import { Output } from './output.ts';

/** What every command works with. */
export interface Session {
  readonly client: CofferClient;
  readonly output: Output;
  readonly io: Io;
  readonly json: boolean;
  /** The tenant whose path is requested. */
  readonly tenant: string;
}

export interface GlobalOptions {
  readonly endpoint: string;
  readonly tenant: string;
  readonly token?: string;
  readonly json?: boolean;
  readonly wide?: boolean;
}

/** Opens the session that a command's options ask for. */
export function sessionOf(command: Command, io: Io): Session {
  const { endpoint, tenant, token, json = false, wide = false } = command.optsWithGlobals<GlobalOptions>();
  return {
    client: createClient({
      endpoint: `${withVersion(endpoint)}/${encodeURIComponent(tenant)}`,
      ...(token !== undefined && { token }),
    }),
    output: new Output(io.stdout, { json, wide }),
    io,
    json,
    tenant,
  };
}

/** The address of the API, without version and tenant. */
export function originOf(command: Command): string {
  const { endpoint } = command.optsWithGlobals<GlobalOptions>();
  return withVersion(endpoint).replace(/\/v1(\.0)?$/, '');
}

/** Turns `http://host:8779` into `http://host:8779/v1.0`. Throws a `UsageError` if the text is not an address. */
export function withVersion(endpoint: string): string {
  const trimmed = endpoint.replace(/\/+$/, '');
  if (!/^https?:\/\//i.test(trimmed) || !URL.canParse(trimmed)) {
    throw new UsageError(
      `The endpoint '${endpoint}' is no address such as http://127.0.0.1:8779: set it with --endpoint, or COFFER_ENDPOINT.`,
    );
  }
  return /\/v1(\.0)?$/.test(trimmed) ? trimmed : `${trimmed}/v1.0`;
}
