/** Buttons for what can be done to an upgrade now, each with a question first. */
import { useState } from 'react';
import type { CofferClient, UpgradeDocument } from '../../client/index.ts';
import { useDoing, usePolled } from '../data.ts';
import { Button } from '../parts/basics.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { FailureNote } from '../parts/failure.tsx';
import { Field, Select } from '../parts/fields.tsx';
import { useSession } from '../session.tsx';
import { type Action, deedOf } from './deeds.ts';

interface UpgradeActionsProps {
  readonly upgrade: UpgradeDocument;
  readonly onDone: (upgrade: UpgradeDocument) => void;
}

export function UpgradeActions({ upgrade, onDone }: UpgradeActionsProps) {
  const { may } = useSession();
  const [asked, setAsked] = useState<Action>();
  const allowed = upgrade.actions.filter((action) => may(`upgrade:${action}`));
  const isWaiting = upgrade.state === 'paused';
  return (
    <>
      {allowed.map((action, index) => {
        const { label, isDangerous } = deedOf(action, upgrade);
        const isWayOn = isWaiting && index === 0 && !isDangerous;
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
        <ActionDialog
          action={asked}
          upgrade={upgrade}
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

interface ActionDialogProps extends UpgradeActionsProps {
  readonly action: Action;
  readonly onClose: () => void;
}

function ActionDialog({ action, upgrade, onClose, onDone }: ActionDialogProps) {
  const [version, setVersion] = useState('');
  // As it was asked about: the upgrade may move on while the question stands.
  const [{ title, sentences, label, isDangerous }] = useState(() => deedOf(action, upgrade));
  const doing = useDoing(async (client) => onDone(await act(client, action, upgrade.id, version)));
  return (
    <Dialog
      title={title}
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
      {action === 'retry' && <OtherVersion upgrade={upgrade} version={version} onChange={setVersion} />}
    </Dialog>
  );
}

interface OtherVersionProps {
  readonly upgrade: UpgradeDocument;
  readonly version: string;
  readonly onChange: (version: string) => void;
}

/** The one that fails may be a bad one: another can take its place. */
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
