import type { Command } from 'commander';
import { type CofferClient, createClient } from '../client/index.ts';
import type { Io } from './io.ts';
import { Output } from './output.ts';

/** What every command works with. */
export interface Session {
  readonly client: CofferClient;
  readonly output: Output;
  readonly io: Io;
  readonly json: boolean;
}

export interface GlobalOptions {
  readonly endpoint: string;
  readonly tenant: string;
  readonly token?: string;
  readonly json?: boolean;
}

/** Opens the session that a command's options ask for. */
export function sessionOf(command: Command, io: Io): Session {
  const { endpoint, tenant, token, json = false } = command.optsWithGlobals<GlobalOptions>();
  return {
    client: createClient({
      endpoint: `${withVersion(endpoint)}/${encodeURIComponent(tenant)}`,
      ...(token !== undefined && { token }),
    }),
    output: new Output(io.stdout, { json }),
    io,
    json,
  };
}

/** Where the API is, without version and tenant. */
export function originOf(command: Command): string {
  const { endpoint } = command.optsWithGlobals<GlobalOptions>();
  return withVersion(endpoint).replace(/\/v1(\.0)?$/, '');
}

/** `http://host:8779` is meant to be `http://host:8779/v1.0`. */
function withVersion(endpoint: string): string {
  const trimmed = endpoint.replace(/\/+$/, '');
  return /\/v1(\.0)?$/.test(trimmed) ? trimmed : `${trimmed}/v1.0`;
}
