import type { DeadLetter, DeadLetters } from '../../src/bus/bus.ts';
import {
  DEAD_LETTER_ACTIONS,
  DeadLetterActionBody,
  DeadLetterAnswer,
  type DeadLetterDocument,
  type DeadLetterListed,
  DeadLetterParams,
  DeadLettersAnswer,
  DeadLettersQuery,
} from '../../src/contract/dead-letters.ts';
import { CofferError } from '../../src/core/errors.ts';
import { HIDDEN, isSecret } from '../../src/log.ts';
import { actionRule } from '../access/enforce.ts';
import type { App, Deps } from '../deps.ts';
import { requireOneAction } from '../http/one-action.ts';
import { isoOrNull } from '../times.ts';

const tags = ['dead-letters'];
/** A longer message is shown truncated; it is replayed whole. */
const MAX_SHOWN_BYTES = 64 * 1024;

/** `/dead-letters`: for administrators, since messages may belong to any tenant. */
export function deadLetterRoutes(app: App, { bus }: Deps): void {
  const { deadLetters } = bus;
  if (!deadLetters) return;
  readingRoutes(app, deadLetters);
  actionRoute(app, deadLetters);
}

function readingRoutes(app: App, deadLetters: DeadLetters): void {
  app.get(
    '/dead-letters',
    {
      config: { rule: 'dead-letter:index' },
      schema: {
        tags,
        summary: 'Messages that nobody could act on, with the reason, oldest first',
        querystring: DeadLettersQuery,
        response: { 200: DeadLettersAnswer },
      },
    },
    async (request) => {
      const { letters, total } = await deadLetters.list(request.query.limit);
      return { dead_letters: letters.map(listed), total };
    },
  );

  app.get(
    '/dead-letters/:letter_id',
    {
      config: { rule: 'dead-letter:show' },
      schema: {
        tags,
        summary: 'A dead letter with its body',
        params: DeadLetterParams,
        response: { 200: DeadLetterAnswer },
      },
    },
    async ({ params: { letter_id } }) => ({
      dead_letter: document(found(await deadLetters.get(letter_id), letter_id)),
    }),
  );
}

function actionRoute(app: App, deadLetters: DeadLetters): void {
  app.post(
    '/dead-letters/:letter_id',
    {
      preValidation: requireOneAction(DEAD_LETTER_ACTIONS),
      config: { rule: actionRule({ replay: 'dead-letter:replay', discard: 'dead-letter:discard' }) },
      schema: {
        tags,
        summary: 'Replay or discard a dead letter',
        description:
          'Answered with the letter as it was. A replayed one goes to its topic again; if nobody serves that, 503, and the letter stays. One that fails again comes back as a new letter.',
        params: DeadLetterParams,
        body: DeadLetterActionBody,
        response: { 202: DeadLetterAnswer },
      },
    },
    async (request, reply) => {
      const { letter_id } = request.params;
      const action = request.body.replay ? 'replay' : 'discard';
      const letter = found(await deadLetters[action](letter_id), letter_id);
      const { topic, method, reason } = letter;
      const { user } = request.caller;
      request.log.info({ letter_id, action, topic, method, reason, user }, 'acted on a dead letter');
      return reply.code(202).send({ dead_letter: document(letter) });
    },
  );
}

function found(letter: DeadLetter | null, id: string): DeadLetter {
  if (letter) return letter;
  throw new CofferError('dead_letter_not_found', `Dead letter '${id}' cannot be found.`);
}

function listed({ id, topic, method, reason, at, content }: DeadLetter): DeadLetterListed {
  return { id, topic, method, reason, buried: isoOrNull(at), bytes: content.byteLength };
}

function document(letter: DeadLetter): DeadLetterDocument {
  const shown = Buffer.from(withoutSecrets(letter.content.toString()));
  return { ...listed(letter), body: new TextDecoder().decode(shown.subarray(0, MAX_SHOWN_BYTES)) };
}

/**
 * Hides the tokens of callers and the passwords of database users, which messages of other services may
 * contain. A message without any of these, or one that is not JSON, is returned unchanged. `oslo.message` is
 * JSON in JSON.
 */
function withoutSecrets(text: string): string {
  let hidden = 0;
  try {
    const shown = JSON.stringify(JSON.parse(text), (key, value: unknown) => {
      if (isSecret(key) && value !== null) {
        hidden += 1;
        return HIDDEN;
      }
      if (key !== 'oslo.message' || typeof value !== 'string') return value;
      const inner = withoutSecrets(value);
      if (inner !== value) hidden += 1;
      return inner;
    });
    return hidden > 0 ? shown : text;
  } catch {
    return text;
  }
}
