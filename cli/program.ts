import { Command, CommanderError, Option } from 'commander';
import { addActionCommands } from './action-commands.ts';
import { addAdoptionCommands } from './adoption-commands.ts';
import { addBatchCommands } from './batch-commands.ts';
import { addClusterCommands } from './cluster-commands.ts';
import { addCompletionCommand } from './completion.ts';
import { addDatastoreCommands } from './datastore-commands.ts';
import { addDeadLetterCommands } from './dead-letter-commands.ts';
import { addDoctorCommand } from './doctor/command.ts';
import { EXIT, EXIT_CODES_HELP, report } from './failures.ts';
import { fitHelp } from './help.ts';
import { addInstanceCommands } from './instance-commands.ts';
import type { Io } from './io.ts';
import { addResizeCommands } from './resize-commands.ts';
import { resolveTenant } from './tenant.ts';
import { addUpgradeCommands } from './upgrade-commands.ts';
import { VERSION } from './version.ts';

/** Runs one command line, given without the program's name. Resolves with the exit code; never rejects. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  let code: number = EXIT.ok;
  const typed = new Map<string, string>();
  const program = buildProgram(io, (failed) => {
    code = failed;
  }).hook('preAction', async (self, command) => {
    await resolveTenant(self, command);
    const { registeredArguments, args: words } = command;
    for (const [index, argument] of registeredArguments.entries()) {
      const word = words[index];
      if (word !== undefined) typed.set(argument.name(), word);
    }
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    return report(error, io, { json: program.opts<{ json?: boolean }>().json ?? false, typed });
  }
}

/** A command calls `exit` when it did its work but has bad news, such as a failed upgrade. */
export function buildProgram(io: Io, exit: (code: number) => void): Command {
  const program = new Command('coffer')
    .description('Upgrades database clusters to a new version, one safe step at a time, while they serve.')
    .version(VERSION, '--version', 'show the version')
    .addOption(
      new Option('--endpoint <url>', 'where the API is')
        .env('COFFER_ENDPOINT')
        .default('http://127.0.0.1:8779/v1.0'),
    )
    .addOption(
      new Option('--tenant <id>', 'whose clusters (default: those of the token)').env('COFFER_TENANT'),
    )
    .addOption(
      new Option('--token <token>', 'who you are; better set in the environment').env('COFFER_TOKEN'),
    )
    .option('--json', 'write one JSON document, or JSON lines while watching')
    .option('--wide', 'show every column of a table, however narrow the terminal is')
    .addHelpText('after', `${EXAMPLE}\n${WIDTHS}\n${EXIT_CODES_HELP}`);
  program.commandsGroup('Upgrades:');
  addUpgradeCommands(program, io, exit);
  addActionCommands(program, io);
  program.commandsGroup('Many clusters at once:');
  addBatchCommands(program, io, exit);
  program.commandsGroup('Clusters:');
  addClusterCommands(program, io);
  addInstanceCommands(program, io);
  addResizeCommands(program, io);
  addAdoptionCommands(program, io);
  program.commandsGroup('Versions:');
  addDatastoreCommands(program, io);
  program.commandsGroup('This installation:');
  addDeadLetterCommands(program, io);
  addDoctorCommand(program, io, exit);
  addCompletionCommand(program, io);
  quiet(program, io);
  return program;
}

const EXAMPLE = `
A first upgrade:
  coffer cluster-create shop postgresql 17.6 --instances 3 --wait
  coffer cluster-upgrade shop 17.10 --dry-run
  coffer cluster-upgrade shop 17.10 --watch
  coffer cluster-show shop

Something is wrong:
  coffer doctor
  coffer upgrade-show shop

Every command has examples: coffer <command> --help`;

const WIDTHS = `
How wide:
  On a terminal, tables and help are as wide as it is; columns that have no room are left out, and named.
  In a pipe or a file, tables have every column, with tabs between them, and lines of any length; help is 80 wide.`;

/**
 * For the program and all subcommands: commander writes through `io`, and throws instead of ending the
 * process.
 */
function quiet(command: Command, io: Io): void {
  fitHelp(command, io);
  command
    .exitOverride((error) => {
      throw new CommanderError(error.exitCode, error.code, error.message);
    })
    .showHelpAfterError('(add --help for what the command takes)')
    .helpOption('-h, --help', 'show this help');
  for (const each of command.commands) quiet(each, io);
}
