/** Buttons for what can be done now, each with a question first that says what will happen. */
import { type ReactNode, useState } from 'react';
import type { CofferClient } from '../../client/index.ts';
import { useDoing } from '../data.ts';
import type { Deed } from '../deed.ts';
import { Button } from './basics.tsx';
import { Dialog } from './dialog.tsx';
import { FailureNote } from './failure.tsx';

interface DeedButtonsProps<Action extends string> {
  /** What is possible and allowed. */
  readonly deeds: readonly Deed<Action>[];
  /** Whether a person is waited for: then the first deed is the one that makes it go on. */
  readonly isWaiting: boolean;
  readonly run: (client: CofferClient, action: Action) => Promise<void>;
  /** What else there is to be said for a deed. */
  readonly details?: (action: Action) => ReactNode;
}

export function DeedButtons<Action extends string>(props: DeedButtonsProps<Action>) {
  const { deeds, isWaiting } = props;
  // As it was asked about: things may move on while the question stands.
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
