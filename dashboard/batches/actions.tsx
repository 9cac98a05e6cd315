/** Buttons for what can be done to a batch now, each with a question first. */
import { useState } from 'react';
import type { BatchDocument, CofferClient } from '../../client/index.ts';
import { useDoing } from '../data.ts';
import { count } from '../format.ts';
import { Button } from '../parts/basics.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { FailureNote } from '../parts/failure.tsx';
import { Field, Select } from '../parts/fields.tsx';
import { useSession } from '../session.tsx';
import { type BatchAction, batchDeedOf } from './deeds.ts';

interface BatchActionsProps {
  readonly batch: BatchDocument;
  readonly onDone: (batch: BatchDocument) => void;
}

export function BatchActions({ batch, onDone }: BatchActionsProps) {
  const { may } = useSession();
  const [asked, setAsked] = useState<BatchAction>();
  const allowed = batch.actions.filter((action) => may(`batch:${action}`));
  return (
    <>
      {allowed.map((action, index) => {
        const { label, isDangerous } = batchDeedOf(action, batch);
        const isWayOn = batch.state === 'paused' && index === 0 && !isDangerous;
        return (
          <Button
            key={action}
            kind={isWayOn ? 'primary' : isDangerous ? 'danger' : 'plain'}
            onClick={() => setAsked(action)}
          >
            {label}
          </Button>
        );
      })}
      {asked && (
        <BatchActionDialog
          action={asked}
          batch={batch}
          onClose={() => setAsked(undefined)}
          onDone={(after) => {
            setAsked(undefined);
            onDone(after);
          }}
        />
      )}
    </>
  );
}

interface BatchActionDialogProps extends BatchActionsProps {
  readonly action: BatchAction;
  readonly onClose: () => void;
}

function BatchActionDialog({ action, batch, onClose, onDone }: BatchActionDialogProps) {
  const [wave, setWave] = useState('');
  const [{ label, sentences, isDangerous }] = useState(() => batchDeedOf(action, batch));
  const doing = useDoing(async (client) => onDone(await act(client, action, batch.id, wave)));
  const begun = batch.waves.filter(({ started }) => started !== null);
  return (
    <Dialog
      title={`${label} the batch?`}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Leave it as it is</Button>
          <Button
            kind={isDangerous ? 'danger' : 'primary'}
            isBusy={doing.isBusy}
            onClick={() => void doing.run()}
          >
            {label}
          </Button>
        </>
      }
    >
      {doing.error !== undefined && <FailureNote error={doing.error} what={`'${label}' was not done`} />}
      {sentences.map((sentence) => (
        <p key={sentence}>{sentence}</p>
      ))}
      {action === 'rollback' && (
        <Field label="Wave">
          {(id) => (
            <Select
              id={id}
              value={wave}
              onChange={setWave}
              options={[
                { value: '', label: 'the last that has begun' },
                ...begun.map(({ number, size }) => ({
                  value: String(number),
                  label: `wave ${number}, ${count(size, 'cluster')}`,
                })),
              ]}
            />
          )}
        </Field>
      )}
    </Dialog>
  );
}

function act(client: CofferClient, action: BatchAction, id: string, wave: string): Promise<BatchDocument> {
  if (action === 'rollback') return client.batches.rollback(id, wave === '' ? undefined : Number(wave));
  return client.batches[action](id);
}
