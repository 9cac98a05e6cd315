import type { BatchDocument } from '../../client/index.ts';
import { policyTexts } from './policy.ts';

/** Among the details of what goes by it. */
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
