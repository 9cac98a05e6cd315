import { useState } from 'react';
import type { BatchDocument, CofferClient } from '../../client/index.ts';
import { count } from '../format.ts';
import { DeedButtons } from '../parts/deed-buttons.tsx';
import { Field, Select } from '../parts/fields.tsx';
import { useSession } from '../session.tsx';
import { type BatchAction, batchDeedOf } from './deeds.ts';

interface BatchActionsProps {
  readonly batch: BatchDocument;
  readonly onDone: (batch: BatchDocument) => void;
}

export function BatchActions({ batch, onDone }: BatchActionsProps) {
  const { may } = useSession();
  const [wave, setWave] = useState('');
  const allowed = batch.actions.filter((action) => may(`batch:${action}`));
  return (
    <DeedButtons
      deeds={allowed.map((action) => batchDeedOf(action, batch))}
      isWaiting={batch.state === 'paused'}
      run={async (client, action) => onDone(await act(client, action, batch.id, wave))}
      details={(action) =>
        action === 'rollback' && <WhichWave batch={batch} wave={wave} onChange={setWave} />
      }
    />
  );
}

interface WhichWaveProps {
  readonly batch: BatchDocument;
  readonly wave: string;
  readonly onChange: (wave: string) => void;
}

function WhichWave({ batch: { waves }, wave, onChange }: WhichWaveProps) {
  const begun = waves.filter(({ started }) => started !== null);
  const options = [
    { value: '', label: 'the last that has begun' },
    ...begun.map(({ number, size }) => ({
      value: String(number),
      label: `wave ${number}, ${count(size, 'cluster')}`,
    })),
  ];
  return (
    <Field label="Wave">
      {(id) => <Select id={id} value={wave} onChange={onChange} options={options} />}
    </Field>
  );
}

function act(client: CofferClient, action: BatchAction, id: string, wave: string): Promise<BatchDocument> {
  if (action === 'rollback') return client.batches.rollback(id, wave === '' ? undefined : Number(wave));
  return client.batches[action](id);
}
