import type { BatchDocument } from '../../client/index.ts';
import { policyTexts } from './policy.ts';

/** The policy as rows among the details of an upgrade or a batch. */
export function PolicyRows({ policy }: { readonly policy: BatchDocument['policy'] }) {
  return (
    <>
      <dt>Policy</dt>
      <dd>
        <ul>
          {policyTexts(policy).map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      </dd>
    </>
  );
}
