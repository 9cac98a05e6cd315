import type { ReactNode } from 'react';
import type { UpgradeDocument } from '../../client/index.ts';
import { When } from './when.tsx';

interface OriginProps {
  readonly of: Pick<UpgradeDocument, 'id' | 'created' | 'requested_by'>;
  /** Further details: terms and their meanings. */
  readonly children: ReactNode;
}

/** Who requested it, when and how; and its ids in the logs. */
export function Origin({ of: { id, created, requested_by }, children }: OriginProps) {
  return (
    <dl className="details">
      <dt>Asked for</dt>
      <dd>
        <When at={created} />, {requested_by.user !== null && `by ${requested_by.user}, `}over{' '}
        {requested_by.via.toUpperCase()}
      </dd>
      {children}
      <dt>Id</dt>
      <dd className="mono">{id}</dd>
      <dt>Request</dt>
      <dd className="mono">{requested_by.request_id}</dd>
    </dl>
  );
}
