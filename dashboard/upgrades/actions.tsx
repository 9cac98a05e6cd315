import { useState } from 'react';
import type { CofferClient, UpgradeDocument } from '../../client/index.ts';
import { usePolled } from '../data.ts';
import { DeedButtons } from '../parts/deed-buttons.tsx';
import { Field, Select } from '../parts/fields.tsx';
import { useSession } from '../session.tsx';
import { waitsForPerson } from '../words.ts';
import { type Action, deedOf } from './deeds.ts';

interface UpgradeActionsProps {
  readonly upgrade: UpgradeDocument;
  readonly onDone: (upgrade: UpgradeDocument) => void;
}

export function UpgradeActions({ upgrade, onDone }: UpgradeActionsProps) {
  const { may } = useSession();
  const [version, setVersion] = useState('');
  const allowed = upgrade.actions.filter((action) => may(`upgrade:${action}`));
  return (
    <DeedButtons
      deeds={allowed.map((action) => deedOf(action, upgrade))}
      isWaiting={waitsForPerson(upgrade)}
      run={async (client, action) => onDone(await act(client, action, upgrade.id, version))}
      details={(action) =>
        action === 'retry' && <OtherVersion upgrade={upgrade} version={version} onChange={setVersion} />
      }
    />
  );
}

interface OtherVersionProps {
  readonly upgrade: UpgradeDocument;
  readonly version: string;
  readonly onChange: (version: string) => void;
}

/** The version that fails may be a bad one: another version can take its place. */
function OtherVersion({ upgrade, version, onChange }: OtherVersionProps) {
  const { data } = usePolled((client) => client.clusters.get(upgrade.cluster_id), {
    key: upgrade.cluster_id,
    everyMs: null,
  });
  const others = (data?.upgrades_to ?? []).filter((name) => name !== upgrade.to.name);
  if (others.length === 0) return null;
  return (
    <Field label="Version" hint="Another one may take the place of one that fails.">
      {(id) => (
        <Select
          id={id}
          value={version}
          onChange={onChange}
          options={[
            { value: '', label: `${upgrade.to.name}, as before` },
            ...others.map((name) => ({ value: name, label: name })),
          ]}
        />
      )}
    </Field>
  );
}

function act(client: CofferClient, action: Action, id: string, version: string): Promise<UpgradeDocument> {
  if (action === 'retry') return client.upgrades.retry(id, version === '' ? undefined : version);
  return client.upgrades[action](id);
}
