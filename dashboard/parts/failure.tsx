/** What went wrong, and what the user can do about it. */
import { CofferApiError } from '../../client/index.ts';
import { capitalised } from '../format.ts';
import { Button, Note, Spinner } from './basics.tsx';

const ADVICE: Readonly<Record<string, string>> = {
  unreachable: 'Nothing of what you see has changed because of it. The page asks again by itself.',
  unexpected_answer: 'Something between here and the API answers in its place: a proxy, perhaps.',
  cluster_not_found: 'It may have been deleted. The list of clusters shows what there is.',
  upgrade_not_found: 'Upgrades are forgotten with their cluster. The list of clusters shows what there is.',
  batch_not_found: 'The list of batches shows what there is.',
  dead_letter_not_found: 'Somebody may have replayed or discarded it.',
  cluster_busy: 'Wait until it is done, or cancel its upgrade.',
  action_refused: 'Its state has changed since you looked. What can be done now is offered here.',
  bus_unavailable:
    'It may or may not be carried out: look at the state, and ask again. Is a taskmanager running?',
  store_unavailable: 'Nothing has been lost. Try again in a moment.',
  identity_unavailable: 'Keystone is away, not Coffer. Try again in a moment.',
  rate_limited: 'The page asks less often for a moment.',
  quota_exceeded: 'Delete a cluster that is no longer needed, or ask an administrator for more.',
  forbidden: 'Is it the right project? Otherwise ask an administrator.',
  batch_empty: 'Widen the selection: the preview shows what it comes to.',
};

function adviceFor(error: unknown): string | undefined {
  return error instanceof CofferApiError ? ADVICE[error.code] : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface FailureProps {
  readonly error: unknown;
  /** The action that failed: `The clusters could not be read`. */
  readonly what: string;
  readonly onRetry?: (() => void) | undefined;
}

export function FailureNote({ error, what, onRetry }: FailureProps) {
  const requestId = error instanceof CofferApiError ? error.requestId : null;
  return (
    <Note
      kind={error instanceof CofferApiError && error.isTemporary ? 'wait' : 'bad'}
      title={what}
      action={onRetry && <Button onClick={onRetry}>Try again</Button>}
    >
      {messageOf(error)} {adviceFor(error)}
      {requestId && <small className="request-id">{requestId}</small>}
    </Note>
  );
}

interface ReadingProps {
  /** What is read: `the clusters`. */
  readonly what: string;
  /** Undefined until it was read. */
  readonly data: unknown;
  readonly error: unknown;
  readonly reload?: () => void;
}

/** Stands where something is read: says that it is being read, or why it could not be read. */
export function Reading({ what, data, error, reload }: ReadingProps) {
  if (error !== undefined) {
    return <FailureNote error={error} what={`${capitalised(what)} could not be read`} onRetry={reload} />;
  }
  return data === undefined && <Spinner label={`Reading ${what}`} />;
}
