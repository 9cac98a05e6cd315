import type { Command } from 'commander';
import type { Io } from './io.ts';
import { count } from './options.ts';
import { prose } from './output.ts';
import { sessionOf } from './session.ts';

const LETTER_ARGUMENT = 'id of a dead letter';

function exampleOf(words: string): string {
  return `\nExample:\n  coffer dead-letters ${words}`;
}

/** `dead-letters list`, `show`, `replay`, `discard`. */
export function addDeadLetterCommands(program: Command, io: Io): void {
  const letters = program
    .command('dead-letters')
    .description('Look through the messages that nobody could act on. For administrators.')
    .addHelpText('after', exampleOf('list'));
  addListCommand(letters, io);
  addShowCommand(letters, io);

  letters
    .command('replay')
    .description('Send a dead letter again, once its cause is gone.')
    .argument('<letter>', LETTER_ARGUMENT)
    .addHelpText('after', exampleOf('replay 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a'))
    .action(async (id: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const dead_letter = await client.deadLetters.replay(id);
      output.result({ dead_letter }, () =>
        output.line(`Sent to ${dead_letter.topic} again. If it fails once more: coffer dead-letters list`),
      );
    });

  letters
    .command('discard')
    .description('Remove a dead letter for good.')
    .argument('<letter>', LETTER_ARGUMENT)
    .addHelpText('after', exampleOf('discard 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a'))
    .action(async (id: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const dead_letter = await client.deadLetters.discard(id);
      output.result({ dead_letter }, () => output.line(`Dead letter ${id} is gone.`));
    });
}

function addListCommand(letters: Command, io: Io): void {
  letters
    .command('list')
    .description('List the dead letters with their reasons, oldest first.')
    .option('--limit <n>', 'how many at most, up to 100', count, 100)
    .addHelpText('after', exampleOf('list --limit 10'))
    .action(async (options: { readonly limit: number }, command) => {
      const { client, output } = sessionOf(command, io);
      const answer = await client.deadLetters.list(options);
      output.result(answer, () => {
        output.table(
          ['ID', prose('Reason'), 'Topic', 'Method', 'Buried'],
          answer.dead_letters.map((letter) => [
            ...[letter.id, letter.reason, letter.topic, letter.method, letter.buried],
          ]),
          'There are no dead letters: every message found somebody who could act on it.',
        );
        const more = answer.total - answer.dead_letters.length;
        if (more > 0) io.stderr.write(`${more} more are not shown.\n`);
      });
    });
}

function addShowCommand(letters: Command, io: Io): void {
  letters
    .command('show')
    .description('Show a dead letter with its body.')
    .argument('<letter>', LETTER_ARGUMENT)
    .addHelpText('after', exampleOf('show 5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a'))
    .action(async (id: string, _options, command) => {
      const { client, output } = sessionOf(command, io);
      const dead_letter = await client.deadLetters.get(id);
      output.result({ dead_letter }, () => output.fields(dead_letter));
    });
}
