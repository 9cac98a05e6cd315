/** The report on a server that Coffer did not make, as it comes in a heartbeat. */
import { z } from 'zod';
import { ADOPTION_REFUSALS } from '../core/adoption.ts';

/** The report is kept in the record and shown: a guest can't fill the store with it. */
const MAX_TEXT = 2000;
const MAX_ENTRIES = 200;

const Text = z.string().transform((text) => text.slice(0, MAX_TEXT));
const Port = z.int().min(1).max(65_535);

function listOf<Item extends z.ZodType>(item: Item) {
  return z.array(item).transform((items) => items.slice(0, MAX_ENTRIES));
}

/** A refusal with a code that only a newer guest knows still holds, under the most general code. */
const Refusal = z.object({
  code: z
    .string()
    .transform((code) => ADOPTION_REFUSALS.find((each) => each === code) ?? 'setup_unsupported'),
  reason: Text,
  way_out: Text,
});

const Server = z.object({
  version: z.string().max(255),
  full_version: Text,
  role: z.enum(['primary', 'replica']),
  upstream: z.object({ host: z.string().min(1).max(255), port: Port }).nullable(),
  streams_as: z.string().max(255).exactOptional(),
  system_identifier: z.string().regex(/^\d{1,20}$/, 'must be digits'),
  data_checksums: z.boolean(),
  port: Port,
  socket_directories: listOf(Text),
  data_directory: Text,
  config_file: Text,
  settings: listOf(z.object({ name: Text, value: Text, source: Text })),
  slots: listOf(z.object({ name: Text, type: z.enum(['physical', 'logical']), active: z.boolean() })),
  extensions: listOf(z.object({ database: Text, name: Text, version: Text })),
  preload_libraries: listOf(Text),
  tablespaces: listOf(z.object({ name: Text, location: Text })),
  synchronous_standby_names: Text,
  archive_program: Text.nullable(),
});

export const AdoptionReportArg = z.object({
  host: z.object({
    control: Text,
    login: Text,
    versions: listOf(z.object({ version: Text, from: Text })),
  }),
  server: Server.nullable(),
  changes: listOf(z.object({ what: Text, where: Text, taken_back: Text.nullable() })),
  refusals: listOf(Refusal),
});
