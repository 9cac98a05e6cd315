/** Buttons for the actions that are possible now. Each first asks a question that explains what will happen. */
import { type ReactNode, useState } from 'react';
import type { CofferClient } from '../../client/index.ts';
import { useDoing } from '../data.ts';
import type { Deed } from '../deed.ts';
import { Button } from './basics.tsx';
import { Dialog } from './dialog.tsx';
import { FailureNote } from './failure.tsx';

interface DeedButtonsProps<Action extends string> {
  /** The actions that are possible and allowed. */
  readonly deeds: readonly Deed<Action>[];
  /** True when the upgrade or batch waits for a person: then the first deed is the one that lets it continue. */
  readonly isWaiting: boolean;
  readonly run: (client: CofferClient, action: Action) => Promise<void>;
  /** Further content of the question for an action. */
  readonly details?: (action: Action) => ReactNode;
}

export function DeedButtons<Action extends string>(props: DeedButtonsProps<Action>) {
  const { deeds, isWaiting } = props;
  // A copy of the deed at the time of the click: the state may change while the question is open.
  const [asked, setAsked] = useState<Deed<Action>>();
  return (
    <>
      {deeds.map((deed, index) => (
        <Button
          key={deed.action}
          kind={deed.isDangerous ? 'danger' : isWaiting && index === 0 ? 'primary' : 'plain'}
          onClick={() => setAsked(deed)}
        >
          {deed.label}
        </Button>
      ))}
      {asked && <DeedDialog {...props} deed={asked} onClose={() => setAsked(undefined)} />}
    </>
  );
}

interface DeedDialogProps<Action extends string> extends DeedButtonsProps<Action> {
  readonly deed: Deed<Action>;
  readonly onClose: () => void;
}

function DeedDialog<Action extends string>({ deed, run, details, onClose }: DeedDialogProps<Action>) {
  const { action, label, title, sentences, isDangerous } = deed;
  const doing = useDoing(async (client) => {
    await run(client, action);
    onClose();
  });
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
      {details?.(action)}
    </Dialog>
  );
}
