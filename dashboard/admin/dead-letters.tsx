/** Messages that nobody could process: a person looks at them, sends them again, or removes them. */
import { useState } from 'react';
import type { DeadLetterListed } from '../../client/index.ts';
import { useDoing, usePolled } from '../data.ts';
import { bytes } from '../format.ts';
import { Button, Empty, Note } from '../parts/basics.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { FailureNote, Reading } from '../parts/failure.tsx';
import { Page } from '../parts/page.tsx';
import { Rows } from '../parts/rows.tsx';
import { When } from '../parts/when.tsx';
import { useSession } from '../session.tsx';

const EVERY_MS = 5_000;

export function DeadLettersScreen() {
  const { data, error, reload } = usePolled((client) => client.deadLetters.list(), {
    key: 'dead-letters',
    everyMs: EVERY_MS,
  });
  const [chosen, setChosen] = useState<DeadLetterListed>();
  const close = () => {
    setChosen(undefined);
    reload();
  };
  return (
    <Page title="Dead letters">
      <Reading what="the dead letters" data={data} error={error} reload={reload} />
      {data?.total === 0 && (
        <Empty title="There are none">
          A message that is malformed or was refused would be kept here, with the reason, until you decide.
        </Empty>
      )}
      {data && data.total > 0 && (
        <>
          <p className="tally">
            {data.dead_letters.length < data.total
              ? `The oldest ${data.dead_letters.length} of ${data.total}: what comes next shows when these are dealt with`
              : `${data.total}, oldest first`}
          </p>
          <LetterTable letters={data.dead_letters} onChoose={setChosen} />
        </>
      )}
      {chosen && <LetterDialog letter={chosen} onClose={close} />}
    </Page>
  );
}

interface LetterTableProps {
  readonly letters: readonly DeadLetterListed[];
  readonly onChoose: (letter: DeadLetterListed) => void;
}

function LetterTable({ letters, onChoose }: LetterTableProps) {
  return (
    <Rows caption="Dead letters, oldest first" columns={['Message', 'Topic', 'Reason', 'Since', 'Size']}>
      {letters.map((letter) => (
        <tr key={letter.id}>
          <th scope="row">
            <button type="button" className="row-link plain mono" onClick={() => onChoose(letter)}>
              {letter.method ?? 'unreadable'}
            </button>
          </th>
          <td data-label="Topic" className="mono">
            {letter.topic ?? '–'}
          </td>
          <td data-label="Reason" className="reason">
            {letter.reason ?? 'not known'}
          </td>
          <td data-label="Since">{letter.buried ? <When at={letter.buried} /> : '–'}</td>
          <td data-label="Size" className="quiet">
            {bytes(letter.bytes)}
          </td>
        </tr>
      ))}
    </Rows>
  );
}

type Deed = 'replay' | 'discard';

const QUESTIONS: Readonly<Record<Deed, string>> = {
  replay:
    'It is sent again to its topic, as it was. Do that once the cause is gone: one that fails again comes back here.',
  discard: 'It is removed for good. Nobody will act on it.',
};

function LetterDialog({
  letter,
  onClose,
}: {
  readonly letter: DeadLetterListed;
  readonly onClose: () => void;
}) {
  const { may } = useSession();
  const [asked, setAsked] = useState<Deed>();
  const { data, error } = usePolled((client) => client.deadLetters.get(letter.id), {
    key: letter.id,
    everyMs: null,
  });
  const doing = useDoing(async (client, deed: Deed) => {
    await client.deadLetters[deed](letter.id);
    onClose();
  });
  const button = (deed: Deed, label: string) =>
    may(`dead-letter:${deed}`) && (
      <Button kind={deed === 'discard' ? 'danger' : 'plain'} onClick={() => setAsked(deed)}>
        {label}
      </Button>
    );
  return (
    <Dialog
      title={letter.method ?? 'A message that nobody can read'}
      isWide
      onClose={onClose}
      actions={
        asked ? (
          <>
            <Button onClick={() => setAsked(undefined)}>Leave it as it is</Button>
            <Button
              kind={asked === 'discard' ? 'danger' : 'primary'}
              isBusy={doing.isBusy}
              onClick={() => void doing.run(asked)}
            >
              {asked === 'replay' ? 'Replay it' : 'Discard it'}
            </Button>
          </>
        ) : (
          <>
            {button('discard', 'Discard …')}
            {button('replay', 'Replay …')}
          </>
        )
      }
    >
      {doing.error !== undefined && <FailureNote error={doing.error} what="It was not done" />}
      {asked && <Note kind="wait" title={QUESTIONS[asked]} />}
      <dl className="details">
        <dt>Reason</dt>
        <dd>{letter.reason ?? 'not known'}</dd>
        <dt>Topic</dt>
        <dd className="mono">{letter.topic ?? 'not known'}</dd>
        <dt>Id</dt>
        <dd className="mono">{letter.id}</dd>
      </dl>
      <Reading what="its body" data={data} error={error} />
      {data && <pre className="code">{readable(data.body)}</pre>}
    </Dialog>
  );
}

/** Unfolds JSON within JSON, as oslo.messaging packs it, as far as it can be parsed. */
function readable(body: string): string {
  try {
    const outer: unknown = JSON.parse(body);
    const inner = isEnvelope(outer) ? { ...outer, 'oslo.message': parsed(outer['oslo.message']) } : outer;
    return JSON.stringify(inner, null, 2);
  } catch {
    return body;
  }
}

function isEnvelope(value: unknown): value is { 'oslo.message': string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'oslo.message' in value &&
    typeof value['oslo.message'] === 'string'
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
